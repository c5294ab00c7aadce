"""The node's clock: real time, or the time that a clock file sets."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


class Clock:
    """`now()` in seconds since the epoch. The file is read at each call, so that it can change under a running node.

    It holds one number, `at`: the clock stands there; or three, `at real rate`: it read `at` when the real clock read
    `real`, and runs `rate` times as fast since (1: an offset; 1.0002: a drift of 200 ppm). Missing, empty or
    unreadable: real time."""

    def __init__(self, file: Path | None = None) -> None:
        self.file = file

    def setting(self) -> str:
        """What the file says; empty for real time."""
        try:
            return self.file.read_text() if self.file is not None else ""
        except (OSError, ValueError):
            return ""

    def now(self) -> float:
        return read(self.setting(), time.time())

    def stamp(self) -> str:
        """Now as RFC 3339 UTC, always six decimals, so that text order is time order."""
        return stamp(self.now())


def read(setting: str, real_s: float) -> float:
    """What a clock of this setting shows when the real one shows `real_s`."""
    try:
        numbers = [float(each) for each in setting.split()]
    except ValueError:
        return real_s
    if len(numbers) == 1:
        return numbers[0]
    if len(numbers) == 3:
        at_s, since_s, rate = numbers
        return at_s + (real_s - since_s) * rate
    return real_s


def stamp(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def utc(text: Any) -> str:
    """An RFC 3339 time of any offset as a stamp. ValueError: it is none, or no stamp can hold it."""
    if not isinstance(text, str) or _RFC3339.fullmatch(text) is None:
        raise ValueError(text)
    try:
        at = datetime.fromisoformat(text.upper()).astimezone(UTC)
    except OverflowError as error:
        raise ValueError(text) from error
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")
