"""What a node may use and what it uses, by the kernel's control groups. Needs Capability.RESOURCE_LIMITS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Limits:
    """None: no limit."""

    memory_bytes: int | None
    cpus: float | None  # processors' worth of time


@dataclass(frozen=True)
class Use:
    """Of all processes of a service together."""

    anonymous_bytes: int  # memory that no file stands behind: what the programs hold
    working_set_bytes: int  # all that is charged, without the file cache that can go at any time
    cpu_s: float  # since the start
    oom_kills: int  # processes that the kernel ended because the limit was reached


class Resources(Protocol):
    """Of one node, by service."""

    @property
    def declared(self) -> Mapping[str, Limits]:
        """By the profile."""
        ...

    def enforced(self) -> Mapping[str, Limits]:
        """By the kernel, on the processes that run now."""
        ...

    def use(self) -> Mapping[str, Use]: ...
