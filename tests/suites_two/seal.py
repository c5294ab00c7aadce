"""A stand-in for the vendor in tests of vectors and archives."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from environments.contract import Node
from suites.licensing.compact import canonical, encode


class Seal:
    """Stands for the vendor: signs with a digest, which is enough to look at what is signed."""

    def sign(
        self,
        kind: str,
        payload: Mapping[str, Any] | bytes,
        *,
        header: Mapping[str, Any] | None = None,
        key: str = "vendor",
    ) -> str:
        full = {"alg": "EdDSA", "typ": f"companyos-{kind}", "kid": key, **(header or {})}
        body = payload if isinstance(payload, bytes) else canonical(payload)
        text = f"{encode(canonical({k: v for k, v in full.items() if v is not None}))}.{encode(body)}"
        digest = hashlib.sha512(f"{key} {text}".encode()).digest()
        return f"{text}.{encode(digest)}"

    def public_jwk(self, key: str = "vendor") -> Mapping[str, Any]:
        return {"kty": "OKP", "crv": "Ed25519", "x": encode(bytes(32)), "kid": key}

    def licence_claims(self, node: Node, **changes: Any) -> dict[str, Any]:
        return changes
