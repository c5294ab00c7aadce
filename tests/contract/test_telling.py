"""What a failure says: the exchange in words, and where in the answer the canary is."""

from __future__ import annotations

import json

import pytest

from environments.contract import Request, Response
from suites.exchange import assert_refused, shown
from suites.isolation.scan import judge_leaks, where


def test_a_sentence_tells_the_exchange_and_evidence_holds_it() -> None:
    request = Request("GET", "http://10.0.0.1:4000/v1/events", {"X-Tenant-Id": "globex"})
    answer = Response(200, {}, b'{"error": {"code": "INVALID"}}', 0.1, request)
    told = (
        'GET http://10.0.0.1:4000/v1/events as nobody (no token), headers {"X-Tenant-Id": "globex"} was answered 200 '
        'with code INVALID: {"error": {"code": "INVALID"}}'
    )
    assert f"{shown(answer)}" == str(shown(answer)) == told
    assert json.loads(json.dumps(shown(answer)))["status"] == 200
    with pytest.raises(AssertionError) as refused:
        assert_refused(answer, 404, "NOT_FOUND", "events")
    assert str(refused.value).startswith(f"events: expected 404 NOT_FOUND: {told}")


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (
            b'{"data": {"entities": [{"id": "1"}, {"props": {"mark": "x CANARY-1 y"}}]}}',
            "$.data.entities[1].props.mark",
        ),
        (b'{"canary-1": 1}', "$ (name of a field)"),
        (b"id,canary-1", "byte 3"),
        (b"{not json canary-1", "byte 10"),
        (b'{"a": "b"}', ""),
    ],
)
def test_where_the_canary_is(body: bytes, path: str) -> None:
    assert where("canary-1", body) == path


def test_a_leak_names_object_asker_owner_and_place() -> None:
    body = b'{"data": {"entity": {"kind": "c-two"}}}'
    found = judge_leaks({"acme": "c-one", "globex": "c-two"}, [("acme", "entity", body), ("acme", "own", b"c-one")])
    assert found == ["entity of acme holds the canary c-two of globex (raw, at $.data.entity.kind)"]
