"""Federation with the customer's OpenID provider: authorisation code with PKCE, and a refresh at every look.

Sources: OpenID Connect Core 1.0 (3.1.3.7, what must be checked of an id token), RFC 7636 (PKCE), RFC 9700.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from environments.companyos import directory, outgoing
from environments.companyos.config import DirectoryConfig
from environments.companyos.directory import Away, Person, Refused

ALGORITHMS = ["RS256", "ES256", "EdDSA"]  # fixed by the verifier: never `none`, never a shared secret
SIGN_IN_S = 600.0  # how long a person may take at the provider
MOST_PENDING = 1000
SKEW_S = 60
ANSWER_BYTES = 64 * 1024
PASSING = ("server_error", "temporarily_unavailable")


@dataclass(frozen=True)
class Pending:
    """A sign-in that was sent to the provider."""

    nonce: str
    verifier: str
    until_s: float  # monotonic


class OidcProvider:
    kind = "oidc"

    def __init__(self, config: DirectoryConfig) -> None:
        self.config = config
        self._lock = threading.Lock()
        self._pending: dict[str, Pending] = {}
        self._metadata: dict[str, Any] | None = None
        self._keys: KeySet | None = None
        self._registry = jws.JWSRegistry(algorithms=ALGORITHMS)

    def begin(self) -> str:
        """Where to send the person; Away."""
        state, pending = secrets.token_urlsafe(24), Pending(secrets.token_urlsafe(24), secrets.token_urlsafe(48), 0.0)
        digest = hashlib.sha256(pending.verifier.encode()).digest()
        asked = {
            "response_type": "code",
            "client_id": self.config.client_id,
            "redirect_uri": self.config.redirect_uri,
            "scope": "openid profile groups offline_access",
            "state": state,
            "nonce": pending.nonce,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        where = self._endpoint("authorization_endpoint")
        now = time.monotonic()
        with self._lock:
            self._pending = {key: each for key, each in self._pending.items() if each.until_s > now}
            while len(self._pending) >= MOST_PENDING:
                del self._pending[next(iter(self._pending))]
            self._pending[state] = Pending(pending.nonce, pending.verifier, now + SIGN_IN_S)
        return f"{where}{'&' if '?' in where else '?'}{urlencode(asked)}"

    def finish(self, state: str, code: str) -> Person:
        """Who came back. Refused for a sign-in that was not begun here, or is used again; Away."""
        with self._lock:
            pending = self._pending.pop(state, None)
        if pending is None or pending.until_s < time.monotonic():
            raise Refused
        granted = self._token(
            grant_type="authorization_code",
            code=code,
            redirect_uri=self.config.redirect_uri,
            code_verifier=pending.verifier,
        )
        return self._person(granted, pending.nonce)

    def renew(self, username: str, secret: str) -> Person:
        person = self._person(self._token(grant_type="refresh_token", refresh_token=secret), None, secret)
        if person.username != username:
            raise Refused
        return person

    # -- the provider's answers

    def _person(self, granted: dict[str, Any], nonce: str | None, secret: str = "") -> Person:
        claims = self._claims(granted.get("id_token"))
        if nonce is not None and claims.get("nonce") != nonce:
            raise Refused
        username, groups = claims.get(self.config.username_claim), claims.get("groups")
        if not isinstance(username, str) or not username or not isinstance(groups, list):
            raise Refused
        following = granted.get("refresh_token") or secret
        if not isinstance(following, str) or not following:
            raise Refused  # nobody whom the provider could not be asked about again
        return Person(username, directory.roles_of([str(each) for each in groups], self.config.roles), following)

    def _claims(self, token: Any) -> dict[str, Any]:
        """The claims of an id token of this provider for this client, which is in force now; Refused."""
        if not isinstance(token, str):
            raise Refused
        try:
            claims = json.loads(self._verified(token))
            audience = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
            good = claims["iss"] == self.config.issuer and self.config.client_id in audience
            good = good and (len(audience) == 1 or claims.get("azp") == self.config.client_id)
            good = good and float(claims["exp"]) > time.time() - SKEW_S and float(claims["iat"]) < time.time() + SKEW_S
        except (ValueError, KeyError, TypeError) as error:
            raise Refused from error
        if not good or not isinstance(claims, dict):
            raise Refused
        return claims

    def _verified(self, token: str) -> bytes:
        """The payload under a good signature of a key of the provider; its keys are fetched again once."""
        for keys in (self._keys, None):
            if keys is None:
                keys = self._keys = self._fetch_keys()
            try:
                return jws.deserialize_compact(token, keys, registry=self._registry).payload
            except (JoseError, ValueError):
                continue
        raise Refused

    def _fetch_keys(self) -> KeySet:
        document = self._document(self._endpoint("jwks_uri"))
        try:
            return KeySet.import_key_set({"keys": [key for key in document["keys"] if key.get("kty") != "oct"]})
        except (JoseError, ValueError, KeyError, TypeError, AttributeError):
            raise Away("keys") from None

    def _endpoint(self, name: str) -> str:
        """An address from the provider's metadata, which must be that of the configured issuer."""
        if self._metadata is None:
            document = self._document(f"{self.config.issuer}/.well-known/openid-configuration")
            if document.get("issuer") != self.config.issuer:
                raise Away("issuer")
            self._metadata = document
        where = self._metadata.get(name)
        if not isinstance(where, str):
            raise Away(name)
        return where

    def _token(self, **fields: str) -> dict[str, Any]:
        basic = base64.b64encode(f"{self.config.client_id}:{self.config.client_secret}".encode()).decode()
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Authorization": f"Basic {basic}"}
        return self._ask("POST", self._endpoint("token_endpoint"), urlencode(fields).encode(), headers)

    def _document(self, url: str) -> dict[str, Any]:
        return self._ask("GET", url, None, {})

    def _ask(self, method: str, url: str, body: bytes | None, headers: dict[str, str]) -> dict[str, Any]:
        """A JSON object from the provider. Refused for 4xx, and for an OAuth error with another status that does not
        say of itself that it passes (RFC 6749, 5.2; there are providers that answer so); Away for the rest."""
        parts = urlsplit(url)
        channel = outgoing.Channel(f"{parts.scheme}://{parts.netloc}", deadline_s=self.config.answer_s)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        try:
            answer = channel.request(method, path, body, headers, answer_bytes=ANSWER_BYTES)
        except outgoing.LinkError as error:
            raise Away(str(error)) from None
        finally:
            channel.close()
        try:
            found = json.loads(answer.body)
        except (ValueError, RecursionError):
            found = None
        said = found.get("error") if isinstance(found, dict) else None
        if 400 <= answer.status < 500 or (isinstance(said, str) and said not in PASSING):
            raise Refused
        if answer.status != 200 or not isinstance(found, dict):
            raise Away(f"HTTP_{answer.status}")
        return found
