"""Every known-bad behaviour, of the simulated CompanyOS, of its installation and of the network, in one shape."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

# A network defect says what it does in its docstring; which proof must catch it follows from where it sits.
_NETWORK_KILLS = {"router": ("META-03",), "sentinel": ("META-04",)}


@dataclass(frozen=True)
class KnownDefect:
    name: str
    kills: tuple[str, ...]  # requirement ids that must turn red
    modes: tuple[str, ...]  # modes whose nodes can carry it; empty: any
    phase: str  # service, install, driver or network
    says: str
    drivers: tuple[str, ...] = ()  # drivers that can be made so; empty: any

    def lives_in(self, driver: str) -> bool:
        return not self.drivers or driver in self.drivers

    def claiming(self, requirements: Collection[str]) -> KnownDefect:
        """Held to no more than these."""
        return replace(self, kills=tuple(each for each in self.kills if each in requirements))

    @property
    def network(self) -> bool:
        return self.phase == "network"


def known() -> dict[str, KnownDefect]:
    """Every defect by name, those of the services first."""
    from environments.companyos.defects import registry
    from environments.drivers.defects import registry as of_drivers
    from environments.network.defects import DEFECTS

    found = {
        name: KnownDefect(
            name, each.kills, each.modes, each.phase, " ".join(each.says.split()), getattr(each, "drivers", ())
        )
        for name, each in sorted(registry().items())
    }
    for name, driven in sorted(of_drivers().items()):
        says = " ".join(driven.says.split())
        found[name] = KnownDefect(name, driven.kills, driven.modes, "driver", says, driven.drivers)
    for name, function in sorted(DEFECTS.items()):
        kills: tuple[str, ...] = getattr(function, "kills", ()) or _NETWORK_KILLS.get(name.split("_")[0], ())
        says = " ".join((function.__doc__ or "").split())
        found[name] = KnownDefect(name, tuple(kills), (), "network", says)
    return found
