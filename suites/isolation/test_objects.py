"""ISO-15: an address of an artefact is good for that artefact, for a while, and leads nowhere else."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from environments.contract import Capability, Client, Deployment, Evidence, Node, Response, requirement
from suites.exchange import conclude, document, healed_after, shown, signed_in, tenants
from suites.isolation.artefacts import (
    OBJECTS,
    TRICKS,
    Artefact,
    Tried,
    address,
    get,
    judge_like_absent,
    judge_refused,
    listings,
    make,
    served,
    signed,
    spellings,
    tampered,
)
from suites.isolation.passing import passing_tenant
from suites.product import create_entity


@dataclass(frozen=True)
class Pair:
    """A seeded tenant with two artefacts, and another tenant with one."""

    client: Client
    mine: Artefact
    other: Artefact
    stranger: Client
    foreign: Artefact


def _planted(client: Client, tenant: str) -> str:
    canary = f"object-{tenant}-{uuid.uuid4().hex}"
    create_entity(client, "artefact", {"canary": canary})
    return canary


@contextmanager
def _pair(node: Node) -> Iterator[Pair]:
    """Where the node is one customer's there is one seeded tenant: the other is made for the check."""
    tenant = tenants(node)[0]
    client = signed_in(node, "admin", tenant)
    canary = _planted(client, tenant)
    with passing_tenant(node) as (passing, stranger):
        foreign = make(stranger, passing.name, _planted(stranger, passing.name))
        mine, other = (make(client, tenant, canary, name) for name in ("one.tar", "two.tar"))
        for artefact in (mine, other, foreign):
            served(node, artefact)
        yield Pair(client, mine, other, stranger, foreign)


def _absent(node: Node, mine: Artefact) -> Response:
    answer = get(node, f"{OBJECTS}{mine.area}/{uuid.uuid4()}/one.tar?{mine.query}")
    assert isinstance(answer, Response), f"no answer for an absent object: {answer}"
    return answer


@requirement("ISO-15")
def test_address_is_good_for_one_object_and_one_method(deployment: Deployment, evidence: Evidence) -> None:
    """An address whose key, tenant, expiry or signature was changed is answered as an absent object; and what was
    signed for GET is refused for other methods. The address itself serves its own object."""
    node = deployment.subject
    with _pair(node) as pair:
        tried = Tried(_absent(node, pair.mine))
        absent = f"{uuid.uuid4()}/one.tar"
        for what, url in tampered(pair.mine, pair.other, pair.foreign, absent).items():
            tried.answers[what] = get(node, url)
        methods = {method: get(node, pair.mine.url, method) for method in ("HEAD", "PUT", "POST", "DELETE", "PATCH")}
        problems = judge_like_absent(tried) + judge_refused(methods, {"the own canary": pair.mine.canary})
        served(node, pair.mine)
    evidence.add("absent", shown(tried.absent))
    evidence.add("tried", {what: str(getattr(answer, "status", answer)) for what, answer in tried.answers.items()})
    conclude(
        evidence,
        problems,
        "every changed address answered as an absent object; every other method refused",
        f"{len(tried.answers)} changed addresses and {len(methods)} methods refused; the genuine address served",
    )


