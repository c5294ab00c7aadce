"""Environment profiles: YAML files and the models that validate them."""

from profiles.load import ProfileError, ids, load
from profiles.models import LinkSpec, NodeSpec, Preset, Profile

__all__ = ["LinkSpec", "NodeSpec", "Preset", "Profile", "ProfileError", "ids", "load"]
