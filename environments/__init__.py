"""Environments: provision(profile) gives a Deployment; doctor and clean look after the host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from environments.drivers.local.deployment import LocalDeployment
    from profiles import Profile

DRIVERS = ("local",)


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
    """Make the profile real; a context manager whose end tears everything down. Errors: see drivers.local.provision."""
    if driver not in DRIVERS:
        raise ValueError(f"there is no driver {driver!r}; drivers are {', '.join(DRIVERS)}")
    from environments.drivers.local.provision import provision as local

    return local(
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
