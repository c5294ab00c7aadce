"""OPS-01: samples of health and readiness while a dependency is broken, and their judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from environments.contract import Node, TransportError, vacuous


@dataclass(frozen=True)
class Sample:
    """One look at a service. alive, ready: HTTP status; None: no answer. broken: names of checks that are not ok."""

    phase: str  # before, broken, after
    service: str
    alive: int | None
    ready: int | None
    broken: tuple[str, ...] = ()
    operation: bool | None = None  # did a real operation succeed at this time; None: not tried


def look(node: Node, service: str, base: str, phase: str, operation: bool | None = None) -> Sample:
    session = node.http()
    statuses: dict[str, int | None] = {}
    broken: tuple[str, ...] = ()
    for path in ("/healthz", "/readyz"):
        try:
            answer = session.request("GET", base + path, timeout_s=5.0)
        except TransportError:
            statuses[path] = None
            continue
        statuses[path] = answer.status
        if path == "/readyz":
            try:
                checks = answer.json().get("checks") or {}
                broken = tuple(sorted(name for name, check in checks.items() if not check.get("ok")))
            except (ValueError, AttributeError):
                broken = ("unreadable",)
    return Sample(phase, service, statuses["/healthz"], statuses["/readyz"], broken, operation)


def judge_readiness(samples: Sequence[Sample], dependency: str) -> list[str]:
    """Ready before and after, 503 naming the broken dependency, alive throughout, ready only if work succeeds."""
    for phase in ("before", "broken", "after"):
        if not any(s.phase == phase for s in samples):
            vacuous(f"no sample of the phase `{phase}`")
    if any(s.phase == "broken" and s.operation for s in samples):
        vacuous("an operation succeeded while the dependency was broken: it was not broken")
    problems = []
    for s in samples:
        where = f"{s.service} ({s.phase})"
        if s.alive != 200:
            problems.append(f"{where}: /healthz {s.alive}")
        if s.phase != "broken" and (s.ready != 200 or s.broken):
            problems.append(f"{where}: /readyz {s.ready}, broken {s.broken}")
        if s.phase == "broken" and s.ready != 503:
            problems.append(f"{where}: /readyz {s.ready} although {dependency} is broken")
        if s.phase == "broken" and s.ready == 503 and not any(dependency in name for name in s.broken):
            problems.append(f"{where}: /readyz names {s.broken}, not {dependency}")
        if s.ready == 200 and s.operation is False:
            problems.append(f"{where}: ready, and a real operation fails")
    return problems