@requirement("ISO-15", needs=(Capability.CLOCK_CONTROL,))
def test_address_expires_within_the_stated_time(deployment: Deployment, evidence: Evidence) -> None:
    """The node states how long an address is good (`limits.object_url_ttl_s`); after that it is answered as an absent
    object is, while an address that is signed then serves the same object."""
    node = deployment.subject
    client = signed_in(node, "admin", tenants(node)[0])
    mine = make(client, tenants(node)[0], _planted(client, tenants(node)[0]))
    stated = document(node.http().request("GET", node.url("data") + "/.well-known/companyos"))["limits"]
    limit_s = stated.get("object_url_ttl_s")
    assert isinstance(limit_s, int | float), f"the node states no limits.object_url_ttl_s: {stated}"
    problems = []
    with healed_after(deployment):
        answer = document(signed(client, mine.key))
        old = Artefact(mine.tenant, mine.canary, mine.key, str(answer["url"]))
        served(node, old)
        if answer["expires_s"] > limit_s:
            problems.append(f"the address says that it is good for {answer['expires_s']} s, the node {limit_s} s")
        deployment.clock.step(node.name, limit_s + 2)
        tried = Tried(_absent(node, mine), {f"{limit_s + 2:g} s after it was signed": get(node, old.url)})
        problems += judge_like_absent(tried)
        # The object itself must still be there, or its absence would look like an expiry.
        served(node, Artefact(mine.tenant, mine.canary, mine.key, address(client, mine.key)))
        deployment.clock.release(node.name)
    evidence.add("stated", limit_s)
    conclude(evidence, problems, f"refused {limit_s} s after it was signed", "expired; a fresh address served")


@requirement("ISO-15")
def test_nothing_lists_objects(deployment: Deployment, evidence: Evidence) -> None:
    """No address of a folder, a prefix or the store itself lists anything, without a token, with one, or with the
    signature of an object's address; nor does a prefix get an address."""
    node = deployment.subject
    answers = {}
    with _pair(node) as pair:
        token = {"Authorization": f"Bearer {pair.client.token}"}
        for what, url in listings(pair.mine).items():
            answers[what] = get(node, url)
            answers[f"{what} with a token"] = get(node, url, headers=token)
        folder = pair.mine.key.partition("/")[0]
        for prefix in ("", "/", "*", folder, f"{folder}/", f"{pair.mine.area}/", pair.mine.area):
            answers[f"sign {prefix!r}"] = signed(pair.client, prefix)
        hidden = {
            "the name of an own object": pair.other.key,
            "the id of an own object": pair.other.key.partition("/")[0],
            "the id of a foreign object": pair.foreign.key.partition("/")[0],
            "own content": pair.mine.canary,
        }
        problems = judge_refused(answers, hidden)
        served(node, pair.mine)
    evidence.add("tried", {what: str(getattr(answer, "status", answer)) for what, answer in answers.items()})
    conclude(evidence, problems, "every listing refused", f"{len(answers)} listings refused; the object itself served")


@requirement("ISO-15")
def test_tricks_with_paths_lead_nowhere(deployment: Deployment, evidence: Evidence) -> None:
    """A key with dots, slashes, backslashes, NUL, percent or full-width signs, in either alphabet's case, gets no
    address and is none: the answer is that of an absent object, and no bytes of another tenant are served."""
    node = deployment.subject
    with _pair(node) as pair:
        signing = Tried(signed(pair.client, f"{uuid.uuid4()}/one.tar"))
        fetching = Tried(_absent(node, pair.mine))
        problems = []
        for name, trick in TRICKS.items():
            key = trick(pair.mine, pair.foreign)
            answer = signed(pair.client, key)
            signing.answers[f"sign {name} ({key[:60]!r})"] = answer
            if answer.status == 200:  # then what it leads to is the finding
                found = get(node, str(document(answer)["url"]))
                leads = judge_refused({name: found}, {"content of another tenant": pair.foreign.canary})
                problems += [f"the address that was signed for it: {lead}" for lead in leads]
            for how, text in spellings(key).items():
                url = f"{OBJECTS}{pair.mine.area}/{text}?{pair.mine.query}"
                fetching.answers[f"fetch {how}{name}"] = get(node, url)
        problems += judge_like_absent(signing) + judge_like_absent(fetching)
        served(node, pair.mine)
        served(node, pair.foreign)
    evidence.add("absent", {"sign": shown(signing.absent), "fetch": shown(fetching.absent)})
    conclude(
        evidence,
        problems,
        "every trick answered as an absent object",
        f"{len(signing.answers)} keys refused by sign and {len(fetching.answers)} addresses by fetch",
    )
