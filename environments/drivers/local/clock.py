"""The clock of a node, set through the product's own knob (a file) or through libfaketime (faketime.py)."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from environments.contract import Client, Node, untestable

PROOF_S = 600.0  # how far the honour test goes: within the life of a token, and what a licence takes for a correction


@dataclass(frozen=True)
class Line:
    """A clock that shows `at_s` when the real one shows `real_s`, and runs `rate` times as fast."""

    at_s: float
    real_s: float
    rate: float

    def at(self, real_s: float) -> float:
        return self.at_s + (real_s - self.real_s) * self.rate


class Hand(Protocol):
    """What turns the clock of one node."""

    def turn(self, line: Line | None) -> None:
        """None: real time."""
        ...


class Knob:
    """The file that the product reads at every look at its clock: environments/companyos/clock.py."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def turn(self, line: Line | None) -> None:
        if line is None:
            self._file.unlink(missing_ok=True)
        elif line.rate == 0:
            replace(self._file, f"{line.at_s:.6f}\n")
        else:
            replace(self._file, f"{line.at_s:.6f} {line.real_s:.6f} {line.rate!r}\n")


def replace(file: Path, text: str) -> None:
    """All of it at once: whoever reads meanwhile sees the old or the new."""
    part = file.with_suffix(".part")
    part.write_text(text, encoding="ascii")
    part.replace(file)


class SiteClock:
    """The contract's Clock."""

    def __init__(self, hands: Mapping[str, Hand]) -> None:
        self._hands = hands
        self._lines: dict[str, Line] = {}
        self.unhonoured: dict[str, str] = {}  # node -> what the honour test saw instead

    def freeze(self, node: str, at_s: float) -> None:
        self._turn(node, Line(at_s, time.time(), 0.0))

    def step(self, node: str, offset_s: float) -> None:
        now_s = time.time()
        self._turn(node, Line(now_s + offset_s, now_s, 1.0))

    def rate(self, node: str, factor: float) -> None:
        if not factor > 0:
            raise ValueError(f"a clock runs at a rate above 0, not {factor:g}; `freeze` stops it")
        now_s, before = time.time(), self._lines.get(node)
        self._turn(node, Line(before.at(now_s) if before else now_s, now_s, factor))

    def release(self, node: str) -> None:
        self._hands[node].turn(None)
        self._lines.pop(node, None)

    def release_all(self) -> None:
        for node in self._hands:
            self.release(node)

    def honoured(self, node: str) -> str:
        return self.unhonoured.get(node, "")

    def _turn(self, node: str, line: Line) -> None:
        self._hands[node].turn(line)
        self._lines[node] = line


class NoClock:
    """In the place of a clock where there is no way to set one: using it is `untestable`, with the reason."""

    def __init__(self, why: str) -> None:
        self.why = why

    def release_all(self) -> None:
        """Nothing was set."""

    def __getattr__(self, name: str) -> Any:
        untestable(f"clock-control: {self.why}")


# -- the honour test


def prove(clock: SiteClock, nodes: Mapping[str, Node]) -> dict[str, str]:
    """Set the clock of every node and look at what it does by it; those that do not go by it, with what was seen.

    Asked of each: the issue time of a token, under the clock that was set and at real time. No more: what a node makes
    of the time (a token that has run out and is taken all the same) is for checks to judge, which it must not bar.
    About 0.1 s, all nodes at once. META-06 asks for more, and judges."""
    with ThreadPoolExecutor(len(nodes)) as pool:
        seen = dict(zip(nodes, pool.map(lambda node: _unlike(clock, node), nodes.values()), strict=True))
    clock.unhonoured = {name: why for name, why in seen.items() if why}
    return clock.unhonoured


def _unlike(clock: SiteClock, node: Node) -> str:
    at_s = float(int(time.time() + PROOF_S))
    try:
        clock.freeze(node.name, at_s)
        client = node.login(node.user("operator"))
        if (issued := issued_s(client)) != at_s:
            return f"frozen at {at_s:.0f}, and a token is issued at {issued}"
    except Exception as error:  # whatever the node does at another time is an answer
        return f"under a clock that was set: {type(error).__name__}: {error}"
    finally:
        clock.release(node.name)
    began_s = time.time()
    issued = issued_s(node.login(node.user("operator")))
    if issued is None or not began_s - 2 <= issued <= time.time() + 1:
        return f"released, and a token is issued at {issued} when it is {began_s:.0f}"
    return ""


def issued_s(client: Client) -> float | None:
    """`iat` of the client's token, seconds since the epoch."""
    try:
        part = str(client.token).split(".")[1]
        return float(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))["iat"])
    except (IndexError, ValueError, KeyError, TypeError):
        return None
