"""Signed policy: genuine, newer and whole, or the last good one stays; also after a restart."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from offline_kit import VENDOR, clock, node

from environments.companyos import outgoing, tether
from environments.companyos.policy import DEFAULT
from environments.companyos.services import Services

MODULES = {"authz.rego": DEFAULT.read_text()}
DENYING = {"authz.rego": "package companyos.authz\n\nimport rego.v1\n\ndefault allow := false\n"}
ASK = {"subject": {"sub": "a", "tenant": "t", "roles": ["viewer"]}, "action": "me.read", "resource": {"tenant": "t"}}


class Control:
    """A control plane that answers as it is told."""

    def __init__(self) -> None:
        self.text: bytes | None = None
        self.down = False
        self.asked = 0
        self.status = 200

    def request(self, method: str, path: str, body: Any = None, headers: Any = None, **_: Any) -> outgoing.Answer:
        self.asked += 1
        if self.down:
            raise outgoing.LinkError("timeout")
        if self.text is None:
            return outgoing.Answer(404, {}, b"")
        etag = hashlib.sha256(self.text).hexdigest()
        if (headers or {}).get("If-None-Match") == etag:
            return outgoing.Answer(304, {"etag": etag}, b"")
        return outgoing.Answer(self.status, {"etag": etag}, self.text)


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    found = node(tmp_path, control_url="http://127.0.0.1:1")
    yield found
    found.store.close()


def published(services: Services, control: Control, text: str) -> dict[str, Any]:
    control.text = text.encode()
    tether.poll(services, control)  # type: ignore[arg-type]
    return tether.status(services)


def test_good_updates_rise_and_bad_ones_change_nothing(services: Services) -> None:
    control = Control()
    good = published(services, control, VENDOR.sign_policy(5, DENYING))
    assert (good["revision"], good["last_error"]) == (5, None)
    assert not services.policy.decide(ASK)
    bad = {
        VENDOR.sign_policy(6, MODULES, key="stranger"): "POLICY_SIGNATURE",
        VENDOR.sign_policy(6, MODULES)[:-20]: "POLICY_SIGNATURE",
        VENDOR.sign("licence", {"revision": 6, "modules": MODULES}): "POLICY_SIGNATURE",
        VENDOR.sign_policy(4, MODULES): "POLICY_ROLLBACK",
        VENDOR.sign_policy(5, MODULES): "POLICY_ROLLBACK",
        VENDOR.sign_policy(-1, MODULES): "POLICY_ROLLBACK",
        VENDOR.sign_policy(6, {"authz.rego": "package companyos.authz\nallow if {"}): "POLICY_MALFORMED",
        VENDOR.sign_policy(6, {}): "POLICY_MALFORMED",
        VENDOR.sign_policy(1 << 60, MODULES): "POLICY_MALFORMED",
        VENDOR.sign("policy", {"revision": "6", "modules": MODULES}): "POLICY_MALFORMED",
    }
    for text, code in bad.items():
        found = published(services, control, text)
        assert (found["revision"], found["digest"], found["last_error"]) == (5, good["digest"], code)
        assert published(services, control, text)["last_error"] == code  # and 304 does not hide it
        assert not services.policy.decide(ASK)
    assert published(services, control, VENDOR.sign_policy(6, MODULES))["last_error"] is None
    assert services.policy.decide(ASK)


def test_the_last_good_policy_survives_a_restart_without_control(tmp_path: Path) -> None:
    first = node(tmp_path)
    published(first, Control(), VENDOR.sign_policy(7, DENYING))
    first.store.close()
    second = node(tmp_path)
    assert second.policy.revision == 0
    tether.reload(second)
    assert (second.policy.revision, second.policy.decide(ASK)) == (7, False)
    assert published(second, Control(), VENDOR.sign_policy(6, MODULES))["last_error"] == "POLICY_ROLLBACK"
    kept = tether.kept_file(second)
    kept.write_bytes(VENDOR.sign_policy(9, MODULES, key="stranger").encode())
    second.store.close()
    third = node(tmp_path)
    tether.reload(third)
    assert third.policy.revision == 0
    assert tether.status(third)["last_error"] == "POLICY_SIGNATURE"
    third.store.close()


def test_age_counts_from_the_last_confirmation(services: Services) -> None:
    control = Control()
    clock(services, 1000.0)
    assert published(services, control, VENDOR.sign_policy(1, MODULES))["age_s"] == 0
    clock(services, 1060.0)
    control.down = True
    tether.poll(services, control)  # type: ignore[arg-type]
    found = tether.status(services)
    assert (found["age_s"], found["last_error"]) == (60, "UNREACHABLE: timeout")
    control.down = False
    tether.poll(services, control)  # type: ignore[arg-type]
    found = tether.status(services)
    assert (found["age_s"], found["last_error"]) == (0, None)


def test_pauses_grow_to_a_bound_with_jitter(services: Services) -> None:
    assert tether.pause_s(services, 0) == services.config.policy_poll_s
    pauses = {tether.pause_s(services, 9) for _ in range(20)}
    assert len(pauses) > 1
    assert all(tether.MAX_BACKOFF_S / 2 <= pause <= tether.MAX_BACKOFF_S for pause in pauses)
