"""A small reader of tar files that does nothing but read: no extraction, no seek to where a header points unchecked.

`tarfile` is not used on foreign input: its filters have been bypassed (CVE-2025-4330, CVE-2026-11940), and it stops
silently at a damaged header. This reader knows ustar, GNU long names and the pax keys path, linkpath and size.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

BLOCK = 512
RECORD = 20 * BLOCK  # what writers pad to
MAX_MEMBERS = 10_000
MAX_EXTENSION_BYTES = 64 * 1024
FILE, HARDLINK, SYMLINK, OTHER = "file", "hardlink", "symlink", "other"
_KINDS = {b"0": FILE, b"\0": FILE, b"1": HARDLINK, b"2": SYMLINK}


class TarError(ValueError):
    """The bytes are not a complete tar of the understood kind."""


@dataclass(frozen=True)
class Member:
    """One entry, sizes and offsets in bytes. `kind`: file, hardlink, symlink or other (folder, device, fifo...)."""

    path: str
    kind: str
    size: int
    target: str
    mode: int
    offset: int  # of the content


def members(fd: int, total: int) -> Iterator[Member]:
    """Every entry of the tar of `total` bytes behind `fd`. Raises TarError on damage, truncation, data after the
    end."""
    position, count = 0, 0
    extension: dict[str, str] = {}
    while True:
        block = _read(fd, position, BLOCK, total)
        if block == bytes(BLOCK):
            _check_end(fd, position, total)
            return
        name, flag, size, link, mode = _header(block)
        position += BLOCK
        if flag in b"LKx":
            if size > MAX_EXTENSION_BYTES:
                raise TarError("extension header too large")
            extension |= _extension(flag, _read(fd, position, size, total))
            position += _padded(size)
            continue
        count += 1
        if count > MAX_MEMBERS:
            raise TarError(f"more than {MAX_MEMBERS} members")
        kind = _KINDS.get(flag, OTHER)
        if any(key.startswith("GNU.sparse") for key in extension):
            kind = OTHER
        if "size" in extension:
            size = _decimal(extension["size"])
        if flag in b"123456":  # links, devices, folders and fifos have no content, whatever the header says
            size = 0
        if position + _padded(size) > total:
            raise TarError("truncated inside a member")
        yield Member(extension.get("path", name), kind, size, extension.get("linkpath", link), mode, position)
        position += _padded(size)
        extension = {}


def content(fd: int, member: Member, chunk: int = 1 << 20) -> Iterator[bytes]:
    """The member's bytes, in chunks. Raises TarError if the file got shorter meanwhile."""
    left, position = member.size, member.offset
    while left:
        data = os.pread(fd, min(chunk, left), position)
        if not data:
            raise TarError("truncated inside a member")
        yield data
        left -= len(data)
        position += len(data)


def _read(fd: int, position: int, size: int, total: int) -> bytes:
    if position + size > total:
        raise TarError("truncated")
    data = os.pread(fd, size, position)
    if len(data) != size:
        raise TarError("truncated")
    return data


def _check_end(fd: int, position: int, total: int) -> None:
    """Two zero blocks end a tar, or zeros up to a whole record: a file cut anywhere, in its padding too, is noticed."""
    if total - position < 2 * BLOCK or (total - position != 2 * BLOCK and total % RECORD):
        raise TarError("truncated at the end")
    while position < total:
        data = os.pread(fd, min(1 << 20, total - position), position)
        if not data or data.strip(b"\0"):
            raise TarError("data after the end of the archive")
        position += len(data)


def _header(block: bytes) -> tuple[str, bytes, int, str, int]:
    """-> (name, type flag, size, link name, mode)."""
    unsigned = sum(block[:148]) + 8 * 32 + sum(block[156:])
    if _octal(block[148:156]) != unsigned:
        raise TarError("header checksum")
    name, prefix = _text(block[:100]), ""
    if block[257:263] == b"ustar\0":
        prefix = _text(block[345:500])
    return (
        f"{prefix}/{name}" if prefix else name,
        block[156:157],
        _octal(block[124:136]),
        _text(block[157:257]),
        _octal(block[100:108]),
    )


def _extension(flag: bytes, data: bytes) -> dict[str, str]:
    if flag == b"L":
        return {"path": _text(data)}
    if flag == b"K":
        return {"linkpath": _text(data)}
    found: dict[str, str] = {}
    while data:
        length, space, _ = data.partition(b" ")
        size = _decimal(length.decode("ascii", "replace"))
        record = data[:size]
        if not space or size <= len(length) + 1 or len(record) != size or not record.endswith(b"\n"):
            raise TarError("pax record")
        key, equals, value = record[len(length) + 1 : -1].partition(b"=")
        if not equals:
            raise TarError("pax record")
        found[_utf8(key)] = _utf8(value)
        data = data[size:]
    return found


def _text(field: bytes) -> str:
    """A field ends at its first NUL; something after it would be another name to another reader."""
    text, _, rest = field.partition(b"\0")
    if rest.strip(b"\0"):
        raise TarError("bytes after the end of a name")
    return _utf8(text)


def _utf8(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise TarError("a name is not UTF-8") from None


def _octal(field: bytes) -> int:
    text = field.strip(b" \0")
    if any(digit not in b"01234567" for digit in text):
        raise TarError("number field")
    return int(text or b"0", 8)


def _decimal(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise TarError("number field")
    return int(text)


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
