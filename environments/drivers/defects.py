"""Known-bad installations: the product is right, and what a driver makes of it is not. See `conform run --defect`.

A defect is a function that is given `replace(owner, name, value)` and replaces one seam of a driver; what it replaced
is put back when the deployment is closed. Those of containers are in environments.drivers.containers.defects.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

Replace = Callable[[Any, str, Any], None]
ALL_MODES = ("A", "B", "Ct", "Ca", "D")


@dataclass(frozen=True)
class DriverDefect:
    name: str
    kills: tuple[str, ...]  # requirement ids that must turn red
    modes: tuple[str, ...]  # modes whose nodes can carry it
    drivers: tuple[str, ...]  # drivers that can be made so
    apply: Callable[[Replace], None]
    says: str  # its docstring: what goes wrong


_registry: dict[str, DriverDefect] = {}


def driver_defect(
    *, kills: Iterable[str], drivers: Iterable[str], modes: Iterable[str] = ALL_MODES
) -> Callable[[Callable[[Replace], None]], Callable[[Replace], None]]:
    def register(function: Callable[[Replace], None]) -> Callable[[Replace], None]:
        name = function.__name__
        says = (function.__doc__ or "").strip()
        _registry[name] = DriverDefect(name, tuple(kills), tuple(modes), tuple(drivers), function, says)
        return function

    return register


def registry() -> dict[str, DriverDefect]:
    """Every defect by name."""
    for name in ("environments.drivers.local.defects", "environments.drivers.containers.defects"):
        if importlib.util.find_spec(name.rpartition(".")[0]) is not None and importlib.util.find_spec(name) is not None:
            importlib.import_module(name)
    return dict(_registry)


def apply(names: Sequence[str], driver: str) -> tuple[list[str], Callable[[], None]]:
    """Switch on those of `names` that this driver can be made to have.

    -> (the names that are left: defects of the product, what puts everything back). ValueError: another driver's."""
    known = registry() if names else {}
    replaced: list[tuple[Any, str, Any]] = []

    def replace(owner: Any, name: str, value: Any) -> None:
        replaced.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)

    def undo() -> None:
        while replaced:
            setattr(*replaced.pop())

    for found in [known[name] for name in names if name in known]:
        if driver not in found.drivers:
            undo()
            raise ValueError(f"{found.name} is a defect of the driver {' or '.join(found.drivers)}, not of {driver}")
        found.apply(replace)
    return [name for name in names if name not in known], undo
