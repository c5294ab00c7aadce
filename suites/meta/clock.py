"""What META-06 does with a node: set its clock each way, and see by its tokens, its records and its refusals."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from environments.contract import Deployment, Node, vacuous
from suites.exchange import ask, signed_in
from suites.licensing.compact import payload_of

AHEAD_S, BACK_S, FACTOR = 1200.0, -1800.0, 60.0  # within the hour that a licence takes for a correction of the clock
RUN_S = 0.3  # the span over which it shows that a clock stands still, or runs at another rate
SLACK_S = 0.05
START_S = 0.03  # a rate may count from the start of a process, which is known to 10 ms
SETTINGS = ("real", "frozen", "stepped", "running fast", "released")
WITNESSES = ("token", "record")


@dataclass(frozen=True)
class Moment:
    """A time that a node wrote, and the span in which the clock that was set was then. Seconds since the epoch."""

    node: str
    setting: str
    witness: str
    seen_s: float
    low_s: float
    high_s: float


@dataclass(frozen=True)
class Lapse:
    """A token shown so long before (negative) or after its end, by the clock that was set."""

    node: str
    after_s: float
    status: int
    code: str | None


def judge_moments(moments: Sequence[Moment]) -> list[str]:
    """Every time lies where the clock was. Vacuous unless each node was seen under each setting by each witness."""
    nodes = {each.node for each in moments}
    seen = {(each.node, each.setting, each.witness) for each in moments}
    if not nodes or len(seen) < len(nodes) * len(SETTINGS) * len(WITNESSES):
        vacuous("not every node was seen under every setting of its clock")
    return [
        f"{m.node}, {m.setting}: {m.witness} of {m.seen_s:.3f}, when the clock was at {m.low_s:.3f} to {m.high_s:.3f}"
        for m in moments
        if not m.low_s <= m.seen_s <= m.high_s
    ]


def judge_lapses(lapses: Sequence[Lapse]) -> list[str]:
    """Served before the end, refused after it. Vacuous unless both sides were tried."""
    if not any(each.after_s < 0 for each in lapses) or not any(each.after_s > 0 for each in lapses):
        vacuous("no token was seen on both sides of its end")
    problems = []
    for each in lapses:
        wanted = (200, None) if each.after_s < 0 else (401, "UNAUTHENTICATED")
        if (each.status, each.code) != wanted:
            problems.append(f"{each.node}: a token {each.after_s:+g} s from its end: {each.status} {each.code}")
    return problems


Expected = Callable[[float], tuple[float, float]]  # real time -> the earliest and the latest that the clock may show


def look(node: Node, setting: str, expected: Expected) -> list[Moment]:
    """Sign in and write a record; the two times that the node gave them."""
    began_s = time.time()
    client = signed_in(node)
    issued_s = float(payload_of(str(client.token)).get("iat", 0))
    token = Moment(
        node.name, setting, "token", issued_s, expected(began_s)[0] - 1 - SLACK_S, expected(time.time())[1] + SLACK_S
    )
    began_s = time.time()
    made = ask(client, 'mutation { createEntity(input: {kind: "clock", props: {}}) { id createdAt } }')["createEntity"]
    low_s, high_s = expected(began_s)[0] - SLACK_S, expected(time.time())[1] + SLACK_S
    seen_s = datetime.fromisoformat(made["createdAt"]).timestamp()
    ask(client, f'mutation {{ deleteEntity(id: "{made["id"]}") }}')
    return [token, Moment(node.name, setting, "record", seen_s, low_s, high_s)]


def tried(deployment: Deployment, node: Node) -> tuple[list[Moment], list[Lapse]]:
    """The clock of the node at real time, frozen, stepped, fast, and released; a token at the end of its life."""
    clock, name = deployment.clock, node.name
    moments = look(node, "real", lambda real_s: (real_s, real_s))
    at_s = float(int(time.time() + AHEAD_S))
    clock.freeze(name, at_s)
    moments += look(node, "frozen", lambda _: (at_s, at_s))
    lapses = _lapses(deployment, node, at_s)
    clock.step(name, BACK_S)
    time.sleep(RUN_S)
    moments += look(node, "stepped", lambda real_s: (real_s + BACK_S, real_s + BACK_S))
    clock.release(name)
    first_s = time.time()
    clock.rate(name, FACTOR)
    last_s = time.time()
    time.sleep(RUN_S)

    def fast(real_s: float) -> tuple[float, float]:
        return tuple(since_s + (real_s - since_s) * FACTOR for since_s in (last_s + START_S, first_s - START_S))  # type: ignore[return-value]

    moments += look(node, "running fast", fast)
    clock.release(name)
    return moments + look(node, "released", lambda real_s: (real_s, real_s)), lapses


def _lapses(deployment: Deployment, node: Node, at_s: float) -> list[Lapse]:
    """A token issued under a clock frozen at `at_s`, shown a second before and after its end."""
    client = signed_in(node)
    end_s = float(payload_of(str(client.token)).get("exp", at_s))
    lapses = []
    for after_s in (-1.0, 1.0):
        deployment.clock.freeze(node.name, end_s + after_s)
        answer = client.graphql("{ me { sub } }")
        lapses.append(Lapse(node.name, after_s, answer.status, answer.error_code))
    return lapses
