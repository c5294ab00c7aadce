"""Environment profiles: YAML files and the models that validate them."""

from profiles.load import ProfileError, ids, load
from profiles.models import LinkSpec, NodeSpec, Profile, State

__all__ = ["LinkSpec", "NodeSpec", "Profile", "ProfileError", "State", "ids", "load"]
