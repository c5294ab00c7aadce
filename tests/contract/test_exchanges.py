"""What is kept of exchanges: the last few, short, and no secret in them."""

from __future__ import annotations

import base64
import json
import string
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from environments.contract import Request, Response, TransportError
from environments.contract.exchanges import HEAD_CHARS, KEPT, KEPT_BYTES, Exchanges, asked, head, identity, redact

WORD = string.ascii_letters + string.digits + "-_"
FIELDS = st.sampled_from(["password", "accessToken", "client_secret", "refresh_token", "clientPassword", "private_key"])
SECRETS = st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=30).map(
    lambda t: f"s3cr3t-{t}-s3cr3t"
)
PARTS = st.text(WORD, min_size=8, max_size=40)
AROUND = st.text(st.characters(blacklist_categories=["Cs"]), max_size=40)


def token(tenant: str = "acme", **more: Any) -> str:
    claims = {"sub": "admin", "tenant": tenant, "roles": ["admin", "analyst"], **more}
    head_, body = (
        base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=").decode() for p in ({"alg": "EdDSA"}, claims)
    )
    return f"{head_}.{body}.c2lnbmF0dXJl"


@settings(deadline=None)
@given(FIELDS, SECRETS, AROUND)
def test_the_value_of_a_secret_field_is_nowhere(field: str, secret: str, around: str) -> None:
    plain = json.dumps({"a": around, "inner": {field: secret}, "z": 1})
    for text in (plain, json.dumps({"message": plain}), json.dumps({field: secret}, ensure_ascii=False)):
        assert "s3cr3t" not in redact(text), (text, redact(text))


@settings(deadline=None)
@given(PARTS, PARTS, AROUND, st.integers(0, 60))
def test_no_token_is_told_nor_the_half_of_one(claims: str, signature: str, around: str, cut: int) -> None:
    made = f"eyJhbGciOiJFZERTQSJ9.{claims}.{signature}"
    assume(claims not in around and signature not in around)
    for text in (f"{around} {made} {around}", f"Authorization: Bearer {made}", f"{around} {made}"[: -cut or None]):
        found = redact(text)
        assert signature not in found and claims not in found, (text, found)


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer abcSECRET123",
        "authorization: basic YWRtaW46U0VDUkVU SECRET".replace(" SECRET", ""),
        "grant_type=password&password=SECRET&x=1",
        "https://idp/callback?access_token=SECRET&state=1",
        '{"password": "SECRET',
        '{"password": 123456}',
    ],
)
def test_other_places_of_secrets(text: str) -> None:
    found = redact(text)
    assert "SECRET" not in found and "123456" not in found and "U0VDUkVU" not in found


def test_what_is_no_secret_stays() -> None:
    text = '{"data": {"entity": {"id": "e-1", "props": {"canary": "canary-acme"}}}}'
    assert redact(text) == text


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=3000), st.integers(1, 500))
def test_a_head_is_bounded(body: bytes, limit: int) -> None:
    assert len(head(body, limit)) <= limit + 30


def test_a_token_at_the_cut_is_not_told_by_halves() -> None:
    made = token()
    for before in range(60):
        assert made[:30] not in head(("x" * before + " " + made).encode(), 70)


def test_the_identity_is_what_the_token_says() -> None:
    assert identity({"Authorization": f"Bearer {token()}"}) == "admin of tenant acme (roles: admin, analyst)"
    assert identity({}) == "nobody (no token)"
    for value in ("Bearer x", "Bearer a.b.c", f"Bearer {token(roles=7)}", "Bearer a.W10.c", "", "Basic eA=="):
        assert "tenant" in identity({"authorization": value}) or value == ""


def test_a_request_is_told_in_one_line() -> None:
    body = json.dumps(
        {"query": "{ entity(id:\n  $id) { id } }", "variables": {"id": "e-1", "password": "hidden"}}
    ).encode()
    headers = {"Authorization": f"Bearer {token('globex')}", "X-Tenant-Id": "acme", "User-Agent": "conform"}
    line = asked(Request("POST", "http://10.0.0.1:4000/graphql", headers, body))
    assert "\n" not in line and "hidden" not in line and "eyJ" not in line
    for part in (
        "POST http://10.0.0.1:4000/graphql",
        "tenant globex",
        '"X-Tenant-Id": "acme"',
        "entity(id: $id)",
        "e-1",
    ):
        assert part in line


def test_the_last_are_kept_and_bounded() -> None:
    kept = Exchanges()
    assert kept.evidence() == {}
    for number in range(3 * KEPT):
        request = Request("PUT", f"http://n/{number}", {}, b"y" * (3 * KEPT_BYTES))
        kept.note(request, Response(200, {}, b"x" * (3 * KEPT_BYTES), 0.1, request))
    kept.note(Request("GET", "http://n/last", {}), TransportError("reset", "Bearer SECRET123 went away"))
    told = kept.evidence()
    assert told["exchanges"] == 3 * KEPT + 1
    assert len(told["the last of them"]) == KEPT
    assert told["the last of them"][-1]["no answer"].startswith("reset")
    assert len(json.dumps(told)) < KEPT * 3 * HEAD_CHARS
    assert "SECRET123" not in json.dumps(told)
    assert all(len(each.request.body or b"") <= KEPT_BYTES for each in kept.last())
    assert all(len(each.answer.body) <= KEPT_BYTES for each in kept.last() if isinstance(each.answer, Response))
    kept.forget()
    assert kept.evidence() == {}
