"""OPS-04: does an edge node fit what was declared for it, and does it go on to: limits, and slopes with their
uncertainty."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from environments.contract import Limits, vacuous

MIN_SAMPLES, MIN_OPERATIONS = 24, 150  # after the warm-up; below either a slope says nothing
CONFIDENCE_Z = 2.576  # 99 %
# An operation may leave so much behind in memory before it is a leak: at one write a second, 64 bytes are 5.5 MB a day.
LEAK_BYTES_PER_OP = 64.0
# Memory comes from the kernel in steps: of an allocator, of a cache, of a thread's arena. A leak goes on in every part
# of the soak; a step leaves the parts before and after it flat. So it counts only if it shows in the flattest part too.
PART = 0.25
STEP_BYTES = 256 << 10  # a usual one: what a part must grow by to be seen to grow
STRAY_BYTES_PER_OP = 1.0  # of files that no backlog explains
ROW_BYTES = 4096  # what the database may need for an operation beside its payload: row, outbox, event, audit, indexes
COPIES = 5  # of the payload: row and outbox, each in the file and in its log, sealed and in base64


@dataclass(frozen=True)
class Sample:
    """The node after so many operations."""

    t_s: float
    operations: int
    anonymous_bytes: int
    working_set_bytes: int
    database_bytes: int  # the database and its log
    stray_bytes: int  # every other file that the node writes
    oom_kills: int


@dataclass(frozen=True)
class Trend:
    """Slope of y over x: the median of all slopes between two points, and its confidence interval."""

    slope: float
    low: float
    high: float


def trend(xs: Sequence[float], ys: Sequence[float], z: float = CONFIDENCE_Z) -> Trend:
    """Theil-Sen, with Sen's interval (1968) from the variance of Kendall's S, ties included. Needs two values of x."""
    points = list(zip(xs, ys, strict=True))
    slopes = sorted(
        (b[1] - a[1]) / (b[0] - a[0]) for i, a in enumerate(points) for b in points[i + 1 :] if b[0] != a[0]
    )
    if not slopes:
        raise ValueError("no two points with different x")
    n = len(points)
    ties = [list(ys).count(value) for value in set(ys)]
    variance = (n * (n - 1) * (2 * n + 5) - sum(t * (t - 1) * (2 * t + 5) for t in ties)) / 18
    reach = z * math.sqrt(max(variance, 0.0))
    first = max(0, math.floor((len(slopes) - reach) / 2))
    last = min(len(slopes) - 1, math.ceil((len(slopes) + reach) / 2))
    return Trend(statistics.median(slopes), slopes[first], slopes[last])


def flattest(xs: Sequence[float], ys: Sequence[float], part: float = PART) -> float:
    """The least growth of y per x, over all stretches that are `part` of the whole in x. Two different x at least."""
    span = (xs[-1] - xs[0]) * part
    slopes = []
    for i, x in enumerate(xs):
        j = next((j for j in range(i + 1, len(xs)) if xs[j] - x >= span and xs[j] > x), None)
        if j is not None:
            slopes.append((ys[j] - ys[i]) / (xs[j] - x))
    if not slopes:
        raise ValueError("no two points with different x")
    return min(slopes)


def smallest_leak(operations: int) -> float:
    """Bytes an operation: what a soak of so many operations can tell from none."""
    return max(LEAK_BYTES_PER_OP, STEP_BYTES / (operations * PART))


def judge_limits(declared: Limits, enforced: Sequence[Limits]) -> list[str]:
    """The kernel enforces what the profile declares, no more; vacuous where nothing was looked at or declared."""
    if not enforced or declared.memory_bytes is None:
        vacuous(f"{len(enforced)} services looked at, declared: {declared}")
    problems = []
    for limits in enforced:
        if limits.memory_bytes is None or limits.memory_bytes > declared.memory_bytes:
            problems.append(
                f"memory: the kernel allows {limits.memory_bytes or 'any'} bytes of {declared.memory_bytes}"
            )
        if declared.cpus is not None and (limits.cpus is None or limits.cpus > declared.cpus + 0.01):
            problems.append(f"processors: the kernel allows {limits.cpus or 'all'}, declared are {declared.cpus:g}")
    return problems


def judge_soak(samples: Sequence[Sample], memory_limit_bytes: int, payload_bytes: int) -> list[str]:
    """Within memory, no process killed for it, and neither memory nor files grow with the number of operations beyond
    what a backlog explains. `payload_bytes`: of one operation.

    Vacuous below the floors: inconclusive."""
    done = samples[-1].operations - samples[0].operations if samples else 0
    if len(samples) < MIN_SAMPLES or done < MIN_OPERATIONS or not memory_limit_bytes:
        vacuous(
            f"inconclusive: {len(samples)} samples over {done} operations; {MIN_SAMPLES} over {MIN_OPERATIONS} needed"
        )
    problems = []
    peak = max(sample.working_set_bytes for sample in samples)
    if peak > memory_limit_bytes:
        problems.append(f"used {peak} bytes of memory, declared are {memory_limit_bytes}")
    killed = samples[-1].oom_kills - samples[0].oom_kills
    if samples[-1].oom_kills:
        problems.append(f"the kernel ended {samples[-1].oom_kills} processes for want of memory ({killed} in the soak)")
    xs = [float(sample.operations) for sample in samples]
    memory = trend(xs, [float(sample.anonymous_bytes) for sample in samples])
    database = trend(xs, [float(sample.database_bytes) for sample in samples])
    stray = trend(xs, [float(sample.stray_bytes) for sample in samples])
    allowed = ROW_BYTES + COPIES * payload_bytes
    steady = flattest(xs, [float(sample.anonymous_bytes) for sample in samples])
    problems += [
        f"{what}: {found.slope:.0f} bytes an operation ({found.low:.0f} to {found.high:.0f}), {most:.0f} allowed"
        for what, found, most in (
            ("memory grows", memory, LEAK_BYTES_PER_OP if steady > LEAK_BYTES_PER_OP else math.inf),
            ("the database grows", database, float(allowed)),
            ("files that hold no backlog grow", stray, STRAY_BYTES_PER_OP),
        )
        if found.low > most
    ]
    return problems
