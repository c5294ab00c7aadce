"""The payment provider's double keeps the promises of the provider that matter, and does as it is told."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments.contract import PaymentRequest
from environments.doubles import stripe
from environments.drivers.local.hosts import free_port
from environments.drivers.local.payments import StripeDouble
from suites.functional.billing import invoiced, judge_invoice, judge_keys, judge_seats


def event(identifier: str | None = "e1", value: str = "1", customer: str = "acme") -> dict[str, str]:
    given = {"event_name": "run", "payload[stripe_customer_id]": customer, "payload[value]": value}
    return given if identifier is None else {**given, "identifier": identifier}


@given(st.lists(st.tuples(st.sampled_from(["k1", "k2", "k3", None]), st.sampled_from(["e1", "e2"]), st.booleans())))
def test_whatever_is_repeated_an_event_counts_once(tmp_path_factory: pytest.TempPathFactory, asked: list) -> None:
    """A key answers with its first answer; an identifier is applied once, under any key."""
    provider = stripe.Provider(tmp_path_factory.getbasetemp())
    applied: list[str] = []
    first: dict[str, tuple[dict[str, str], stripe.Answer]] = {}
    for key, identifier, other in asked:
        parameters = event(identifier, "2" if other else "1")
        answer, did, replayed = provider.take(key, parameters)
        if did:
            applied.append(identifier)
        if key in first:
            before, said = first[key]
            assert not did
            assert answer == said if before == parameters else answer.body["error"]["type"] == "idempotency_error"
            assert replayed == (before == parameters)
        elif key is not None:
            first[key] = (parameters, answer)
    assert len(applied) == len(set(applied))


@pytest.mark.parametrize(
    "broken",
    [{"event_name": ""}, {"payload[value]": "many"}, {"payload[stripe_customer_id]": ""}, {"timestamp": "2026-11-28"}],
)
def test_a_malformed_event_is_refused(tmp_path: Path, broken: dict[str, str]) -> None:
    answer, applied, _ = stripe.Provider(tmp_path).take("k", {**event(), **broken})
    assert (answer.status, applied) == (400, False)


@pytest.fixture
def double(tmp_path: Path) -> Iterator[tuple[StripeDouble, int]]:
    made, port = StripeDouble(tmp_path / "payments", "sk_test_x"), free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "environments.doubles.stripe", tmp_path / "payments", str(port)],
        cwd=Path(__file__).parents[2],
    )
    deadline = time.monotonic() + 20
    while True:
        try:
            http.client.HTTPConnection("127.0.0.1", port, timeout=1).connect()
            break
        except OSError:
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.02)  # the poll interval of a named condition with a deadline
    yield made, port
    process.terminate()
    process.wait(10)


def post(port: int, key: str, identifier: str, secret: str = "sk_test_x") -> int | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {"Authorization": f"Bearer {secret}", "Idempotency-Key": key}
    try:
        connection.request("POST", stripe.METER_EVENTS, urlencode(event(identifier)), headers)
        return connection.getresponse().status
    except (http.client.HTTPException, OSError):
        return None
    finally:
        connection.close()


def test_it_answers_as_told_and_records_what_reached_it(double: tuple[StripeDouble, int]) -> None:
    made, port = double
    assert post(port, "k0", "e0") == 200
    made.answer("drop", times=1)
    assert [post(port, "k1", "e1"), post(port, "k1", "e1")] == [None, 200]  # taken unheard, then said again
    made.answer("fail")
    assert post(port, "k2", "e2") == 500
    made.answer("limit")
    assert post(port, "k2", "e2") == 429
    made.answer("refuse")
    assert post(port, "k2", "e2") is None
    made.answer("ok")
    assert post(port, "k2", "e2", "a stranger's") == 401
    assert post(port, "k2", "e2") == 200
    rows = made.requests()
    assert [x.applied for x in rows] == [True, True, False, False, False, False, False, True]
    assert [x.replayed for x in rows] == [False, False, True, False, False, False, False, False]
    assert invoiced(rows) == {"acme": {"run": 3}}
    assert judge_invoice({"acme": {"run": 3}}, rows) == judge_keys(rows) == []
    with pytest.raises(ValueError, match="ways: ok, fail"):
        made.answer("explode")


def row(**changes: object) -> PaymentRequest:
    whole = {"t_s": 0.0, "path": stripe.METER_EVENTS, "key": "k", "parameters": event(), "status": 200}
    return PaymentRequest(**{**whole, "applied": True, "replayed": False, "how": "ok", **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("metered", "rows", "says"),
    [
        ({"acme": {"run": 2}}, [row()], "metered 2, invoiced 1"),
        ({"acme": {"run": 1}}, [row(), row(key="k2")], "metered 1, invoiced 2"),
        ({"acme": {"run": 1}}, [row(), row(parameters=event("e2", customer="globex"))], "globex, which is no tenant"),
        ({"acme": {"seats": 1}}, [row(), row(parameters={**event(), "event_name": "seats"})], "never metered"),
    ],
)
def test_an_invoice_that_differs_is_told(metered: dict, rows: list[PaymentRequest], says: str) -> None:
    assert any(says in problem for problem in judge_invoice(metered, rows))


def test_keys_and_seats() -> None:
    assert judge_keys([row(), row(key="other")]) == ["event e1 was tried with 2 keys"]
    assert "without an idempotency key" in judge_keys([row(key=None)])[0]
    assert judge_seats({"acme": 3}, [row()]) == ["acme has 3 seats and is invoiced for 0"]


def test_seats_are_a_level_that_is_told_once_a_day() -> None:
    def seats(count: int, at_s: int) -> PaymentRequest:
        return row(parameters={**event(), "event_name": "seats", "payload[value]": str(count), "timestamp": str(at_s)})

    two_days = [seats(3, 86_500), seats(2, 86_300)]  # the clock was set back meanwhile
    assert judge_seats({"acme": 3}, two_days) == judge_invoice({"acme": {"seats": 3}}, two_days) == []
    again = judge_seats({"acme": 3}, [*two_days, seats(3, 90_000)])
    assert again == ["acme is invoiced 2 times for its seats of 1970-01-02"]


def test_signatures_differ_by_secret() -> None:
    body = json.dumps({}).encode()
    assert stripe.signature("a", body, 1.0) != stripe.signature("b", body, 1.0)
