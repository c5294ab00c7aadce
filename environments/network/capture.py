"""Captures: a pcapng file per site, of what it sends (before loss and delay) and what reaches it; for Wireshark.

Changes of links are comments on the packet that comes next, and in the timeline (links.jsonl) beside.
"""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

LIMIT_BYTES = 256 << 20  # of each file, so that a flood does not fill the disk
_RAW_IP = 101  # link type: packets begin with the IP header
_SECTION, _INTERFACE, _PACKET, _STATISTICS = 0x0A0D0D0A, 1, 6, 5
_COMMENT, _NAME, _RESOLUTION, _FLAGS = 1, 2, 9, 2
_INBOUND, _OUTBOUND = 1, 2
_REMARKS = 64  # kept for the next packet; more are only in the timeline


class Captures:
    """One file per site in `folder`. Limits are per file; `truncated` names the sites whose file ended there."""

    def __init__(self, folder: Path, sites: Sequence[str], limit_bytes: int = LIMIT_BYTES) -> None:
        folder.mkdir(exist_ok=True)
        self._files = {site: _File(folder / f"{site}.pcapng", site, limit_bytes) for site in sites}

    def sent(self, site: str, packet: bytes) -> None:
        self._files[site].add(packet, _OUTBOUND)

    def received(self, site: str, packet: bytes) -> None:
        self._files[site].add(packet, _INBOUND)

    def remark(self, row: Mapping[str, Any]) -> None:
        """A row of the link timeline."""
        differs = {name: value for name, value in row["state"].items() if value or name == "up"}
        text = f"{row['direction']}: {row['reason']}: {json.dumps(differs)}"
        for file in self._files.values():
            file.remark(text)

    def flush(self) -> None:
        for file in self._files.values():
            file.flush()

    @property
    def truncated(self) -> list[str]:
        return [site for site, file in self._files.items() if file.truncated]

    def close(self) -> dict[str, int]:
        """End the files; site -> packets."""
        return {site: file.close() for site, file in self._files.items()}


class _File:
    def __init__(self, path: Path, site: str, limit_bytes: int) -> None:
        self.packets, self.truncated = 0, False
        self._left, self._remarks = limit_bytes, list[str]()
        self._file: BinaryIO = path.open("wb", buffering=1 << 16)
        self._write(_SECTION, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
        options = _option(_NAME, site.encode()) + _option(_RESOLUTION, b"\x09") + _option(0, b"")
        self._write(_INTERFACE, struct.pack("<HHI", _RAW_IP, 0, 0) + options)

    def _write(self, kind: int, body: bytes) -> None:
        length = 12 + len(body)
        self._file.write(struct.pack("<II", kind, length) + body + struct.pack("<I", length))

    def remark(self, text: str) -> None:
        if len(self._remarks) < _REMARKS:
            self._remarks.append(text)

    def add(self, packet: bytes, flags: int) -> None:
        self._left -= 48 + len(packet)
        if self._left < 0:
            self.truncated = True
            return
        stamp = time.time_ns()
        options = _option(_FLAGS, struct.pack("<I", flags))
        if self._remarks:
            options = b"".join(_option(_COMMENT, text.encode()) for text in self._remarks) + options
            self._remarks = []
        head = struct.pack("<IIIII", 0, stamp >> 32, stamp & 0xFFFFFFFF, len(packet), len(packet))
        self._write(_PACKET, head + _padded(packet) + options + _option(0, b""))
        self.packets += 1

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> int:
        """End with a statistics block that bears the remarks which no packet came after; packets in the file."""
        remarks = [*self._remarks, *(["cut short: the file has reached its limit"] if self.truncated else [])]
        stamp = time.time_ns()
        options = b"".join(_option(_COMMENT, text.encode()) for text in remarks)
        self._write(_STATISTICS, struct.pack("<III", 0, stamp >> 32, stamp & 0xFFFFFFFF) + options + _option(0, b""))
        self._file.close()
        return self.packets


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + _padded(value)
