"""Licences: what is not exactly what the vendor signed is refused, and time is exact to the second."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from offline_kit import VENDOR, clock, code_of, node

from environments.companyos import jws, licensing
from environments.companyos.services import Services
from environments.companyos.vendor import licence_claims

NOW = 1_790_000_000


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    found = node(tmp_path)
    clock(found, NOW)
    yield found
    found.store.close()


def claims(**changes: Any) -> dict[str, Any]:
    return licence_claims("D", "acme", "instance-1", **{"nbf": NOW - 10, "exp": NOW + 1000, "serial": 1, **changes})


def licence(**changes: Any) -> bytes:
    return VENDOR.sign("licence", claims(**changes)).encode()


GENUINE = licence()


@given(st.integers(0, len(GENUINE) * 8 - 1))
def test_any_single_bit_flip_is_refused(bit: int) -> None:
    changed = bytearray(GENUINE)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(jws.JwsError):
        jws.verify(bytes(changed), VENDOR.trust_roots(), "licence")


def test_every_bit_of_the_last_characters_is_refused() -> None:
    assert jws.verify(GENUINE, VENDOR.trust_roots(), "licence").payload["serial"] == 1
    ends = [len(GENUINE) - 1, *(i - 1 for i, c in enumerate(GENUINE) if c == ord("."))]
    for position in ends:
        for bit in range(8):
            changed = bytearray(GENUINE)
            changed[position] ^= 1 << bit
            with pytest.raises(jws.JwsError):
                jws.verify(bytes(changed), VENDOR.trust_roots(), "licence")


@pytest.mark.parametrize(
    ("header", "key", "reason"),
    [
        ({"alg": "none"}, "vendor", jws.Reason.ALGORITHM),
        ({"alg": "HS256"}, "vendor", jws.Reason.ALGORITHM),
        ({"alg": "eddsa"}, "vendor", jws.Reason.ALGORITHM),
        ({"alg": None}, "vendor", jws.Reason.ALGORITHM),
        ({}, "stranger", jws.Reason.KEY),
        ({"kid": None}, "vendor", jws.Reason.KEY),
        ({"kid": ["x"]}, "vendor", jws.Reason.KEY),
        ({"jwk": dict(VENDOR.public_jwk("stranger"))}, "stranger", jws.Reason.KEY),
        ({"jku": "http://198.51.100.1/k"}, "vendor", jws.Reason.KEY),
        ({"kid": VENDOR.public_jwk()["kid"]}, "stranger", jws.Reason.SIGNATURE),
        ({"typ": "companyos-bundle"}, "vendor", jws.Reason.TYPE),
        ({"typ": None}, "vendor", jws.Reason.TYPE),
        ({"crit": ["exp"]}, "vendor", jws.Reason.MALFORMED),
    ],
)
def test_headers(header: dict[str, Any], key: str, reason: jws.Reason) -> None:
    with pytest.raises(jws.JwsError) as refused:
        jws.verify(VENDOR.sign("licence", claims(), header=header, key=key), VENDOR.trust_roots(), "licence")
    assert refused.value.reason == reason


@pytest.mark.parametrize("kind", ["bundle", "policy", "export", "node-key"])
def test_a_signature_is_good_for_one_kind_alone(kind: str) -> None:
    text = VENDOR.sign(kind, claims())
    assert jws.verify(text, VENDOR.trust_roots(), kind).payload == claims()
    with pytest.raises(jws.JwsError) as refused:
        jws.verify(text, VENDOR.trust_roots(), "licence")
    assert refused.value.reason == jws.Reason.TYPE


@pytest.mark.parametrize(
    "payload",
    [
        b'{"a":1,"a":2}',
        b'{"a":NaN}',
        b'\xef\xbb\xbf{"a":1}',
        b"{} ,",
        b"[" * 30_000,
        b"[1]",
        b'{"a":"\xff"}',
        b'{"a":"\\ud800"}',
    ],
)
def test_payloads_that_are_not_strict_json(payload: bytes) -> None:
    with pytest.raises(jws.JwsError) as refused:
        jws.verify(VENDOR.sign("licence", payload), VENDOR.trust_roots(), "licence")
    assert refused.value.reason == jws.Reason.MALFORMED


@pytest.mark.parametrize("tail", [b"\n", b"\r\n", b" ", b"=", b".", b".x", b"A" * 70_000])
def test_trailing_data(services: Services, tail: bytes) -> None:
    assert code_of(licensing.install, services, licence() + tail) in ("LICENCE_MALFORMED", "LICENCE_SIGNATURE")
    assert licensing.install(services, licence())["state"] == "valid"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"aud": "other"}, "LICENCE_AUDIENCE"),
        ({"aud": ["companyos"]}, "LICENCE_AUDIENCE"),
        ({"product": "other"}, "LICENCE_PRODUCT"),
        ({"mode": "Ca"}, "LICENCE_MODE"),
        ({"customer": "ACME"}, "LICENCE_CUSTOMER"),
        ({"instance": None}, "LICENCE_INSTANCE"),
        ({"nbf": True}, "LICENCE_MALFORMED"),
        ({"exp": None}, "LICENCE_MALFORMED"),
        ({"iss": "somebody"}, "LICENCE_MALFORMED"),
        ({"seats": -1}, "LICENCE_MALFORMED"),
    ],
)
def test_wrong_scope_has_its_reason_and_the_installed_one_stays(
    services: Services, changes: dict[str, Any], code: str
) -> None:
    before = licensing.install(services, licence())
    assert code_of(licensing.install, services, licence(**changes)) == code
    assert licensing.status(services) == before


@pytest.mark.parametrize(("offset", "state"), [(-1, "not_yet_valid"), (0, "valid"), (99, "valid"), (100, "expired")])
def test_the_window_is_exact(services: Services, offset: int, state: str) -> None:
    text = licence(nbf=NOW, exp=NOW + 100)
    clock(services, NOW)
    licensing.install(services, text)
    clock(services, NOW + offset + 0.999)
    assert licensing.status(services)["state"] == state
    clock(services, NOW + offset)
    assert licensing.status(services)["state"] == state
    code = None if state == "valid" else f"LICENCE_{state.upper()}"
    assert code_of(licensing.install, services, licence(nbf=NOW, exp=NOW + 100, serial=2)) == code


def test_a_clock_set_back_revives_nothing_until_another_licence_comes(services: Services) -> None:
    licensing.install(services, licence(nbf=0, exp=NOW + 100))
    clock(services, NOW + 200)
    assert licensing.status(services)["state"] == "expired"
    clock(services, NOW - 200)  # a correction of minutes is a correction
    assert licensing.status(services)["state"] == "valid"
    clock(services, NOW + 200 - 7200)
    found = licensing.status(services)
    assert (found["state"], found["reason"]) == ("expired", "CLOCK_ROLLBACK")
    assert code_of(licensing.install, services, licence(nbf=0, exp=NOW + 100)) == "LICENCE_EXPIRED"
    licensing.install(services, licence(nbf=0, exp=NOW + 100, serial=2))
    assert licensing.status(services)["state"] == "valid"


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"null", b'{"licence": 1, "seen": 1}', b'{"licence": "a.b.c", "seen": 1}']
)
def test_damaged_state_fails_closed(services: Services, damage: bytes) -> None:
    licensing.install(services, licence())
    licensing.state_file(services).write_bytes(damage)
    found = licensing.status(services)
    assert found["state"] == "none"
    assert found["reason"]
    assert licensing.install(services, licence())["state"] == "valid"


def test_state_holds_the_licence_as_it_was_given(services: Services) -> None:
    licensing.install(services, licence())
    assert json.loads(licensing.state_file(services).read_bytes())["licence"].encode() == licence()
    assert licensing.state_file(services).stat().st_mode & 0o077 == 0
