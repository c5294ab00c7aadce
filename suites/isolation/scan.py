"""Canaries: marks of a tenant that no other tenant's answer may hold, in any common encoding."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from environments.contract import vacuous


def forms(canary: str) -> dict[str, bytes]:
    """The bytes that `canary` has in the encodings that answers use. Canaries are ASCII."""
    raw = canary.encode()
    shifted = {}
    for shift in range(3):  # base64 of text in the middle of other text: three alignments, edges cut
        encoded = base64.b64encode(b"\0" * shift + raw)
        shifted[f"base64+{shift}"] = encoded[(0, 2, 3)[shift] : len(encoded) - 4]
    return {
        "raw": raw,
        "hex": raw.hex().encode(),
        "utf-16": canary.encode("utf-16-le"),
        "url": quote(canary, safe="").encode(),
        "json-escaped": "".join(f"\\u{ord(c):04x}" for c in canary).encode(),
        **shifted,
    }


def layers(body: bytes) -> Iterable[bytes]:
    """The body, and what it unpacks to (gzip, zlib), at most 64 MiB."""
    yield body
    if body[:2] == b"\x1f\x8b":
        try:
            yield gzip.decompress(body)[: 64 << 20]
        except (OSError, EOFError, zlib.error):
            return
    elif body[:1] == b"\x78":
        try:
            yield zlib.decompressobj().decompress(body, 64 << 20)
        except zlib.error:
            return


def found_in(canary: str, body: bytes) -> str | None:
    """Name of the form in which `body` holds `canary`; None if in none."""
    for layer in layers(body):
        lowered = layer.lower()
        for name, form in forms(canary).items():
            if form in layer or (name in {"hex", "raw"} and form.lower() in lowered):
                return name
    return None


def where(canary: str, body: bytes) -> str:
    """Path of the value that holds the canary as it is, in a JSON body; its offset in any other. Empty if encoded."""
    offset = body.lower().find(canary.lower().encode())
    if offset < 0:
        return ""
    try:
        return _path(canary.lower(), json.loads(body), "$") or f"byte {offset}"
    except (ValueError, RecursionError):
        return f"byte {offset}"


def _path(canary: str, value: object, path: str) -> str | None:
    if isinstance(value, str):
        return path if canary in value.lower() else None
    if isinstance(value, Mapping):
        inner = [(f"{path}.{name}", item) for name, item in value.items()]
        if any(canary in name.lower() for name in value):
            return f"{path} (name of a field)"
    else:
        inner = [(f"{path}[{index}]", item) for index, item in enumerate(value)] if isinstance(value, list) else []
    return next((found for name, item in inner if (found := _path(canary, item, name)) is not None), None)


def judge_leaks(canaries: Mapping[str, str], answers: Iterable[tuple[str, str, bytes]]) -> list[str]:
    """`canaries`: tenant -> its mark. `answers`: (tenant that asked, what, body). Leaks, or vacuous when no answer
    held its own tenant's mark: then the scan was blind."""
    leaks: list[str] = []
    sighted: set[str] = set()
    for tenant, what, body in answers:
        for owner, canary in canaries.items():
            form = found_in(canary, body)
            if form and owner == tenant:
                sighted.add(tenant)
            elif form:
                at = where(canary, body)
                leaks.append(
                    f"{what} of {tenant} holds the canary {canary} of {owner} ({form}{f', at {at}' if at else ''})"
                )
    unseen = sorted(set(canaries) - sighted)
    if leaks:
        return list(dict.fromkeys(leaks))
    if not canaries or unseen:
        vacuous(f"no answer held the asking tenant's own canary: {unseen or 'no canaries'}")
    return leaks


def jsonl(values: Iterable[object]) -> bytes:
    return "\n".join(json.dumps(v) for v in values).encode()
