"""Verdicts of the migration checks, as pure functions over what source, archive and target hold."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from environments.contract import vacuous

# Fields of each type that a migration must keep; times are the server's.
FIELDS = {
    "entity": ("id", "kind", "labels", "props", "createdBy", "version"),
    "relationship": ("id", "srcId", "dstId", "type", "props"),
    "investigation": ("id", "name", "description", "status", "entityIds"),
}
Holding = Mapping[str, Sequence[Mapping[str, Any]]]  # type -> documents


def line(type_: str, document: Mapping[str, Any]) -> str:
    kept = {name: document.get(name) for name in FIELDS[type_]}
    return json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(type_: str, documents: Sequence[Mapping[str, Any]]) -> str:
    """sha256 over the canonical lines, sorted by id."""
    ordered = sorted(documents, key=lambda document: str(document["id"]))
    return hashlib.sha256("\n".join(line(type_, document) for document in ordered).encode()).hexdigest()


def judge_equal(source: Holding, target: Holding) -> list[str]:
    """Per type: equal counts, equal canonical digests. Vacuous unless every type is represented at the source."""
    empty = [type_ for type_ in FIELDS if not source.get(type_)]
    if empty:
        vacuous(f"the source holds no {', '.join(empty)}")
    problems = []
    for type_ in FIELDS:
        here, there = source[type_], target.get(type_, ())
        if len(here) != len(there):
            problems.append(f"{type_}: {len(here)} at the source, {len(there)} at the target")
        if digest(type_, here) != digest(type_, there):
            problems.append(f"{type_}: digests differ: {'; '.join(_differences(type_, here, there))}")
    return problems


def _differences(type_: str, here: Sequence[Mapping[str, Any]], there: Sequence[Mapping[str, Any]]) -> list[str]:
    left = {str(d["id"]): line(type_, d) for d in here}
    right = {str(d["id"]): line(type_, d) for d in there}
    found = []
    for identifier in sorted(set(left) | set(right)):
        if left.get(identifier) != right.get(identifier):
            found.append(f"{left.get(identifier, 'nothing')[:200]} became {right.get(identifier, 'nothing')[:200]}")
    return found[:5]


def judge_report(answer: Mapping[str, Any], source: Holding) -> list[str]:
    """The import's own report agrees with the source: counts per type, and `verified`."""
    if not any(source.values()):
        vacuous("the source held nothing: a report about nothing agrees with anything")
    problems = [] if answer.get("verified") is True else [f"verified is {answer.get('verified')!r}"]
    counts = answer.get("counts") or {}
    for type_ in FIELDS:
        if counts.get(type_) != len(source.get(type_, ())):
            problems.append(
                f"{type_}: the report counts {counts.get(type_)}, the source has {len(source.get(type_, ()))}"
            )
    return problems


def judge_only_own(
    exported: bytes, own: Sequence[str], foreign: Mapping[str, str], secrets: Mapping[str, str]
) -> list[str]:
    """No foreign canary and no secret in the bytes. Vacuous unless every own canary is in them: an empty export leaks
    nothing either. `foreign`, `secrets`: label -> text."""
    unseen = [mark for mark in own if mark.encode() not in exported]
    if not own or not foreign or unseen:
        vacuous(f"own canaries missing from the export: {unseen or 'none planted'}; foreign planted: {len(foreign)}")
    found = {**foreign, **secrets}
    return [f"the export holds {label}" for label, text in found.items() if text and text.encode() in exported]


@dataclass(frozen=True)
class Offered:
    """One archive that must be refused, and the state of the target around it."""

    name: str
    code: str  # the refusal that names its fault
    status: int
    answered: str | None
    before: Mapping[str, str]
    after: Mapping[str, str]


def judge_refused(offers: Sequence[Offered]) -> list[str]:
    """Refused by name (a crash is none), before any change. Vacuous without offers or without anything watched."""
    if not offers or not any(offer.before for offer in offers):
        vacuous("no archive was offered, or nothing was watched")
    problems = []
    for offer in offers:
        if offer.status < 300:
            problems.append(f"accepted: {offer.name}")
        elif offer.status == 500:
            problems.append(f"crash: {offer.name}")
        elif offer.answered != offer.code:
            problems.append(f"{offer.name}: {offer.status} {offer.answered}, expected {offer.code}")
        changed = sorted(k for k in {*offer.before, *offer.after} if offer.before.get(k) != offer.after.get(k))
        if changed:
            problems.append(f"{offer.name}: changed {', '.join(changed[:5])}")
    return problems
