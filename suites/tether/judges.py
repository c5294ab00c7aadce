"""Verdicts of the tether checks, as pure functions over what was observed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from environments.contract import vacuous


@dataclass(frozen=True)
class Tried:
    """One update that was offered, and what the node did in consequence."""

    name: str
    expected: frozenset[str]  # codes that name its fault
    reported: str | None  # last_error, once the node had seen the update
    revision: int  # in force afterwards
    denies: bool  # is the denial of the last good policy still enforced
    serves: bool  # is an allowed action still allowed


def judge_updates(tried: Sequence[Tried], good_revision: int) -> list[str]:
    """Every bad update reported by name, and the last good policy in force throughout. Vacuous without updates."""
    if not tried:
        vacuous("no update was offered")
    problems = []
    for each in tried:
        if each.revision != good_revision:
            problems.append(f"{each.name}: revision {each.revision} is in force, expected {good_revision}")
        if not each.denies:
            problems.append(f"{each.name}: the denial of the last good policy is gone")
        if not each.serves:
            problems.append(f"{each.name}: an allowed action is no longer served")
        code = (each.reported or "").split(":")[0].split(" ")[0]
        if code not in each.expected:
            problems.append(f"{each.name}: last_error is {each.reported!r}, expected {'/'.join(sorted(each.expected))}")
    return problems


@dataclass(frozen=True)
class Served:
    """One request of the corpus: what was asked, and why it was not served (empty if it was)."""

    name: str
    failure: str


def judge_corpus(before: Sequence[Served], during: Sequence[Served]) -> list[str]:
    """What was served with the control plane is served without it. Vacuous if nothing was served before."""
    if not during or not any(not each.failure for each in before):
        vacuous("no request was served with the control plane up")
    failing = {each.name for each in before if each.failure}
    problems = [f"with the control plane up: {each.name}: {each.failure}" for each in before if each.failure]
    return problems + [f"{each.name}: {each.failure}" for each in during if each.failure and each.name not in failing]


def judge_last_known_good(enforced: Mapping[str, bool], revisions: Mapping[str, int]) -> list[str]:
    """`enforced`: moment -> is the denial enforced; `revisions`: moment -> revision in force. Vacuous unless the
    denial was seen before the cut, because a node that denies everything would pass otherwise."""
    if not enforced.get("before the cut"):
        vacuous("the denial was not enforced before the cut")
    problems = [f"{moment}: the denial is not enforced" for moment, yes in enforced.items() if not yes]
    first = next(iter(revisions.values()), None)
    return problems + [f"{moment}: revision {r}, expected {first}" for moment, r in revisions.items() if r != first]
