"""The node's clock: real time, or the time that a clock file freezes."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path


class Clock:
    """`now()` in seconds since the epoch. The file is read at each call; empty or missing means real time."""

    def __init__(self, file: Path | None = None) -> None:
        self.file = file

    def now(self) -> float:
        if self.file is None:
            return time.time()
        try:
            text = self.file.read_text().strip()
            return float(text) if text else time.time()
        except (OSError, ValueError):
            return time.time()

    def stamp(self) -> str:
        """Now as RFC 3339 UTC, always six decimals, so that text order is time order."""
        return stamp(self.now())


def stamp(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
