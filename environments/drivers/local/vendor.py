"""The vendor's test keys: what a deployment trusts, and a stranger's that it must not."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from environments.contract import Node

TYPES = {kind: f"companyos-{kind}" for kind in ("licence", "bundle", "policy", "export")}


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class LocalVendor:
    """The contract's Vendor. Keys live in memory for the time of the deployment; no file holds them."""

    def __init__(self) -> None:
        self._keys = {"vendor": Ed25519PrivateKey.generate(), "stranger": Ed25519PrivateKey.generate()}

    def sign(
        self,
        kind: str,
        payload: Mapping[str, Any] | bytes,
        *,
        header: Mapping[str, Any] | None = None,
        key: str = "vendor",
    ) -> str:
        fields = {"alg": "EdDSA", "typ": TYPES[kind], "kid": self.public_jwk(key)["kid"], **(header or {})}
        head = {name: value for name, value in fields.items() if value is not None}
        body = (
            payload
            if isinstance(payload, bytes)
            else json.dumps(payload, sort_keys=True, separators=(",", ":")).encode()
        )
        signed = f"{b64url(json.dumps(head, separators=(',', ':')).encode())}.{b64url(body)}"
        return f"{signed}.{b64url(self._keys[key].sign(signed.encode()))}"

    def public_jwk(self, key: str = "vendor") -> Mapping[str, Any]:
        raw = self._keys[key].public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return {
            "kty": "OKP",
            "crv": "Ed25519",
            "x": b64url(raw),
            "kid": f"{key}-{b64url(raw)[:8]}",
            "use": "sig",
            "alg": "EdDSA",
        }

    def licence_claims(self, node: Node, **changes: Any) -> dict[str, Any]:
        now = int(time.time())
        claims = {
            "iss": "companyos-vendor",
            "aud": "companyos",
            "product": "companyos",
            "mode": str(node.mode),
            "customer": node.customer,
            "instance": node.instance,
            "serial": 1,
            "nbf": now - 60,
            "exp": now + 86400,
            "seats": 25,
            "features": ["core", "maestro"],
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not None}
