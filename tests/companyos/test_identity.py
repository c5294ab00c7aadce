from __future__ import annotations

import base64
import json
import stat
from pathlib import Path

import pytest
from joserfc import jws
from joserfc.jwk import OctKey, OKPKey
from nodes import PASSWORD, node_config

from environments.companyos.clock import Clock
from environments.companyos.errors import ApiError
from environments.companyos.identity import Identity, check_password, hash_password, key_file
from environments.companyos.install import install
from environments.companyos.storage.open import open_store


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    config = node_config(tmp_path, "D", "edge", clock_file=str(tmp_path / "clock"))
    install(config)
    return Identity(config, open_store(config), Clock(config.clock_file))


def refused(identity: Identity, token: str) -> bool:
    with pytest.raises(ApiError) as caught:
        identity.verify(token)
    return caught.value.code == "UNAUTHENTICATED"


def test_login_gives_a_token_that_verifies(identity: Identity) -> None:
    principal = identity.verify(identity.login("acme", "ann", PASSWORD))
    assert (principal.sub, principal.tenant, principal.roles) == ("ann", "acme", ("analyst",))


@pytest.mark.parametrize("who", [("acme", "ann", "wrong"), ("acme", "nobody", PASSWORD), ("globex", "ann", PASSWORD)])
def test_bad_credentials_are_one_answer(identity: Identity, who: tuple[str, str, str]) -> None:
    with pytest.raises(ApiError, match="bad credentials") as caught:
        identity.login(*who)
    assert caught.value.status == 401


def test_token_of_another_key_algorithm_or_time_is_refused(identity: Identity, tmp_path: Path) -> None:
    token = identity.login("acme", "ann", PASSWORD)
    head, claims, signature = token.split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    payload = base64.urlsafe_b64decode(claims + "==")
    stranger = OKPKey.generate_key("Ed25519")
    forged = jws.serialize_compact({"alg": "EdDSA", "kid": identity.key.kid}, payload, stranger, algorithms=["EdDSA"])
    secret = OctKey.import_key(json.dumps(identity.jwks()["keys"][0]).encode())
    confused = jws.serialize_compact({"alg": "HS256"}, payload, secret, algorithms=["HS256"])
    for bad in (f"{none}.{claims}.", f"{head}.{claims}.{signature[:-4]}AAAA", forged, confused, "", "a.b.c", "é.ü.ñ"):
        assert refused(identity, bad)
    assert identity.verify(token)
    (tmp_path / "clock").write_text(str(identity.clock.now() + 901))
    assert refused(identity, token)


def test_key_is_private_and_not_published(identity: Identity) -> None:
    path = key_file(identity.config)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "d" not in identity.jwks()["keys"][0]


def test_passwords_are_salted() -> None:
    assert hash_password("x") != hash_password("x")
    assert check_password("x", hash_password("x")) and not check_password("y", hash_password("x"))
