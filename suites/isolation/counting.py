"""ISO-13: series of ids and numbers that one tenant sees, and the judge of whether they follow another's activity."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from environments.contract import vacuous

NEAR = 1 << 64  # two random UUIDs are so near each other once in 10^17 pairs
_NUMBER = re.compile(r"\d{1,18}")


@dataclass(frozen=True)
class Step:
    """What tenant one saw right before and right after tenant two did `foreign` things. ids: name -> an id that was
    made then; numbers: name -> a number that was shown then."""

    foreign: int
    ids_before: Mapping[str, str]
    ids_after: Mapping[str, str]
    numbers_before: Mapping[str, int]
    numbers_after: Mapping[str, int]


def as_number(id_: str) -> int | None:
    """An id on a line, so that its distance from another can be taken: a UUID, or the last number in it."""
    try:
        return uuid.UUID(id_).int
    except ValueError:
        found = _NUMBER.findall(id_)
        return int(found[-1]) if found else None


def judge_volume(steps: Sequence[Step]) -> list[str]:
    """No id follows closely on the one before, and no number moves more when another tenant was busy. Vacuous unless
    there are steps with and without foreign activity, and something was compared."""
    quiet = [step for step in steps if step.foreign == 0]
    busy = [step for step in steps if step.foreign > 0]
    if not quiet or not busy or not any(step.ids_before for step in steps):
        vacuous("no step with and one without another tenant's activity, or no ids")
    problems = []
    for step in steps:
        for name in step.ids_before.keys() & step.ids_after.keys():
            before, after = as_number(step.ids_before[name]), as_number(step.ids_after[name])
            if before is not None and after is not None and abs(after - before) < NEAR:
                problems.append(
                    f"{name}: {step.ids_before[name]} is followed by {step.ids_after[name]} after {step.foreign}"
                    " objects of another tenant: ids can be counted"
                )
    problems += _moved(quiet, busy)
    return problems


def _moved(quiet: Sequence[Step], busy: Sequence[Step]) -> list[str]:
    def gaps(steps: Sequence[Step], name: str) -> set[int]:
        return {
            step.numbers_after[name] - step.numbers_before[name]
            for step in steps
            if name in step.numbers_before and name in step.numbers_after
        }

    names = sorted({name for step in (*quiet, *busy) for name in step.numbers_before})
    return [
        f"{name}: moves by {sorted(gaps(busy, name))} while another tenant makes {[step.foreign for step in busy]}"
        f" objects, and by {sorted(gaps(quiet, name))} while it makes none"
        for name in names
        if gaps(busy, name) and gaps(quiet, name) and max(gaps(busy, name)) > max(gaps(quiet, name))
    ]
