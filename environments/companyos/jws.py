"""Signed documents of the vendor: compact JWS, Ed25519, judged strictly.

The verifier fixes the algorithm, takes keys only from the installed trust roots, and asks for one exact `typ`, so that
a signature over one kind of document is never accepted for another. Everything that a signer would not have written is
refused: non-canonical base64url (also in the unused bits of the last character), duplicate JSON keys, NaN, trailing
data, unknown header parameters.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from joserfc import jws as jose
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import OKPKey

# The contract names the algorithm as RFC 8037 does; RFC 9864 renames it, and joserfc warns at every call.
warnings.filterwarnings("ignore", message="EdDSA is deprecated", category=SecurityWarning)

ALGORITHM = "EdDSA"
TYPES: Mapping[str, str] = {
    "licence": "companyos-licence",
    "bundle": "companyos-bundle",
    "policy": "companyos-policy",
    "export": "companyos-export",
    "node-key": "companyos-node-key",
    "release": "companyos-release",
}
KEY_HEADERS = frozenset({"jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256"})
HEADERS = frozenset({"alg", "typ", "kid"})
MAX_BYTES = 64 * 1024
_PART = re.compile(r"[A-Za-z0-9_-]*")


class Reason(StrEnum):
    """Why a signed document was refused."""

    MALFORMED = "malformed"  # not a compact JWS, not strict JSON, too large
    UNSIGNED = "unsigned"  # the signature is missing or empty
    ALGORITHM = "algorithm"  # the header names another algorithm
    KEY = "key"  # no trust root of that kid, or the header brings a key of its own
    SIGNATURE = "signature"  # the signature is not of this text and key
    TYPE = "type"  # genuine, but a document of another kind


class JwsError(Exception):
    """A refused document. `reason` is a Reason; the message never holds document content."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Verified:
    """A document whose signature, key and type were checked. `payload` is a JSON object."""

    header: Mapping[str, Any]
    payload: dict[str, Any]
    kid: str


def verify(text: str | bytes, roots: Sequence[Mapping[str, Any]], kind: str, *, max_bytes: int = MAX_BYTES) -> Verified:
    """Verify a document of `kind` (a key of TYPES) under `roots` (public JWKs with `kid`). Raises JwsError."""
    signing_text, header, signature = split(text, max_bytes)
    check_algorithm(header)
    key = find_key(header, roots)
    if not signature:
        raise JwsError(Reason.UNSIGNED, "the signature is empty")
    check_signature(signing_text, signature, key)
    check_type(header, kind)
    payload = parse_json(decode_part(signing_text.partition(".")[2]))
    if not isinstance(payload, dict):
        raise JwsError(Reason.MALFORMED, "the payload is not a JSON object")
    return Verified(header, payload, str(header["kid"]))


def split(text: str | bytes, max_bytes: int) -> tuple[str, dict[str, Any], str]:
    """-> (the text that is signed, header, signature part). Raises JwsError MALFORMED or UNSIGNED."""
    if len(text) > max_bytes:
        raise JwsError(Reason.MALFORMED, f"longer than {max_bytes} bytes")
    try:
        compact = text.decode("ascii") if isinstance(text, bytes) else text
    except UnicodeDecodeError:
        raise JwsError(Reason.MALFORMED, "not ASCII") from None
    parts = compact.split(".")
    if len(parts) == 2:
        raise JwsError(Reason.UNSIGNED, "no signature part")
    if len(parts) != 3:
        raise JwsError(Reason.MALFORMED, "not header.payload.signature")
    header = parse_json(decode_part(parts[0]))
    if not isinstance(header, dict):
        raise JwsError(Reason.MALFORMED, "the header is not a JSON object")
    return f"{parts[0]}.{parts[1]}", header, parts[2]


def check_algorithm(header: Mapping[str, Any]) -> None:
    """The verifier's algorithm, spelled exactly so. Raises JwsError ALGORITHM."""
    if header.get("alg") != ALGORITHM:
        raise JwsError(Reason.ALGORITHM, f"the algorithm must be {ALGORITHM}")


def find_key(header: Mapping[str, Any], roots: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The one trust root that `kid` names. Raises JwsError KEY. Nothing in the header is used as a key or fetched."""
    if KEY_HEADERS & header.keys():
        raise JwsError(Reason.KEY, "a key in the header is never used")
    if header.keys() - HEADERS:
        raise JwsError(Reason.MALFORMED, "unknown header parameter")
    kid = header.get("kid")
    matches = [root for root in roots if isinstance(kid, str) and root.get("kid") == kid]
    if len(matches) != 1:
        raise JwsError(Reason.KEY, "no trust root of this kid is installed")
    return matches[0]


def check_signature(signing_text: str, signature: str, key: Mapping[str, Any]) -> None:
    """Raises JwsError SIGNATURE, also when the signature part is not canonical base64url."""
    try:
        decode_part(signature)
        public = OKPKey.import_key({name: str(key[name]) for name in ("kty", "crv", "x")})
        jose.deserialize_compact(f"{signing_text}.{signature}", public, algorithms=[ALGORITHM])
    except (JoseError, JwsError, ValueError, KeyError):
        raise JwsError(Reason.SIGNATURE, "the signature does not match") from None


def check_type(header: Mapping[str, Any], kind: str) -> None:
    """Domain separation: raises JwsError TYPE unless `typ` is exactly the one of `kind`."""
    if header.get("typ") != TYPES[kind]:
        raise JwsError(Reason.TYPE, f"not a {kind}: typ must be {TYPES[kind]}")


def decode_part(part: str) -> bytes:
    """Canonical base64url without padding. Raises JwsError MALFORMED."""
    if not _PART.fullmatch(part):
        raise JwsError(Reason.MALFORMED, "not base64url")
    try:
        raw = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except binascii.Error:
        raise JwsError(Reason.MALFORMED, "not base64url") from None
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != part:
        raise JwsError(Reason.MALFORMED, "not canonical base64url")
    return raw


def parse_json(raw: bytes) -> Any:
    """Strict JSON: UTF-8, no duplicate keys, no NaN or infinity, no lone surrogates. Raises JwsError MALFORMED."""

    def constant(name: str) -> Any:
        raise ValueError(f"{name} is not JSON")

    try:
        document = json.loads(raw.decode("utf-8"), object_pairs_hook=unique_pairs, parse_constant=constant)
        json.dumps(document, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (ValueError, RecursionError):
        raise JwsError(Reason.MALFORMED, "not strict JSON") from None
    return document


def unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object from its members. Raises ValueError on a duplicate key."""
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("duplicate key")
    return document


def sign(kind: str, payload: Mapping[str, Any] | bytes, key: OKPKey, header: Mapping[str, Any] | None = None) -> str:
    """Compact JWS of `kind`. `header` entries override, None drops one. Signs what it is told to, hostile vectors
    too: the signature is Ed25519 over the text, whichever algorithm the header names."""
    full: dict[str, Any] = {"alg": ALGORITHM, "typ": TYPES.get(kind, kind), "kid": key.get("kid"), **(header or {})}
    full = {name: value for name, value in full.items() if value is not None}
    text = f"{encode(canonical(full))}.{encode(payload if isinstance(payload, bytes) else canonical(payload))}"
    return f"{text}.{encode(key.private_key.sign(text.encode()))}"  # type: ignore[union-attr]


def canonical(document: Any) -> bytes:
    """Canonical JSON: sorted keys, no spaces, UTF-8. Raises ValueError on NaN or infinity."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def encode(raw: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
