"""Known-bad behaviours of a clock that can be set: some of the node goes by it, or at some times, or never."""

from __future__ import annotations

import time

from environments.companyos.clock import Clock, read, stamp
from environments.companyos.defects import defect
from environments.companyos.services import Services


@defect(kills=("META-06",))
def ignores_the_clock_knob(services: Services) -> None:
    """The clock file is documented and nobody reads it: every test of time passes or fails at the real time."""
    services.clock.now = time.time  # type: ignore[method-assign]


@defect(kills=("META-06",))
def reads_the_clock_once_at_start(services: Services) -> None:
    """The setting is read when a service starts, and kept: it honours a clock only after a restart."""
    setting = services.clock.setting()
    services.clock.setting = lambda: setting  # type: ignore[method-assign]


@defect(kills=("META-06",))
def half_of_it_is_faked(services: Services) -> None:
    """Tokens go by the clock that was set; stamps of records and of the audit log by the machine's."""
    services.clock.stamp = lambda: stamp(time.time())  # type: ignore[method-assign]


@defect(kills=("META-06",), modes=("A", "B", "Ct", "Ca"), roles=("data",))
def one_service_has_its_own_time(services: Services) -> None:
    """Tokens are issued by the clock that was set, and judged by the machine's where data is served."""
    services.identity.clock = Clock()


@defect(kills=("META-06",))
def keeps_the_faked_time(services: Services) -> None:
    """Released, the clock stays where it was set: what runs next runs at the wrong time and nobody knows."""
    setting, last = services.clock.setting, ""

    def replaced() -> str:
        nonlocal last
        last = setting() or last
        return last

    services.clock.setting = replaced  # type: ignore[method-assign]


@defect(kills=("META-06",))
def a_clock_that_is_set_stands_still(services: Services) -> None:
    """An offset is honoured as a frozen clock: nothing that must pass by itself ever passes."""
    clock = services.clock
    clock.now = lambda: read(" ".join(clock.setting().split()[:1]), time.time())  # type: ignore[method-assign]
