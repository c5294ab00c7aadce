"""The little DNS that a sentinel speaks: read one question, write one answer (RFC 1035)."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

A, AAAA = 1, 28
NOERROR, REFUSED = 0, 5


@dataclass(frozen=True, slots=True)
class Question:
    identifier: int
    name: str  # lower case, without the last dot
    kind: int
    raw: bytes  # name, type and class as they were sent
    recursion: bool


def question(message: bytes) -> Question | None:
    """The first question of a query; None if it is an answer, or no DNS at all."""
    if len(message) < 17:
        return None
    identifier, flags, count = struct.unpack_from("!HHH", message)
    if flags & 0x8000 or count < 1:
        return None
    labels, at = [], 12
    while at < len(message) and message[at]:
        length = message[at]
        if length > 63 or at + 1 + length > len(message):
            return None
        labels.append(message[at + 1 : at + 1 + length].decode("ascii", "backslashreplace").lower())
        at += 1 + length
    if at + 5 > len(message):
        return None
    kind = struct.unpack_from("!H", message, at + 1)[0]
    return Question(identifier, ".".join(labels), int(kind), message[12 : at + 5], bool(flags & 0x0100))


def query(name: str, identifier: int, kind: int = A) -> bytes:
    labels = b"".join(bytes([len(part)]) + part.encode("ascii") for part in name.split("."))
    return struct.pack("!HHHHHH", identifier, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", kind, 1)


def answer(asked: Question, address: bytes | None = None, code: int = NOERROR) -> bytes:
    """Answer with an address of the asked kind (60 s), or with none: an empty answer, or a refusal."""
    flags = 0x8080 | (0x0100 if asked.recursion else 0) | code
    head = struct.pack("!HHHHHH", asked.identifier, flags, 1, 1 if address else 0, 0, 0) + asked.raw
    if address is None:
        return head
    return head + struct.pack("!HHHIH", 0xC00C, asked.kind, 1, 60, len(address)) + address


def invented(asked: Question) -> bytes | None:
    """A documentation address for any name: TEST-NET-1, or 2001:db8:a::/48; the same name gives the same address."""
    digest = zlib.crc32(asked.name.encode())
    if asked.kind == A:
        return bytes([192, 0, 2, 1 + digest % 254])
    if asked.kind == AAAA:
        return bytes.fromhex("20010db8000a00000000000000") + (1 + digest % 65535).to_bytes(3, "big")
    return None
