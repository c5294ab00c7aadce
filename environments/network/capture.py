"""A pcap file of what sites send, as it enters the router, before loss and delay; for tcpdump and Wireshark."""

from __future__ import annotations

import struct
import time
from pathlib import Path

_RAW_IP = 101  # link type: packets begin with the IP header


class Capture:
    """limit_bytes: where the file ends, so that a flood does not fill the disk; `truncated` then says so."""

    def __init__(self, path: Path, limit_bytes: int = 1 << 30) -> None:
        self.path, self.packets, self.truncated = path, 0, False
        self._left = limit_bytes
        self._file = path.open("wb")
        self._file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, _RAW_IP))

    def add(self, packet: bytes) -> None:
        self._left -= 16 + len(packet)
        if self._left < 0:
            self.truncated = True
            return
        microseconds = time.time_ns() // 1000
        stamp = struct.pack("<IIII", *divmod(microseconds, 1_000_000), len(packet), len(packet))
        self._file.write(stamp + packet)
        self.packets += 1

    def close(self) -> None:
        self._file.close()
