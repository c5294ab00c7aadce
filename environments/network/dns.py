"""The little DNS that a sentinel speaks: read one question, write one answer (RFC 1035), invent addresses."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

A, AAAA = 1, 28
NOERROR, REFUSED = 0, 5
_V4_POOL, _V6_POOL = 0xC6120000, bytes.fromhex("20010db8000a")
_POOL = 2**17 - 2


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


def framed(data: bytes) -> tuple[Question, int] | None:
    """The first question of a TCP stream, whose messages bear their length before them; bytes used up."""
    end = 2 + int.from_bytes(data[:2], "big")
    asked = question(data[2:end]) if 2 < end <= len(data) else None
    return None if asked is None else (asked, end)


class Inventions:
    """Addresses for names that do not exist: each name its own, the same in every run unless another came first.

    IPv4 out of 198.18.0.0/15 (RFC 2544, never routed), IPv6 out of 2001:db8:a::/48 (RFC 3849).
    """

    def __init__(self, limit: int = 65_536) -> None:
        self._limit = limit
        self._numbers: dict[str, int] = {}
        self._names: dict[int, str] = {}

    def address(self, asked: Question) -> bytes | None:
        """Address of the asked kind; None for other kinds."""
        if asked.kind == A:
            return (_V4_POOL + self._number(asked.name)).to_bytes(4, "big")
        if asked.kind == AAAA:
            return _V6_POOL + self._number(asked.name).to_bytes(10, "big")
        return None

    def name_of(self, address: bytes) -> str | None:
        """The name that was answered with this address; None if none was."""
        if len(address) == 4:
            return self._names.get(int.from_bytes(address, "big") - _V4_POOL)
        return self._names.get(int.from_bytes(address[6:], "big")) if address[:6] == _V6_POOL else None

    def _number(self, name: str) -> int:
        known = self._numbers.get(name)
        if known is not None:
            return known
        if len(self._numbers) >= self._limit:  # the oldest gives way
            del self._names[self._numbers.pop(next(iter(self._numbers)))]
        number = 1 + zlib.crc32(name.encode()) % _POOL
        while number in self._names:
            number = 1 + number % _POOL
        self._numbers[name], self._names[number] = number, name
        return number
