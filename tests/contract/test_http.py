"""The client of the checks against a server that misbehaves: an answer, or a reason of the right kind, in time."""

from __future__ import annotations

import time

import pytest

from environments.contract import Response, TransportError
from environments.contract.http import SocketSession
from environments.doubles.hostile import BEHAVIOURS, HostileServer

REQUEST_S = 0.5
PATIENCE_S = 20.0  # for a machine that is busy; the delays of the double add up to far more, or to for ever
KINDS = {"refused", "timeout", "reset", "dns", "too-large", "other"}


def outcome(session: SocketSession, url: str) -> Response | TransportError:
    try:
        return session.request("POST", url + "/graphql", json={"query": "{ me { sub } }"}, timeout_s=60)
    except TransportError as error:
        return error


@pytest.mark.parametrize("behaviour", sorted(BEHAVIOURS))
def test_every_request_ends_in_time_with_an_answer_or_a_reason(behaviour: str) -> None:
    with HostileServer(behaviour, seed=3) as server:
        session = SocketSession(most_s=REQUEST_S, limit_bytes=1 << 20)
        for _ in range(4):
            began = time.monotonic()
            found = outcome(session, server.url)
            assert time.monotonic() - began < PATIENCE_S
            assert isinstance(found, Response) or found.kind in KINDS
            if isinstance(found, Response):
                assert len(found.body) <= 1 << 20
        assert server.trapped == 0


@pytest.mark.parametrize("behaviour", ["slow", "dripping"])
def test_who_is_too_slow_times_out(behaviour: str) -> None:
    with HostileServer(behaviour) as server:
        found = [outcome(SocketSession(most_s=REQUEST_S), server.url) for _ in range(3)]
    assert {error.kind for error in found if isinstance(error, TransportError)} == {"timeout"}
    assert len(found) == 3


def test_a_body_beyond_the_limit_is_too_large_packed_or_not() -> None:
    for behaviour in ("endless", "zipped"):
        with HostileServer(behaviour, seed=5) as server:
            session = SocketSession(limit_bytes=1 << 12, most_s=3.0)
            kinds = {getattr(outcome(session, server.url), "kind", "") for _ in range(8)}
        assert "too-large" in kinds, (behaviour, kinds)


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    with HostileServer("redirect", seed=1) as server:
        found = [outcome(SocketSession(), server.url) for _ in range(12)]
        assert server.requests == 12
        assert server.trapped == 0
    assert all(isinstance(answer, Response) and 300 <= answer.status < 400 for answer in found)


def test_a_deadline_is_that_of_the_request_not_of_the_connection() -> None:
    """A connection that is kept alive serves a later request that has more time."""
    with HostileServer("plausible") as server:
        session = SocketSession()
        for timeout_s in (0.5, 30.0, 5.0):
            answer = session.request(
                "POST", server.url + "/graphql", json={"query": "{ me { sub } }"}, timeout_s=timeout_s
            )
            assert answer.status == 200
