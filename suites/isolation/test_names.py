"""ISO-11: what must be unique is unique within a tenant, so that names tell nothing of other tenants."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from environments.contract import Deployment, Evidence, Response, requirement, vacuous
from suites.exchange import assert_no_crash, conclude, shown
from suites.isolation.parties import Party, parties
from suites.product import literal

Create = Callable[[Party, str], Response]


@dataclass(frozen=True)
class Named:
    """create: makes an object of that name; fresh: a name that nobody has; created: HTTP status; remove: unmakes it."""

    create: Create
    fresh: Callable[[], str]
    created: int = 200
    remove: Create | None = None


def _gql(template: str) -> Create:
    return lambda party, name: party.client.graphql(template.replace("<name>", literal(name)))


def _account(party: Party, name: str) -> Response:
    body = {"username": name, "password": secrets.token_urlsafe(16), "roles": ["viewer"]}
    return party.client.control("POST", "/v1/directory/users", json=body)


NAMES: dict[str, Named] = {
    "entity id": Named(
        _gql('mutation { createEntity(input: {kind: "named", id: <name>}) { kind labels version } }'),
        lambda: str(uuid.uuid4()),
        remove=_gql("mutation { deleteEntity(id: <name>) }"),
    ),
    "investigation name": Named(
        _gql("mutation { createInvestigation(input: {name: <name>}) { name status } }"),
        lambda: f"case {secrets.token_hex(8)}",
    ),
    "username": Named(_account, lambda: f"person-{secrets.token_hex(8)}", created=201),
}


@dataclass(frozen=True)
class Taken:
    """Answers of one tenant to the same creation: of a name that the other tenant has, of one that it had and removed,
    of one that nobody has, and of one that it has itself. Names are masked."""

    what: str
    others: tuple[int, str | None, str]
    removed: tuple[int, str | None, str] | None
    nobodys: tuple[int, str | None, str]
    own: tuple[int, str | None, str]
    created: int


def judge_names(taken: Taken) -> list[str]:
    """The other tenant's names are like nobody's; one's own name is taken (else there is no uniqueness to judge)."""
    status, code, body = taken.nobodys
    if not status:
        vacuous("no creation was answered")
    if (status, code) != (taken.created, None):
        return [f"{taken.what}: control: a fresh name is refused: {status} {code} {body}"]
    problems = []
    for whose, found in (("the other tenant has", taken.others), ("the other tenant had", taken.removed)):
        if found is not None and found != taken.nobodys:
            problems.append(f"{taken.what} that {whose}: {found}; one that nobody has: {taken.nobodys}")
    if taken.own[:2] == (taken.created, None):
        problems.append(f"{taken.what}: control: the own name can be had twice: {taken.own}")
    return problems


@requirement("ISO-11")
@pytest.mark.parametrize("what", NAMES)
def test_names_are_unique_within_the_tenant(deployment: Deployment, evidence: Evidence, what: str) -> None:
    """A name that tenant two uses can be had by tenant one, with the answer of a name that nobody uses; a name of its
    own cannot be had twice."""
    one, two = parties(deployment.subject, "named")
    named = NAMES[what]

    def answer(party: Party, name: str, create: Create = named.create) -> tuple[int, str | None, str]:
        found = assert_no_crash(create(party, name), f"{what} as {party.tenant}")
        evidence.add(f"{party.tenant}: {name}", shown(found))
        return found.status, found.error_code, found.body.decode("utf-8", "replace").replace(name, "<name>")[:400]

    theirs, gone = named.fresh(), named.fresh()
    setup: list[Any] = [answer(two, theirs), answer(two, gone)]
    assert all(found[:2] == (named.created, None) for found in setup), f"control: {two.tenant} cannot create: {setup}"
    removed = None
    if named.remove is not None:
        answer(two, gone, named.remove)
        removed = answer(one, gone)
    taken = Taken(what, answer(one, theirs), removed, answer(one, named.fresh()), answer(one, theirs), named.created)
    conclude(
        evidence, judge_names(taken), "as a name that nobody has", f"{what}: {taken.others[:2]}, as {taken.nobodys[:2]}"
    )
