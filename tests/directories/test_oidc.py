"""What an id token must be to let somebody in: everything else is refused, and silence is told from a no."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc import jws
from joserfc.jwk import RSAKey

from environments.companyos.config import DirectoryConfig
from environments.companyos.directory import Away, Refused
from environments.companyos.directory.oidc import OidcProvider

OURS, OTHER = RSAKey.generate_key(2048, {"kid": "k1"}), RSAKey.generate_key(2048, {"kid": "k1"})
ROLES = {"analysts": "analyst"}
Document = dict[str, Any]


class Provider:
    """Answers as a test tells it. claims, sign: of the next id token."""

    def __init__(self) -> None:
        self.nonce = ""
        self.claims: Callable[[Document], Document] = lambda claims: claims
        self.sign: Callable[[Document], str] = lambda claims: signed(claims, OURS)
        self.token_status, self.token_body = 200, b""
        self.issued = ""
        handler = type("Bound", (_Handler,), {"provider": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.issuer = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.says_issuer = self.issuer
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def id_token(self) -> str:
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": "companyos", "sub": "1", "nonce": self.nonce, "iat": now, "exp": now + 60}
        return self.sign(self.claims({**claims, "preferred_username": "ann", "groups": ["analysts"]}))


class _Handler(BaseHTTPRequestHandler):
    provider: Provider

    def do_GET(self) -> None:
        if self.path.endswith("openid-configuration"):
            base = self.provider.issuer
            self.answer(
                {
                    "issuer": self.provider.says_issuer,
                    "authorization_endpoint": f"{base}/auth",
                    "token_endpoint": f"{base}/token",
                    "jwks_uri": f"{base}/keys",
                }
            )
        else:
            self.answer({"keys": [OURS.as_dict(private=False)]})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.provider.token_body or self.provider.token_status != 200:
            self.send_response(self.provider.token_status)
            self.send_header("Content-Length", str(len(self.provider.token_body)))
            self.end_headers()
            self.wfile.write(self.provider.token_body)
            return
        self.answer({"id_token": self.provider.id_token(), "refresh_token": "r2", "token_type": "Bearer"})

    def answer(self, document: Document) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Quiet."""


def signed(claims: Document, key: RSAKey, **header: Any) -> str:
    return jws.serialize_compact({"alg": "RS256", "kid": "k1", **header}, json.dumps(claims).encode(), key)


def unsigned(claims: Document) -> str:
    parts = [json.dumps({"alg": "none"}).encode(), json.dumps(claims).encode()]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts) + "."


def with_public_key_as_secret(claims: Document) -> str:
    """By hand: no library still makes one (CVE-2015-9235)."""
    parts = [json.dumps({"alg": "HS256", "kid": "k1"}).encode(), json.dumps(claims).encode()]
    text = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    digest = hmac.new(OURS.as_pem(private=False), text, hashlib.sha256).digest()
    return (text + b"." + base64.urlsafe_b64encode(digest).rstrip(b"=")).decode()


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    yield made
    made.server.shutdown()
    made.server.server_close()


def client(provider: Provider) -> OidcProvider:
    return OidcProvider(
        DirectoryConfig(
            kind="oidc",
            tenant="acme",
            issuer=provider.issuer,
            client_id="companyos",
            client_secret="s",
            redirect_uri="http://node/callback",
            roles=ROLES,
            answer_s=2.0,
        )
    )


def begun(directory: OidcProvider, provider: Provider) -> str:
    """A sign-in at the provider; its state."""
    asked = parse_qs(urlsplit(directory.begin()).query)
    assert asked["code_challenge_method"] == ["S256"]
    provider.nonce = asked["nonce"][0]
    return asked["state"][0]


def test_a_good_token_lets_in_and_is_renewed(provider: Provider) -> None:
    directory = client(provider)
    person = directory.finish(begun(directory, provider), "code")
    assert (person.username, person.roles, person.secret) == ("ann", ("analyst",), "r2")
    assert directory.renew("ann", person.secret).roles == ("analyst",)
    with pytest.raises(Refused):
        directory.renew("bob", person.secret)


HOSTILE: dict[str, Callable[[Provider], None]] = {
    "for another client": lambda p: setattr(p, "claims", lambda c: {**c, "aud": "other"}),
    "for several, not first for us": lambda p: setattr(
        p, "claims", lambda c: {**c, "aud": ["companyos", "x"], "azp": "x"}
    ),
    "of another issuer": lambda p: setattr(p, "claims", lambda c: {**c, "iss": "http://evil"}),
    "with another nonce": lambda p: setattr(p, "claims", lambda c: {**c, "nonce": "replayed"}),
    "without a nonce": lambda p: setattr(p, "claims", lambda c: {k: v for k, v in c.items() if k != "nonce"}),
    "expired": lambda p: setattr(p, "claims", lambda c: {**c, "exp": c["exp"] - 3600}),
    "from the future": lambda p: setattr(p, "claims", lambda c: {**c, "iat": c["iat"] + 3600}),
    "without an expiry": lambda p: setattr(p, "claims", lambda c: {k: v for k, v in c.items() if k != "exp"}),
    "without a name": lambda p: setattr(p, "claims", lambda c: {**c, "preferred_username": None}),
    "without a group of ours": lambda p: setattr(p, "claims", lambda c: {**c, "groups": ["others"]}),
    "with groups that are no list": lambda p: setattr(p, "claims", lambda c: {**c, "groups": "analysts"}),
    "signed by another key": lambda p: setattr(p, "sign", lambda c: signed(c, OTHER)),
    "not signed": lambda p: setattr(p, "sign", unsigned),
    "signed with the public key as a secret": lambda p: setattr(p, "sign", with_public_key_as_secret),
    "that is no token": lambda p: setattr(p, "sign", lambda c: "a.b"),
}


@pytest.mark.parametrize("how", HOSTILE)
def test_a_token_is_refused(provider: Provider, how: str) -> None:
    directory = client(provider)
    state = begun(directory, provider)
    HOSTILE[how](provider)
    with pytest.raises(Refused):
        directory.finish(state, "code")


def test_a_sign_in_is_begun_here_and_ends_once(provider: Provider) -> None:
    directory = client(provider)
    with pytest.raises(Refused):
        directory.finish("never-begun", "code")
    state = begun(directory, provider)
    directory.finish(state, "code")
    with pytest.raises(Refused):
        directory.finish(state, "code")


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, b'{"error": "invalid_grant"}', Refused),
        (401, b"<html>", Refused),
        (500, b'{"error": "invalid_request"}', Refused),  # Dex, when its directory does not know the person any more
        (500, b'{"error": "server_error"}', Away),
        (503, b"<html>busy</html>", Away),
        (200, b"not json", Away),
        (200, b"[]", Away),
        (302, b"", Away),
    ],
)
def test_a_no_is_told_from_no_answer(provider: Provider, status: int, body: bytes, kind: type[Exception]) -> None:
    directory = client(provider)
    provider.token_status, provider.token_body = status, body
    with pytest.raises(kind):
        directory.renew("ann", "r1")


def test_metadata_of_somebody_else_is_not_taken(provider: Provider) -> None:
    provider.says_issuer = "http://evil"
    with pytest.raises(Away):
        client(provider).begin()


def test_a_provider_that_is_gone_is_away() -> None:
    gone = Provider()
    gone.server.shutdown()
    gone.server.server_close()
    with pytest.raises(Away):
        client(gone).begin()
