"""Known-bad behaviours, to prove that checks can fail. The clean services know nothing of them.

A module here holds the defects for the suite of its name. A defect is a function of 3 to 15 lines that replaces a seam:

    @defect(kills=("ISO-08",), modes=("A", "B"), roles=("data",))
    def trusts_tenant_header(services: Services) -> None: ...

phase `service`: called with the Services of the process, after they are built, before its threads and routes exist.
phase `install`: called with (config, connection) after the schema and the seeds; the connection is a superuser's
psycopg connection, or the edge's sqlite3 one.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

Phase = Literal["service", "install"]
ALL_MODES = ("A", "B", "Ct", "Ca", "D")


@dataclass(frozen=True)
class Defect:
    name: str
    kills: tuple[str, ...]  # requirement ids that must turn red
    modes: tuple[str, ...]  # modes in which it can be switched on
    roles: tuple[str, ...]  # processes that it is applied in; empty: all
    phase: Phase
    apply: Callable[..., None]
    says: str  # its docstring: what goes wrong
    drivers: tuple[str, ...] = ()  # drivers whose deployments have the part that it is in; empty: any


_registry: dict[str, Defect] = {}


def defect(
    *,
    kills: Iterable[str],
    modes: Iterable[str] = ALL_MODES,
    roles: Iterable[str] = (),
    phase: Phase = "service",
    drivers: Iterable[str] = (),
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    def register(function: Callable[..., None]) -> Callable[..., None]:
        name = function.__name__
        if name in _registry and _registry[name].apply.__module__ != function.__module__:
            raise ValueError(f"two defects are named {name}")
        says = (function.__doc__ or "").strip()
        where = (tuple(kills), tuple(modes), tuple(roles), phase)
        _registry[name] = Defect(name, *where, function, says, tuple(drivers))
        return function

    return register


def registry() -> dict[str, Defect]:
    """Every defect by name."""
    return _registered()


def _registered(wanted: Iterable[str] = ()) -> dict[str, Defect]:
    """Those of the modules beside this one; with `wanted`, no more modules than it takes to know them."""
    names = set(wanted)
    for found in pkgutil.iter_modules(__path__):
        if names and names <= _registry.keys():
            break
        importlib.import_module(f"{__name__}.{found.name}")
    return dict(_registry)


def apply(names: Iterable[str], phase: Phase, mode: str, role: str, *arguments: Any) -> None:
    """Switch on those of `names` that belong to this phase, mode and process. An unknown name is an error."""
    wanted = list(names)
    if not wanted:
        return
    known = _registered(wanted)
    for name in wanted:
        if name not in known:
            raise SystemExit(f"no such defect: {name}")
        found = known[name]
        here = phase == "install" or not found.roles or role in found.roles
        if found.phase == phase and mode in found.modes and here:
            found.apply(*arguments)
