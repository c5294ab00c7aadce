"""Environments: provision(profile) gives a Deployment; doctor and clean look after the host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from environments.drivers.local.deployment import LocalDeployment
    from environments.drivers.provisioning import Driver
    from profiles import Profile

DRIVERS = ("local", "containers")


def provision(
    profile: Profile,
    *,
    driver: str = "local",
    run_id: str | None = None,
    seed: int = 0,
    defects: Sequence[str] = (),
    network_defects: Sequence[str] = (),
    calibrate: bool = True,
    clocks: Literal["knob", "faketime"] = "knob",
    disks: bool = False,
    dependencies: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> LocalDeployment:
    """Make the profile real; a context manager whose end tears everything down. Errors: see drivers.provisioning, and
    of the containers: EngineMissing, ImagesMissing (environments.images)."""
    from environments.drivers import provisioning

    return provisioning.provision(
        _driver(driver),
        profile,
        run_id=run_id,
        seed=seed,
        defects=defects,
        network_defects=network_defects,
        calibrate=calibrate,
        clocks=clocks,
        disks=disks,
        dependencies=dependencies,
        progress=progress,
    )


def unusable(driver: str) -> str:
    """Why this machine cannot run that driver, with the remedy, told before anything is made; empty if it can."""
    if driver != "containers":
        return ""
    from environments.drivers.containers.provision import preflight
    from environments.images import ImagesError

    try:
        preflight()
    except ImagesError as refusal:
        return str(refusal)
    return ""


def _driver(name: str) -> Driver:
    """What a run does not use is not imported: the local driver needs no packages of an engine."""
    if name == "local":
        from environments.drivers.local.provision import LocalDriver

        return LocalDriver()
    if name == "containers":
        from environments.drivers.containers.provision import ContainersDriver

        return ContainersDriver()
    raise ValueError(f"there is no driver {name!r}; drivers are {', '.join(DRIVERS)}")
