"""ISO-05: an event stream delivers the own tenant's events, for as long as its reader may have them."""

from __future__ import annotations

import time

import pytest

from environments.contract import Capability, Client, Deployment, Evidence, TransportError, requirement
from suites.exchange import conclude, healed_after, shown, signed_in
from suites.isolation.accounts import disable, make, revocation_s
from suites.isolation.parties import parties
from suites.isolation.streams import PATH, Delivered, events, ids, judge_streams, subscribed
from suites.waiting import wait_until

COME_S = 10.0  # in which an event has come
QUIET_S = 1.5  # for which nothing comes any more that was on its way
KIND = "streamed"


@requirement("ISO-05")
@pytest.mark.parametrize("start", ["after=0", "after=1000000", "Last-Event-ID", "tenant named"])
def test_stream_delivers_own_events_alone(deployment: Deployment, evidence: Evidence, start: str) -> None:
    """Two subscribers, one of each tenant, while both tenants write: each gets its own events, whatever position or
    tenant it names when it subscribes."""
    node = deployment.subject
    one, two = parties(node, "streamed")
    before = {party.tenant: [party.entity(KIND) for _ in range(2)] for party in (one, two)}
    queries = {"after=0": "?after=0", "after=1000000": "?after=1000000", "tenant named": f"?tenant={two.tenant}"}
    headers = {"Last-Event-ID": {"Last-Event-ID": "0"}, "tenant named": {"X-Tenant-Id": two.tenant}}
    query, sent = queries.get(start, ""), headers.get(start, {})
    with (
        subscribed(node, one.client, query, sent) as first,
        subscribed(node, two.client) as second,
    ):
        made: dict[str, set[str]] = {one.tenant: set(), two.tenant: set()}
        for party in (two, one, two, one, two):
            made[party.tenant].add(party.entity(KIND))
        wait_until(lambda: made[two.tenant] <= ids(second.body), COME_S)
        if start != "after=1000000":  # from there on nothing of its own comes, and nothing else may
            wait_until(lambda: made[one.tenant] <= ids(first.body), COME_S)
        time.sleep(QUIET_S / 3)
        bodies = {one.tenant: first.body, two.tenant: second.body}
    all_of = {tenant: made[tenant] | set(before[tenant]) for tenant in made}
    streams = [
        Delivered(
            f"{party.client.user.username if party.client.user else '?'} of {party.tenant}",
            party.tenant,
            events(bodies[party.tenant]),
            frozenset() if start == "after=1000000" and party is one else frozenset(made[party.tenant]),
            dict.fromkeys(all_of[other.tenant], f"an event of an object of {other.tenant}"),
        )
        for party, other in ((one, two), (two, one))
    ]
    evidence.add("subscribed with", {"path": PATH + query, "headers": sent})
    evidence.add("events", {stream.subscriber: len(stream.events) for stream in streams})
    conclude(evidence, judge_streams(streams), "own events, all of them", "own events alone at both subscribers")


def _after_revocation(deployment: Deployment, evidence: Evidence, subscriber: Client) -> list[str]:
    """What is wrong once the reader is barred: its stream goes on, or it can come back."""
    node = deployment.subject
    problems = []
    try:
        with subscribed(node, subscriber) as again:
            wait_until(lambda: again.ended or bool(ids(again.body)), QUIET_S)
            if again.status != 401:
                problems.append(f"it may subscribe again: {again.status}, {len(events(again.body))} events")
            evidence.add("subscribes again", again.status)
    except TransportError as error:
        problems.append(f"subscribing again got no answer: {error.kind}")
    polled = subscriber.data("GET", "/v1/events?after=0")
    evidence.add("asks for a page", shown(polled))
    if polled.status != 401:
        problems.append(f"it may still ask for a page of events: {polled.status} {polled.error_code}")
    return problems


@requirement("ISO-05")
def test_stream_ends_for_a_disabled_account(deployment: Deployment, evidence: Evidence) -> None:
    """An account is disabled while its stream is open: after the stated bound it gets no further event, and cannot
    subscribe again. A colleague's stream goes on."""
    node = deployment.subject
    one, _ = parties(node, "revoked")
    bound_s = revocation_s(node)
    user = make(node, one.client)
    reader = node.login(user)
    with subscribed(node, reader) as stream, subscribed(node, one.client) as witness:
        control = one.entity(KIND)
        came_s = wait_until(lambda: control in ids(stream.body) and control in ids(witness.body), COME_S)
        assert came_s <= COME_S, "control: no event came before the account was disabled"
        disable(one.client, user)
        time.sleep(bound_s + 0.3)
        later = {one.entity(KIND) for _ in range(3)}
        witnessed_s = wait_until(lambda: later <= ids(witness.body), COME_S)
        assert witnessed_s <= COME_S, "control: the colleague's stream did not go on"
        time.sleep(QUIET_S)
        barred = dict.fromkeys(later, f"an event that happened after its account was disabled (bound {bound_s:g} s)")
        reads = Delivered(
            f"{user.username} of {one.tenant}", one.tenant, events(stream.body), frozenset({control}), barred
        )
        ended = stream.ended
    evidence.add("stream ended", ended)
    problems = judge_streams([reads])
    problems += _after_revocation(deployment, evidence, reader)
    conclude(evidence, problems, "nothing after the bound; 401 on return", "nothing after the bound, 401 on return")


@requirement("ISO-05", needs=(Capability.CLOCK_CONTROL,))
def test_stream_ends_with_its_token(deployment: Deployment, evidence: Evidence) -> None:
    """The token of an open stream expires: no further event comes over it."""
    node = deployment.subject
    one, _ = parties(node, "expired")
    with healed_after(deployment), subscribed(node, one.client) as stream:
        control = one.entity(KIND)
        came_s = wait_until(lambda: control in ids(stream.body), COME_S)
        assert came_s <= COME_S, "control: no event came while the token was good"
        deployment.clock.freeze(node.name, time.time() + 1200)
        ended_s = wait_until(lambda: stream.ended, COME_S)
        deployment.clock.release(node.name)
        fresh = signed_in(node, "admin", one.tenant)
        later = type(one)(one.tenant, fresh, one.mark).entity(KIND)
        time.sleep(QUIET_S)
        barred = {later: "an event after the token had expired"}
        reads = Delivered(f"admin of {one.tenant}", one.tenant, events(stream.body), frozenset({control}), barred)
    evidence.add("ended after_s", round(ended_s, 2))
    problems = judge_streams([reads])
    if ended_s > COME_S:
        problems.append(f"the stream was still open {COME_S:g} s after its token expired")
    conclude(evidence, problems, "the stream ends", f"ended {ended_s:.1f} s after the token expired")
