"""ISO-18: two tenants under Locust, and the judge of what the louder one does to the other."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from environments.contract import SuiteError, vacuous

SCRIPT = Path(__file__).with_name("neighbour_load.py")
RATIO_BOUND = 1.5
LEAST = 60  # samples of a phase
RESAMPLES = 400


@dataclass(frozen=True)
class Sample:
    t_s: float
    elapsed_s: float
    status: int  # 0: no answer


@dataclass(frozen=True)
class Load:
    """What one tenant sends: users x rate_per_user_s requests per second."""

    base: str
    token: str
    query: str
    users: int
    rate_per_user_s: float


@dataclass(frozen=True)
class Phase:
    """What the quiet tenant measured in one phase, and whether the other was loud in it."""

    loud: bool
    quiet_samples: Sequence[Sample]


class Locust:
    """One running load; `samples` of it so far."""

    def __init__(self, load: Load, folder: Path, name: str) -> None:
        self.out, self.log = folder / f"{name}.jsonl", folder / f"{name}.log"
        self.out.touch()
        given: dict[str, Any] = {"base": load.base, "token": load.token, "query": load.query, "out": str(self.out)}
        given |= {"rate_per_user_s": load.rate_per_user_s}
        command = [
            sys.executable,
            "-m",
            "locust",
            "-f",
            str(SCRIPT),
            "--headless",
            "--skip-log-setup",
            "--only-summary",
        ]
        command += ["-u", str(load.users), "-r", str(load.users), "--stop-timeout", "1"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, env={**os.environ, "NEIGHBOUR": json.dumps(given)}, stdout=log, stderr=log, cwd=folder
            )

    def samples(self) -> list[Sample]:
        lines = self.out.read_text().splitlines()
        return [Sample(**json.loads(line)) for line in lines if line.endswith("}")]

    def wait_going(self, limit_s: float = 30.0) -> None:
        ends = time.monotonic() + limit_s
        while not self.out.stat().st_size:
            if self.process.poll() is not None or time.monotonic() > ends:
                raise SuiteError(f"Locust did not send anything: {self.log.read_text(errors='replace')[-500:]}")
            time.sleep(0.05)


@contextmanager
def running(load: Load, folder: Path, name: str) -> Iterator[Locust]:
    """The load, from its first request until the block ends."""
    locust = Locust(load, folder, name)
    try:
        locust.wait_going()
        yield locust
    finally:
        locust.process.terminate()
        try:
            locust.process.wait(5.0)
        except subprocess.TimeoutExpired:
            locust.process.kill()
            locust.process.wait()


def p95(values: Sequence[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(0.95 * len(values)))]


@dataclass(frozen=True)
class Ratio:
    """p95 under load over p95 without; low: what it is at least, with 99 % confidence (bootstrap); turns: that of each
    turn by itself, in order. What else the machine does comes and goes, a neighbour slows every turn."""

    quiet_p95_s: float
    loud_p95_s: float
    ratio: float
    low: float
    turns: Sequence[float]

    @property
    def slowed(self) -> bool:
        return self.low > RATIO_BOUND and min(self.turns) > RATIO_BOUND


def ratio_of(phases: Sequence[Phase], seed: int) -> Ratio:
    """Of all quiet phases and all loud ones together, which take turns. Vacuous with too few samples of either."""
    without = [[s.elapsed_s for s in phase.quiet_samples] for phase in phases if not phase.loud]
    under = [[s.elapsed_s for s in phase.quiet_samples] for phase in phases if phase.loud]
    quiet, loud = [*chain(*without)], [*chain(*under)]
    if min(len(quiet), len(loud)) < LEAST or not all((*without, *under)):
        vacuous(f"{len(quiet)} samples without load and {len(loud)} under it; {LEAST} of each are needed")
    draw = random.Random(seed)
    ratios = sorted(
        p95(draw.choices(loud, k=len(loud))) / p95(draw.choices(quiet, k=len(quiet))) for _ in range(RESAMPLES)
    )
    turns = [p95(after) / p95(before) for before, after in zip(without, under, strict=True)]
    return Ratio(p95(quiet), p95(loud), p95(loud) / p95(quiet), ratios[int(0.01 * RESAMPLES)], turns)


def judge_neighbours(
    ratio: Ratio, phases: Sequence[Phase], loud_statuses: Mapping[int, int], asked_per_s: float, quota_per_s: float
) -> list[str]:
    """The loud tenant was throttled, and the quiet one neither throttled nor slowed beyond the bound. Vacuous unless
    the loud one really asked several times its quota and some of it was served."""
    if not phases or not loud_statuses or quota_per_s <= 0:
        vacuous("the loud tenant sent nothing, or has no quota")
    problems = []
    refused = [s for phase in phases for s in phase.quiet_samples if s.status != 200]
    if refused:
        problems.append(f"the quiet tenant got {len(refused)} answers other than 200, first {refused[0].status}")
    if not loud_statuses.get(429):
        problems.append(
            f"the loud tenant asked {asked_per_s:.0f} units/s, {asked_per_s / quota_per_s:.1f} times its quota, and was"
            f" never answered 429: {dict(loud_statuses)}"
        )
    if ratio.slowed:
        problems.append(
            f"the quiet tenant's p95 went from {ratio.quiet_p95_s * 1e3:.1f} ms to {ratio.loud_p95_s * 1e3:.1f} ms:"
            f" {ratio.ratio:.2f} times (at least {ratio.low:.2f} with 99 % confidence; in turns"
            f" {', '.join(f'{turn:.2f}' for turn in ratio.turns)}), bound {RATIO_BOUND}"
        )
    if not problems and asked_per_s < 5 * quota_per_s:
        vacuous(f"the loud tenant asked only {asked_per_s:.0f} units/s, not ten times {quota_per_s:g}")
    if not problems and not loud_statuses.get(200):
        vacuous("the loud tenant was never served: it is refused, not throttled")
    return problems


def told(phase: Phase) -> dict[str, Any]:
    elapsed = [s.elapsed_s for s in phase.quiet_samples]
    return {"loud": phase.loud, "requests": len(elapsed), "p95_ms": round(p95(elapsed) * 1e3, 1) if elapsed else None}
