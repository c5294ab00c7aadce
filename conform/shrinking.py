"""Which check a schedule breaks, how often, and the shortest schedule that still does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from conform.trials import Bench, NothingFound, Try
from environments.schedules.model import Schedule
from environments.schedules.shrinker import Enough, shrink

Told = Callable[[str], None]
DEFAULT_RUNS = 200
FRESH, AT_LEAST = 10, 9  # of so many fresh tries so many must fail, so that a later count of 4 in 5 is no luck


@dataclass(frozen=True)
class Replayed:
    check: str
    alone: Try  # without the schedule, before the tries: they run on a deployment that has been at work
    tries: tuple[Try, ...]

    @property
    def failed(self) -> int:
        return sum(each.fails for each in self.tries)

    def sentence(self, schedule: Schedule) -> str:
        return (
            f"{self.check}: fails {self.failed} of {len(self.tries)} under {schedule.name} ({schedule.size}), "
            f"{'fails' if self.alone.fails else 'passes'} without it"
        )


@dataclass(frozen=True)
class Result:
    """What is left of a schedule, and how it was found."""

    check: str
    before: Schedule
    after: Schedule
    times: int
    failed: int  # of `times` tries of `after`: fresh ones, made at the end, where the search came to its end
    runs: int
    complete: bool
    reason: str  # what the check says when it fails

    @property
    def sentence(self) -> str:
        ended = "" if self.complete else "; ended early: something shorter may fail too"
        return (
            f"shrunk from {self.before.size} to {self.after.size}, fails {self.failed} of {self.times}, "
            f"{self.runs} runs{ended}"
        )


def replay(bench: Bench, schedule: Schedule, times: int, tell: Told) -> list[Replayed]:
    """Each check once without the schedule, then so many times under it."""
    found = []
    for check in bench.checks:
        alone = _alone(bench, check, tell)
        tries = []
        for number in range(1, times + 1):
            tries.append(bench.run(check, schedule))
            tell(f"{check} {number}/{times}: {tries[-1].verdict.value} {tries[-1].reason[:160]}".rstrip())
        found.append(Replayed(check, alone, tuple(tries)))
    return found


def shortest(bench: Bench, schedule: Schedule, times: int, most_runs: int, tell: Told) -> Result:
    """The shortest schedule under which a check fails `times` of `times`, and AT_LEAST of FRESH tries after the search:
    what was just short enough to fail each time by chance gives way to the last one longer. Raises NothingFound if no
    check fails under the whole one, or if all fail without any."""
    first = _failing(bench, schedule, tell)
    reached = [event for event in schedule.events if event.at_s <= first.lasted_s]
    reason = None

    def fails(candidate: Schedule) -> bool:
        nonlocal reason
        for _ in range(times):
            if bench.runs >= most_runs:
                raise Enough
            tried = bench.run(first.check, candidate)
            if not tried.fails:
                return False
            reason = tried.reason
        return True

    if not fails(schedule):
        raise NothingFound(
            f"{first.check} failed once and then passed under {schedule.name}: not every time. "
            f"Ask for fewer --times, or find a seed that fails each time"
        )
    tell(f"{first.check} fails {times} of {times} under {schedule.name} ({schedule.size})")
    start = schedule
    if len(reached) < len(schedule.events):
        begun = schedule.with_events(reached)
        if reached and fails(begun):
            start = begun
            tell(f"{start.size}: what comes after the check's end is left out (run {bench.runs})")

    accepted = [schedule, start]

    def told(smaller: Schedule) -> None:
        accepted.append(smaller)
        tell(f"{smaller.size} still fails (run {bench.runs})")

    shrunk = shrink(start, fails, told)
    if shrunk.complete:
        left, failed, times = *_confirmed(bench, first.check, accepted, tell), FRESH
    else:
        left, failed = shrunk.schedule, times
    named = Schedule(schedule.name, left.events, left.duration_s, _origin(schedule))
    return Result(first.check, schedule, named, times, failed, bench.runs, shrunk.complete, reason or first.reason)


def _origin(schedule: Schedule) -> dict[str, object]:
    return {"shrunk_from": {"name": schedule.name, "size": schedule.size, **dict(schedule.grown_from)}}


def _confirmed(bench: Bench, check: str, accepted: list[Schedule], tell: Told) -> tuple[Schedule, int]:
    """The shortest of those that failed while it was searched that fails in fresh tries too, and how often it did."""
    for candidate in reversed(accepted[1:]):
        failed = passed = 0
        while failed + passed < FRESH and passed <= FRESH - AT_LEAST:
            if bench.run(check, candidate).fails:
                failed += 1
            else:
                passed += 1
        if failed >= AT_LEAST:
            return candidate, failed
        tell(f"{candidate.size} failed by chance while searched for, {failed} of {failed + passed} now: one step back")
    return accepted[0], sum(bench.run(check, accepted[0]).fails for _ in range(FRESH))


def _alone(bench: Bench, check: str, tell: Told) -> Try:
    """A run without the schedule. The first on a deployment: what a fresh one does once (sign in, connect) is over."""
    alone = bench.run(check, None)
    tell(f"{check} without a schedule: {alone.verdict.value} {alone.reason[:160]}".rstrip())
    return alone


def _failing(bench: Bench, schedule: Schedule, tell: Told) -> Try:
    """The first check that passes without the schedule and fails under it."""
    broken = []
    for check in bench.checks:
        if _alone(bench, check, tell).fails:
            broken.append(check)
            continue
        under = bench.run(check, schedule)
        tell(f"{check} under {schedule.name}: {under.verdict.value} {under.reason[:160]}".rstrip())
        if under.fails:
            return under
    if broken:
        raise NothingFound(f"{', '.join(broken)} fails without any schedule too: the schedule is not what breaks it")
    raise NothingFound(f"nothing fails under {schedule.name} ({schedule.size}): there is nothing to shrink")
