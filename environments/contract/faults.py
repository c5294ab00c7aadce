"""What of a node can be broken on purpose, beside its processes: its clock and its disk."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """The clock that the services of a node read; those of the machine and of other nodes stay as they are."""

    def freeze(self, node: str, at_s: float) -> None:
        """It stands at `at_s`, seconds since the epoch."""
        ...

    def step(self, node: str, offset_s: float) -> None:
        """It runs on, `offset_s` ahead of the real one (behind, where negative)."""
        ...

    def rate(self, node: str, factor: float) -> None:
        """From what it shows now it runs `factor` times as fast: 1.0002 is a drift of 200 ppm."""
        ...

    def release(self, node: str) -> None:
        """Real time again."""
        ...

    def honoured(self, node: str) -> str:
        """Empty if the node was seen to go by this clock when the deployment was made; else what was seen."""
        ...


class Disks(Protocol):
    """The disk of a node: what it keeps is on one of its own. Needs Capability.DISK_FAULTS."""

    def full(self, node: str) -> None:
        """No byte more fits (ENOSPC), for any writer of the node; what is there can be read and overwritten."""
        ...

    def read_only(self, node: str) -> None:
        """As after a file-system error: the services are started anew on a disk that refuses writes (EROFS). Those
        that cannot live with that end, and are not counted as crashed."""
        ...

    def slow(self, node: str, delay_s: float) -> None:
        """Each write that is forced to the disk takes `delay_s` longer. Untestable where the host cannot do that."""
        ...

    def heal(self, node: str | None = None) -> None:
        """Undo it; without a node, on every disk. Services of a read-only disk are started anew."""
        ...
