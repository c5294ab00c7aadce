"""Images of the components and of our services, built without a registry; `built()` says what is there.

What each costs to import is paid by who asks: the errors of this package are known to every command.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from environments.images.errors import EngineMissing, ImagesError, ImagesMissing

if TYPE_CHECKING:
    import docker

    from environments.images.manifest import Built

__all__ = ["EngineMissing", "ImagesError", "ImagesMissing", "built", "engine"]


def built(*names: str) -> Mapping[str, Built]:
    """The images of these names (all, if none is given), as built on this machine from this checkout.

    Raises ImagesMissing: which one is not, or was built from other inputs, and the remedy.
    """
    from environments.images import manifest

    return manifest.built(*names)


def engine(timeout_s: int | None = None) -> docker.DockerClient:
    """A client of a container engine that can be used. timeout_s: of a call. Raises EngineMissing with the remedy."""
    from environments.images import engines

    return engines.engine() if timeout_s is None else engines.engine(timeout_s)
