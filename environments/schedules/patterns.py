"""Outage patterns of the field, by name. Figures: the evidence notes of this project, with their sources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Span = tuple[float, float]
MINUTE = 60.0


@dataclass(frozen=True)
class Round:
    """Up for so long and down for so long, each drawn from its range; `times` in a row, endless if None."""

    up_s: Span
    down_s: Span
    times: int | None = None
    state: Mapping[str, Any] | None = None  # what "down" is; None: cut
    down_first: bool = False


@dataclass(frozen=True)
class Pattern:
    says: str
    rounds: Sequence[Round]

    @property
    def natural_s(self) -> float | None:
        """How long it is, if that is not a matter of chance and it ends by itself."""
        if any(
            each.times is None or each.up_s[0] != each.up_s[1] or each.down_s[0] != each.down_s[1]
            for each in self.rounds
        ):
            return None
        return sum((each.up_s[0] + each.down_s[0]) * (each.times or 0) for each in self.rounds)


def _same(down_s: float, up_s: float, times: int | None) -> Round:
    return Round((up_s, up_s), (down_s, down_s), times, down_first=True)


def rounds_of(rounds: Sequence[Round]) -> Iterator[tuple[Span, Span, Mapping[str, Any] | None, bool]]:
    """Round after round: (up, down, state, whether down comes first)."""
    for each in rounds:
        left = each.times
        while left is None or left > 0:
            yield each.up_s, each.down_s, each.state, each.down_first
            left = None if left is None else left - 1


PATTERNS: Mapping[str, Pattern] = {
    "flap-3-3": Pattern("8 times 3 s down and 3 s up (INTERMITTENT of an edge harness)", [_same(3, 3, 8)]),
    "azure-offline": Pattern(
        "off/on 5/5 min 5 times, 10/10 and 15/15 3 times, 30/30 twice, 5/20 3 times (IoT Edge's own tests)",
        [
            _same(5 * MINUTE, 5 * MINUTE, 5),
            _same(10 * MINUTE, 10 * MINUTE, 3),
            _same(15 * MINUTE, 15 * MINUTE, 3),
            _same(30 * MINUTE, 30 * MINUTE, 2),
            _same(5 * MINUTE, 20 * MINUTE, 3),
        ],
    ),
    "manet-split-merge": Pattern(
        "a mesh splits and merges: 30 s up, 30 s down (estimated)", [Round((30, 30), (30, 30))]
    ),
    "cnr": Pattern("a combat net radio: 10 s up, 5 s down (estimated)", [Round((10, 10), (5, 5))]),
    "vsat-blockage": Pattern(
        "a ship's mast or heading: 30 to 180 s of blockage, 20 to 40 min apart (estimated)",
        [Round((20 * MINUTE, 40 * MINUTE), (30, 180))],
    ),
    "starlink-slots": Pattern(
        "every 15 s or so 0.1 to 1 s with half of the packets lost, every 8th time a gap of 1 to 5 s (published)",
        [
            Round((14.0, 14.9), (0.1, 1.0), 7, {"loss": 0.5, "burst": 4}),
            Round((10.0, 14.0), (1.0, 5.0), 1),
        ]
        * 1000,
    ),
    "factory-roam": Pattern(
        "a vehicle roams between access points without 802.11r: 1.2 to 4.7 s, 30 to 120 s apart (one vendor's case)",
        [Round((30, 120), (1.2, 4.7))],
    ),
    "5g-handover": Pattern(
        "handover at the edge of a cell: 0.3 to 2 s, a minute apart (estimated)", [Round((58, 60), (0.3, 2))]
    ),
    "fibre-reroute": Pattern(
        "one reroute: after 30 s, 60 s with 150 ms one way (5 µs/km)", [Round((30, 30), (60, 60), 1, {"delay_s": 0.15})]
    ),
}
