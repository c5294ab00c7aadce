"""ISO-07: what the service remembers of one tenant or account never answers another."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from environments.contract import Deployment, Evidence, Response, requirement, vacuous
from suites.exchange import ask, assert_no_crash, assert_refused, conclude, data_of, of_form, shown, two_tenants
from suites.isolation.accounts import disable, make, revocation_s
from suites.isolation.parties import Party, marks, parties
from suites.isolation.scan import judge_leaks
from suites.product import create_entity, create_investigation, create_relationship, literal
from suites.waiting import wait_until

KIND, NAME = "cached", "the same name"
IDS = tuple(str(uuid.uuid4()) for _ in range(2))  # of entities in both tenants: keys that cannot tell them apart

# Every read, in words that are the same for both tenants, byte by byte.
READS: dict[str, str] = {
    "entity": f'{{ entity(id: "{IDS[0]}") {{ id labels props }} }}',
    "node": f'{{ node(id: "{IDS[0]}") {{ id ... on Entity {{ labels props }} }} }}',
    "list": f'{{ entities(kind: "{KIND}", limit: 1000) {{ id labels props }} }}',
    "search": f'{{ searchEntities(text: "{KIND}", limit: 1000) {{ id labels props }} }}',
    "graph": f'{{ graphNeighborhood(startEntityId: "{IDS[0]}") {{ entities {{ id labels props }} }} }}',
    "relationships": f'{{ relationships(entityId: "{IDS[0]}") {{ props }} }}',
    "nested": f'{{ relationships(entityId: "{IDS[0]}") {{ src {{ labels props }} dst {{ labels props }} }} }}',
    "similar": f'{{ similarEntities(text: "{KIND}", limit: 1000) {{ entity {{ id labels props }} }} }}',
    "suggest": '{ suggest(text: "cached-", limit: 1000) }',
    "investigations": "{ investigations { name description entities { labels props } } }",
}


def _plant(party: Party) -> None:
    """The same ids, kind and name in each tenant; the mark alone differs. What an earlier check left is replaced."""
    for id_ in IDS:
        change = literal({"labels": [party.mark], "props": {"mark": party.mark}})
        update = party.client.graphql(f"mutation {{ updateEntity(id: {literal(id_)}, input: {change}) {{ id }} }}")
        if update.error_code == "NOT_FOUND":
            party.entity(KIND, id=id_)
    create_relationship(party.client, IDS[0], IDS[1], "knows", {"mark": party.mark})
    create_investigation(party.client, f"case {party.mark}", description=party.mark, entityIds=list(IDS))


@requirement("ISO-07")
@pytest.mark.parametrize("read", READS)
def test_same_question_of_two_tenants_has_two_answers(deployment: Deployment, evidence: Evidence, read: str) -> None:
    """The same bytes are asked by tenant two, by tenant one, and by both at once: each gets its own objects, although
    ids, kind and name are equal."""
    one, two = parties(deployment.subject, "cached")
    for party in (one, two):
        _plant(party)
    query = READS[read]
    answers: list[tuple[str, str, bytes]] = []

    def asked(party: Party, when: str) -> None:
        answer = assert_no_crash(party.client.graphql(query), f"{read} as {party.tenant}")
        assert answer.status == 200 and answer.error_code is None, f"{read} as {party.tenant}: {shown(answer)}"
        answers.append((party.tenant, f"{read} ({when})", answer.body))

    for party, when in ((two, "first"), (two, "again"), (one, "after the other"), (one, "again"), (two, "back")):
        asked(party, when)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: asked((one, two)[n % 2], "at once"), range(48)))
    evidence.add("asked by both", query)
    unseen = [
        f"{what} as {t} lacks its own mark" for t, what, body in answers if marks(one, two)[t].encode() not in body
    ]
    problems = judge_leaks(marks(one, two), answers) + unseen
    conclude(evidence, problems, "each its own", f"{len(answers)} answers, each of its own tenant")


@requirement("ISO-07")
def test_likeness_is_of_the_own_object(deployment: Deployment, evidence: Evidence) -> None:
    """The same id in both tenants holds different texts: asked for its own text and for the other's, each tenant's
    object is the more like its own, after the other tenant has asked."""
    one, two = parties(deployment.subject, "likeness")
    id_ = str(uuid.uuid4())
    texts = {one.tenant: "orchard harvest apples and pears in autumn", two.tenant: "submarine torpedo sonar periscope"}
    for party in (two, one):
        create_entity(party.client, "text", {"t": texts[party.tenant]}, id=id_)

    def score(party: Party, text: str) -> float:
        found = ask(
            party.client, f"{{ similarEntities(text: {literal(text)}, limit: 1000) {{ score entity {{ id }} }} }}"
        )
        return max((float(m["score"]) for m in found["similarEntities"] if m["entity"]["id"] == id_), default=0.0)

    scores: dict[str, tuple[float, float]] = {}
    for party, other in ((two, one), (one, two), (two, one)):
        scores[party.tenant] = (score(party, texts[party.tenant]), score(party, texts[other.tenant]))
    evidence.add("score of the own text, of the other tenant's", scores)
    if not any(own for own, _ in scores.values()):
        vacuous("no object was like any text")
    problems = [
        f"{tenant}: its object {id_} is {foreign:.2f} like the text of the other tenant's object of that id, and"
        f" {own:.2f} like its own"
        for tenant, (own, foreign) in scores.items()
        if own <= foreign
    ]
    conclude(evidence, problems, "more like the own text", f"{scores}")


@requirement("ISO-07")
def test_authorisation_is_part_of_what_is_remembered(deployment: Deployment, evidence: Evidence) -> None:
    """What an account has read while it could is refused once it is disabled, though the answer was there a moment
    before; a colleague still gets it."""
    node = deployment.subject
    one, _ = parties(node, "authorised")
    bound_s = revocation_s(node)
    id_ = one.entity(KIND)
    query = f"{{ entity(id: {literal(id_)}) {{ id props }} }}"
    user = make(node, one.client)
    reader = node.login(user)
    for _ in range(3):
        assert one.mark.encode() in reader.graphql(query).body, "control: the account cannot read before"
    disable(one.client, user)
    waited_s = wait_until(lambda: reader.graphql(query).status == 401, bound_s + 2.0)
    answer = reader.graphql(query)
    evidence.add(f"{user.username}, disabled", shown(answer))
    evidence.add("refused after_s", round(waited_s, 2))
    assert one.mark.encode() in one.client.graphql(query).body, "control: a colleague cannot read it"
    assert_refused(answer, 401, "UNAUTHENTICATED", f"{user.username} {waited_s:.1f} s after it was disabled")


@requirement("ISO-07")
def test_own_write_is_seen_at_once(deployment: Deployment, evidence: Evidence) -> None:
    """After a change, no read gives what was remembered from before it."""
    one, _ = parties(deployment.subject, "fresh")
    id_ = one.entity(KIND)
    reads = {name: query.replace(IDS[0], id_) for name, query in READS.items() if name in ("entity", "node", "list")}
    problems = []
    for n in range(5):
        fresh = f"{one.mark}-{n}"
        ask(
            one.client,
            f"mutation {{ updateEntity(id: {literal(id_)}, input: {{labels: [{literal(fresh)}]}}) {{ id }} }}",
        )
        for name, query in reads.items():
            body = data_of(one.client.graphql(query), name)
            if fresh not in str(body):
                problems.append(f"{name} after change {n}: the label {fresh} is not there: {str(body)[:200]}")
    conclude(evidence, problems, "the newest state", f"{5 * len(reads)} reads, each of the newest state")


def judge_keeping(answers: dict[str, Response]) -> list[str]:
    """No answer to a signed-in account allows a shared cache to keep it (RFC 9111, 3.5 and 5.2.2)."""
    if not answers:
        vacuous("no answer was looked at")
    problems = []
    for name, answer in answers.items():
        value = next((v for k, v in answer.headers.items() if k.lower() == "cache-control"), "")
        words = {part.strip().split("=")[0].lower() for part in value.split(",")}
        if words & {"public", "s-maxage", "must-revalidate"} and not words & {"private", "no-store"}:
            problems.append(f"{name}: Cache-Control: {value} lets a proxy give it to another")
    return problems


PATHS: dict[str, Callable[[Any], Response]] = {
    "POST /graphql": lambda client: client.graphql("{ me { sub } entities(limit: 1) { id } }"),
    "GET /v1/events": lambda client: client.data("GET", "/v1/events?after=0"),
    "GET /v1/directory/users": lambda client: client.control("GET", "/v1/directory/users"),
    "GET /v1/billing/usage": lambda client: client.control("GET", "/v1/billing/usage"),
}


@requirement("ISO-07")
def test_no_answer_may_be_kept_between(deployment: Deployment, evidence: Evidence) -> None:
    """Answers to a signed-in account forbid caches on the way to keep them for others."""
    node = deployment.subject
    one, _ = two_tenants(node)
    client = node.login(node.user("admin", one))
    answers = {name: call(client) for name, call in PATHS.items()}
    for name, answer in answers.items():
        if name == "POST /graphql":
            data_of(answer, name)
        else:
            of_form(answer, name)
    evidence.add("cache-control", {n: dict(a.headers).get("cache-control", "") for n, a in answers.items()})
    conclude(evidence, judge_keeping(answers), "kept by nobody", f"{len(answers)} answers, none for shared caches")
