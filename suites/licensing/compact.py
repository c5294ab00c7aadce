"""Compact JWS by hand: what a hostile issuer writes, byte for byte, without a library that would refuse to."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def encode(raw: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def canonical(document: Any) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def parts(text: str) -> tuple[str, str, str]:
    header, payload, signature = text.split(".")
    return header, payload, signature


def header_of(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(decode(text.split(".")[0]))
    return found


def payload_of(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(decode(text.split(".")[1]))
    return found


def join(header: Mapping[str, Any], payload: bytes, signature: bytes) -> str:
    return f"{encode(canonical(header))}.{encode(payload)}.{encode(signature)}"


def keyed(header: Mapping[str, Any], payload: bytes, secret: bytes) -> str:
    """Authenticated with HMAC under `secret`, as the header's HS256, HS384 or HS512 says."""
    digest = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}[str(header["alg"])]
    text = f"{encode(canonical(header))}.{encode(payload)}"
    return f"{text}.{encode(hmac.new(secret, text.encode(), digest).digest())}"


def flip(raw: bytes, position: int, bit: int) -> bytes:
    """`raw` with one bit changed."""
    changed = bytearray(raw)
    changed[position] ^= 1 << bit
    return bytes(changed)
