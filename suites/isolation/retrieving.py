"""ISO-14: every way to find something without knowing its id, and what each shows of a canary."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from environments.contract import Client, vacuous
from suites.exchange import ask
from suites.product import literal

Find = Callable[[Client, str], Any]
MANY = 1000


def _gql(field: str, selection: str) -> Find:
    body = f" {{ {selection} }}" if selection else ""
    return lambda client, term: ask(client, f"{{ {field.replace('<term>', literal(term))}{body} }}", what=field)


SURFACES: Mapping[str, Find] = {
    "search": _gql(f"searchEntities(text: <term>, limit: {MANY})", "kind labels props"),
    "list by kind": _gql(f"entities(kind: <term>, limit: {MANY})", "kind labels props"),
    "autocomplete": lambda client, term: ask(client, f"{{ suggest(text: {literal(term[:-4])}, limit: {MANY}) }}"),
    "did you mean": lambda client, term: ask(client, f"{{ suggest(text: {literal(mistyped(term))}, limit: {MANY}) }}"),
    "facets": lambda client, term: ask(client, "{ entityStats { kind count } }", what="entityStats"),
    "retrieval": _gql(f"similarEntities(text: <term>, limit: {MANY})", "score entity { kind labels props }"),
}


def mistyped(term: str) -> str:
    """Two letters near the end swapped: nothing begins so, and nothing is much more like it than the term."""
    return term[:-2] + term[-1] + term[-2] if term[-1] != term[-2] else term[:-1] + "~"


@dataclass(frozen=True)
class Sight:
    """What a surface gave for a term: to its owner, to the other tenant."""

    surface: str
    term: str
    owner: str
    other: str
    to_owner: Any
    to_other: Any


def judge_sights(sights: Sequence[Sight]) -> list[str]:
    """The other tenant sees nothing of a term on any surface. Vacuous for a surface on which its owner does not either:
    it was not looking at anything."""
    if not sights:
        vacuous("no surface was asked")
    problems = [
        f"{sight.surface}: {sight.other} finds {sight.term} of {sight.owner}: {str(sight.to_other)[:300]}"
        for sight in sights
        if sight.term in str(sight.to_other)
    ]
    blind = [sight.surface for sight in sights if sight.term not in str(sight.to_owner)]
    if blind and not problems:
        vacuous(f"the owner does not find its own term by {', '.join(blind)}")
    return problems


def judge_unmoved(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What one tenant finds is the same before and after another tenant has written much of the same."""
    if not any(before.values()):
        vacuous("nothing was found before either")
    return [
        f"{surface}: gave {str(before[surface])[:300]} before the other tenant wrote, and {str(after[surface])[:300]}"
        " after: its counts or ranks are of all tenants"
        for surface in before
        if before[surface] != after[surface]
    ]
