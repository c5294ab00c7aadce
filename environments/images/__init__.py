"""Images of the components and of our services, built without a registry; `built()` says what is there."""

from environments.images.engine import engine
from environments.images.errors import EngineMissing, ImagesError, ImagesMissing

__all__ = ["EngineMissing", "ImagesError", "ImagesMissing", "engine"]
