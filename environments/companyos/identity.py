"""Local accounts, people of the customer's directory, and the node's tokens (JWS EdDSA, key of the node's own)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from environments.companyos.clock import Clock
from environments.companyos.config import NodeConfig
from environments.companyos.directory import Away, Person, Refused, open_directory
from environments.companyos.directory.sessions import Sessions
from environments.companyos.errors import ApiError
from environments.companyos.limits import REVOCATION_S
from environments.companyos.services import SYSTEM_TENANT, Principal
from environments.companyos.storage.base import Store

TOKEN_TTL_S = 900
ALGORITHMS = ["EdDSA"]  # fixed by the verifier; the token's header chooses nothing
SCRYPT = {"n": 2**12, "r": 8, "p": 1}  # 4 MiB and about 10 ms: an edge node has little memory


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def hash_password(password: str, salt: bytes | None = None) -> str:
    salt = salt or os.urandom(16)
    digest = hashlib.scrypt(password.encode(), salt=salt, dklen=32, **SCRYPT)
    return f"scrypt${_b64(salt)}${_b64(digest)}"


def check_password(password: str, stored: str) -> bool:
    kind, salt, _ = stored.split("$")
    expected = hash_password(password, base64.urlsafe_b64decode(salt + "=="))
    return kind == "scrypt" and hmac.compare_digest(expected, stored)


_NOBODY = hash_password(secrets.token_urlsafe(16), b"companyos-nobody")


def key_file(config: NodeConfig) -> Path:
    return config.data_dir / "keys" / "token.jwk"


def create_key(config: NodeConfig) -> None:
    """The node's signing key, made on the node, readable by its owner alone. Kept if it exists."""
    path = key_file(config)
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = OKPKey.generate_key("Ed25519", {"use": "sig"}, auto_kid=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        json.dump(key.as_dict(private=True), file)


class Identity:
    def __init__(self, config: NodeConfig, store: Store, clock: Clock) -> None:
        self.config = config
        self.store = store
        self.clock = clock
        self.key = OKPKey.import_key(json.loads(key_file(config).read_text()))
        self._seen: dict[tuple[str, str], tuple[float, tuple[str, ...] | None]] = {}
        self._registry = jws.JWSRegistry(algorithms=ALGORITHMS)
        self.directory = open_directory(config.directory)
        recheck_s = config.directory.recheck_s if config.directory else 0.0
        self.sessions = Sessions(store, self.directory, recheck_s) if self.directory else None

    def login(self, tenant: str, username: str, password: str) -> str:
        """A token; ApiError UNAUTHENTICATED, the same for an unknown tenant, user, or a wrong password, UNAVAILABLE if
        the directory that would know does not answer. Accounts of the node itself come first: they work without it."""
        with self.store.transaction(tenant) as tx:
            user = tx.get_user(username)
        if user is None and self.in_directory(tenant) and self.directory and self.directory.kind == "ldap":
            return self.vouched(lambda: cast(Any, self.directory).authenticate(username, password))
        # The hash is computed for unknown users too, so that time does not tell who exists.
        good = check_password(password, user["passwordHash"] if user else _NOBODY)
        if user is None or not good or user["disabled"]:
            raise ApiError("UNAUTHENTICATED", message="bad credentials")
        return self.issue(username, tenant, user["roles"])

    def in_directory(self, tenant: str) -> bool:
        return self.config.directory is not None and tenant == self.config.directory.tenant

    def begin(self) -> str:
        """Where a person signs in at the customer's provider. ApiError CAPABILITY_ABSENT without one, UNAVAILABLE."""
        try:
            return str(self.provider().begin())
        except Away:
            raise ApiError("UNAVAILABLE", message="the provider does not answer") from None

    def finish(self, state: str, code: str) -> str:
        """A token for the person that the provider sent back; ApiError as for `login`."""
        provider = self.provider()
        return self.vouched(lambda: provider.finish(state, code))

    def provider(self) -> Any:
        if self.directory is None or self.directory.kind != "oidc":
            raise ApiError("CAPABILITY_ABSENT", message="this node is not federated")
        return self.directory

    def vouched(self, ask: Callable[[], Person]) -> str:
        """A token of a session that begins with what the directory says now."""
        assert self.config.directory is not None and self.sessions is not None
        tenant = self.config.directory.tenant
        try:
            person = ask()
        except Refused:
            raise ApiError("UNAUTHENTICATED", message="bad credentials") from None
        except Away:
            raise ApiError("UNAVAILABLE", message="the directory does not answer") from None
        session = self.sessions.open(tenant, person)
        return self.issue(person.username, tenant, list(person.roles), session)

    def issue(self, sub: str, tenant: str, roles: list[str], session: str | None = None) -> str:
        now = int(self.clock.now())
        claims = {
            "iss": self.config.node_id,
            "aud": self.config.node_id,
            "sub": sub,
            "tenant": tenant,
            "roles": roles,
            "iat": now,
            "exp": now + TOKEN_TTL_S,
        }
        if session is not None:
            claims["sid"] = session
        if self.hosted(tenant):
            claims["tenancy"] = self.store.tenancy(tenant)
            if claims["tenancy"] is None:
                raise ApiError("UNAUTHENTICATED", message="bad credentials")
        header = {"alg": "EdDSA", "typ": "JWT", "kid": self.key.kid}
        return jws.serialize_compact(header, json.dumps(claims).encode(), self.key, registry=self._registry)

    def verify(self, token: str) -> Principal:
        """ApiError UNAUTHENTICATED for anything but a token that this node signed, for itself, not yet expired."""
        refused = ApiError("UNAUTHENTICATED", message="bad token")
        try:
            claims = self.claims(token)
            principal = Principal(str(claims["sub"]), claims["tenant"], tuple(claims["roles"]), float(claims["exp"]))
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise refused from error
        node = self.config.node_id
        if claims.get("iss") != node or claims.get("aud") != node or not self.clock.now() < principal.expires_at:
            raise refused
        if not isinstance(principal.tenant, str) or not principal.tenant:
            raise refused
        if not self.resident(principal.tenant, claims):
            raise refused
        return self.account(principal) if claims.get("sid") is None else self.still(principal, str(claims["sid"]))

    def account(self, principal: Principal) -> Principal:
        """An account of this node, with the roles that it has now. UNAUTHENTICATED if it is gone or disabled; what was
        seen holds for REVOCATION_S."""
        key = (principal.tenant, principal.sub)
        until, roles = self._seen.get(key, (0.0, None))
        if time.monotonic() >= until:
            asked = time.monotonic()
            with self.store.transaction(principal.tenant) as tx:
                user = tx.get_user(principal.sub)
            roles = None if user is None or user["disabled"] else tuple(user["roles"])
            if len(self._seen) > 10_000:
                self._seen.clear()
            self._seen[key] = (asked + REVOCATION_S, roles)
        if roles is None:
            raise ApiError("UNAUTHENTICATED", message="bad token")
        return replace(principal, roles=roles)

    def forget(self, tenant: str, username: str) -> None:
        """The account has changed: look again."""
        self._seen.pop((tenant, username), None)

    def hosted(self, tenant: str) -> bool:
        """Whether the tenant can be removed from this node, and made anew under its name."""
        return self.config.mode in ("A", "B") and tenant != SYSTEM_TENANT

    def resident(self, tenant: str, claims: dict[str, Any]) -> bool:
        """Whether the tenant is still here, and the one that the token was issued in: the name can have had another."""
        return not self.hosted(tenant) or claims.get("tenancy") == (self.store.tenancy(tenant) or "")

    def still(self, principal: Principal, session: str) -> Principal:
        """Someone of the directory, with the roles that it gives them now."""
        if self.sessions is None:
            raise ApiError("UNAUTHENTICATED", message="this node has no directory")
        return replace(principal, roles=self.sessions.roles(session))

    def claims(self, token: str) -> dict[str, Any]:
        """The payload of a token whose signature is good. JoseError or ValueError otherwise."""
        verified = jws.deserialize_compact(token, self.key, registry=self._registry)
        claims = json.loads(verified.payload)
        if not isinstance(claims, dict):
            raise ValueError("claims are no object")
        return claims

    def derived(self, purpose: bytes) -> bytes:
        """A secret of the node for this purpose alone."""
        private = self.key.as_dict(private=True)["d"]
        return hmac.new(str(private).encode(), b"companyos/" + purpose, hashlib.sha256).digest()

    def jwks(self) -> dict[str, Any]:
        return {"keys": [self.key.as_dict(private=False)]}
