"""What asynchronous jobs left behind, and whose it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from environments.contract import vacuous
from suites.isolation.scan import found_in

ABSENT = "404 NOT_FOUND"


@dataclass(frozen=True)
class Made:
    """The archive that a job of `tenant` made. stated: the tenant in its manifest; foreign: what the other tenant was
    answered when it asked for the job and for its object."""

    what: str
    tenant: str
    stated: str
    archive: bytes
    foreign: Sequence[str]


@dataclass(frozen=True)
class Ran:
    """A run of `tenant`, and how many effects of it each tenant sees."""

    what: str
    tenant: str
    state: str
    steps: int
    effects: Mapping[str, int]


def judge_archives(canaries: Mapping[str, str], made: Sequence[Made]) -> list[str]:
    """Each archive is its enqueuer's: it says so, holds its canary and no other's, and nobody else has it."""
    if not made or {each.tenant for each in made} != set(canaries):
        vacuous(f"archives of {sorted({each.tenant for each in made})}, canaries of {sorted(canaries)}")
    problems = []
    for each in made:
        if each.stated != each.tenant:
            problems.append(f"{each.what}: enqueued by {each.tenant}, the archive is of {each.stated}")
        for owner, canary in canaries.items():
            form = found_in(canary, each.archive)
            if form and owner != each.tenant:
                problems.append(f"{each.what}: the archive of {each.tenant} holds the canary of {owner} ({form})")
            elif not form and owner == each.tenant:
                problems.append(f"{each.what}: the archive of {each.tenant} lacks its own canary")
        problems += [
            f"{each.what}: another tenant was answered {answer}" for answer in each.foreign if answer != ABSENT
        ]
    return problems


def judge_runs(ran: Sequence[Ran]) -> list[str]:
    """Each run ended well, with one effect for each step in its own tenant and none anywhere else."""
    if not ran:
        vacuous("no run was launched")
    problems = []
    for each in ran:
        if each.state != "SUCCEEDED":
            problems.append(f"{each.what}: ended as {each.state}")
        for tenant, count in each.effects.items():
            expected = each.steps if tenant == each.tenant else 0
            if count != expected:
                problems.append(f"{each.what}: launched by {each.tenant}, {count} effects in {tenant}, not {expected}")
    return problems
