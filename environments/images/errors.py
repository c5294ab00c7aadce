"""What can go wrong with images. `str()` of each is the one line for the user: what, where, expected, remedy."""

from __future__ import annotations


class ImagesError(Exception):
    """Images or their engine cannot be used as asked; exit code 254."""


class EngineMissing(ImagesError):
    """There is no container engine that can be used here."""


class ImagesMissing(ImagesError):
    """An image is not built, not loaded, or not of the digest that was built."""


class LockError(ImagesError):
    """The lock file, or a recipe, cannot be used."""


class FetchError(ImagesError):
    """An input could not be had, or is not what the lock says."""


class BuildError(ImagesError):
    """An input was had, and no image could be made of it."""


class ArchiveError(ImagesError):
    """An exported archive cannot be used: truncated, altered, or none of ours."""
