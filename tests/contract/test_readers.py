"""Whatever a deployment answers, what comes out of the shared readers is a verdict: an AssertionError, or nothing."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from conform.judge import breach_in, of_exception
from environments.contract import Request, Response, Vacuous
from environments.contract.client import token_of
from environments.contract.exchanges import Exchange
from environments.contract.wire import POSTED, SHAPES, breach, data_breach
from reports.verdicts import Verdict
from suites.exchange import assert_no_crash, assert_refused, data_of, document, shown
from suites.functional.corpus import Replay
from suites.isolation.scan import found_in, judge_leaks

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
NAMES = st.sampled_from(["data", "errors", "error", "extensions", "code", "message", "me", "tenantId", "id"]) | st.text(
    max_size=4
)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4))
BODIES = st.binary(max_size=200) | VALUES.map(lambda value: json.dumps(value).encode())
STATUSES = st.sampled_from([200, 200, 200, 204, 302, 400, 401, 404, 500, 503, 999])
QUERIES = (
    "{ me { sub tenantId roles } }",
    "{ entities { id ...on Entity { tenantId props } } }",
    'mutation { createEntity(input: {kind: "k"}) { id version } }',
    "{ __schema { types { name kind } } }",
    "{ a: runs { ...R } } fragment R on Run { state steps { name } }",
    "{ nothing { of it } }",
    "{ not closed",
)
URLS = ("/graphql", *SHAPES, *POSTED, "/v1/export", "/elsewhere")


def answered(status: int, body: bytes, url: str = "/graphql", query: str = QUERIES[0]) -> Response:
    method = "POST" if url == "/graphql" or url in POSTED else "GET"
    request = Request(method, f"http://10.0.0.1:4000{url}", {}, json.dumps({"query": query}).encode())
    return Response(status, {}, body, 0.0, request)


@settings(deadline=None, max_examples=300)
@given(STATUSES, BODIES, st.sampled_from(QUERIES))
@example(200, b"[" * 100_000, QUERIES[0])
@example(200, b'{"data": ' + b"9" * 10_000 + b"}", QUERIES[0])
@example(200, b'{"errors": {"a": 1}}', QUERIES[0])
@example(200, b'{"errors": [{"extensions": ["x"]}]}', QUERIES[0])
@example(200, b'{"data": {"__schema": {"types": 7}}}', QUERIES[3])
def test_readers_of_answers_give_a_verdict(status: int, body: bytes, query: str) -> None:
    answer = answered(status, body, query=query)
    assert answer.error_code is None or isinstance(answer.error_code, str)
    assert isinstance(shown(answer)["body"], str)
    assert token_of(answer) is None or isinstance(token_of(answer), str)
    readers: tuple[Any, ...] = (
        document,
        lambda a: data_of(a, "it"),
        lambda a: assert_no_crash(a, "it"),
        lambda a: assert_refused(a, 200, "NOT_FOUND", "it"),
    )
    for read in readers:
        with contextlib.suppress(AssertionError):
            read(answer)


@settings(deadline=None, max_examples=300)
@given(STATUSES, BODIES, st.sampled_from(URLS))
def test_the_form_of_any_answer_can_be_told(status: int, body: bytes, url: str) -> None:
    assert isinstance(breach(answered(status, body, url)), str)


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(QUERIES), VALUES)
def test_the_data_of_any_answer_can_be_held_to_the_schema(query: str, data: Any) -> None:
    assert isinstance(data_breach(query, data), str)


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(QUERIES), st.dictionaries(NAMES, VALUES, max_size=4))
def test_data_that_is_taken_has_the_types_that_the_schema_says(query: str, data: dict[str, Any]) -> None:
    """What a check then does with it, such as to look an id up, cannot end in a TypeError."""
    answer = answered(200, json.dumps({"data": data}).encode(), query=query)
    with contextlib.suppress(AssertionError):
        taken = data_of(answer, "it")
        if query == QUERIES[0] and taken["me"] is not None:
            assert taken["me"]["tenantId"].strip is not None
            assert all(role.upper() is not None for role in taken["me"]["roles"])


@settings(deadline=None, max_examples=150)
@given(BODIES)
def test_the_scan_for_canaries_reads_anything(body: bytes) -> None:
    assert found_in("canary-acme-1", body) in (None, "raw") or b"canary" in body.lower()
    with contextlib.suppress(Vacuous):
        judge_leaks({"acme": "canary-acme-1", "globex": "canary-globex-2"}, [("acme", "it", body)])


@settings(deadline=None, max_examples=150)
@given(BODIES)
def test_an_answer_that_no_reader_foresaw_is_the_deployments_failure(body: bytes) -> None:
    """The corpus reads answers by itself; where it stumbles, their form is broken, and the verdict says so."""
    answer = answered(200, body)

    class Client:
        user = None

    try:
        Replay(Client()).canonical(answer)  # type: ignore[arg-type]
    except AssertionError:
        pass  # a failure that says so itself
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        judged = of_exception(error, breach_in([Exchange(1, answer.request, answer)]))  # type: ignore[arg-type]
        assert judged.verdict is Verdict.FAIL, (body, judged)
        assert "POST http://10.0.0.1:4000/graphql" in judged.reason


def test_a_mistake_of_the_suite_stays_one() -> None:
    good = answered(200, b'{"data": {"me": {"sub": "a", "tenantId": "acme", "roles": []}}}')
    assert breach(good) == ""
    judged = of_exception(KeyError("x"), breach_in([Exchange(1, good.request, good)]))  # type: ignore[arg-type]
    assert judged.verdict is Verdict.ERROR


@pytest.mark.parametrize(
    ("query", "data", "says"),
    [
        (QUERIES[0], {"me": {"sub": "a", "tenantId": "acme", "roles": []}}, ""),
        (QUERIES[0], {"me": None}, ""),
        (QUERIES[0], {}, "$.data lacks me"),
        (QUERIES[0], {"me": {"sub": "a", "tenantId": 7, "roles": []}}, "$.data.me.tenantId is a number, not str"),
        (QUERIES[0], {"me": {"sub": "a", "tenantId": "a", "roles": [None]}}, "$.data.me.roles[0] is null"),
        (QUERIES[0], {"me": []}, "$.data.me is a list, not an object"),
        (QUERIES[1], {"entities": {}}, "$.data.entities is an object, not a list"),
        (QUERIES[2], {"createEntity": None}, "$.data.createEntity is null, and there is no error"),
        (QUERIES[2], {"createEntity": {"id": "e", "version": True}}, "$.data.createEntity.version is a boolean"),
        (QUERIES[3], {"__schema": {"types": [{"name": "A", "kind": "OBJECT"}]}}, ""),
        (QUERIES[4], {"a": [{"state": "RUNNING", "steps": [{}]}]}, "$.data.a[0].steps[0] lacks name"),
        (QUERIES[5], {"nothing": 7}, ""),
        (QUERIES[6], {}, ""),
    ],
)
def test_what_differs_from_the_schema_is_named(query: str, data: dict[str, Any], says: str) -> None:
    found = data_breach(query, data)
    assert found.startswith(says) and bool(found) == bool(says), found


@pytest.mark.parametrize(
    ("url", "status", "body", "says"),
    [
        ("/readyz", 503, {"ready": False, "checks": {"policy": {"ok": False, "detail": "no"}}}, ""),
        ("/readyz", 200, {"ready": "yes", "checks": {}}, "$.ready is a string, not bool"),
        ("/v1/events", 200, {"events": [{"seq": 1}], "next": 2}, "$.events[0] lacks type"),
        ("/v1/events", 401, {"error": {"code": "UNAUTHENTICATED", "message": "no"}}, ""),
        ("/v1/events", 401, {"error": "no"}, "$.error is a string, not an object"),
        ("/v1/events", 302, {}, "status 302"),
        ("/graphql", 200, {"errors": "no"}, "$.errors is no list"),
        ("/graphql", 200, {"errors": [{"message": "m", "extensions": None}]}, "$.errors[0].extensions is null"),
        ("/graphql", 200, {"data": None}, "$.data is null, and there is no error"),
        ("/graphql", 503, {"error": {"code": "UNAVAILABLE"}}, ""),
        ("/v1/export", 200, [], ""),
    ],
)
def test_what_differs_from_the_contract_is_named(url: str, status: int, body: Any, says: str) -> None:
    found = breach(answered(status, json.dumps(body).encode(), url))
    assert found.startswith(says) and bool(found) == bool(says), found
