"""Structured log: one JSON object per line on stderr. Values are ids, codes and counts, never secrets."""

from __future__ import annotations

import json
import sys
import threading
import time
import traceback
from typing import Any

_LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40}
_lock = threading.Lock()
_threshold = 20
_static: dict[str, Any] = {}


def configure(level: str, **static: Any) -> None:
    """Set the threshold and the fields that every line carries (node, role)."""
    global _threshold
    _threshold = _LEVELS.get(level.upper(), 20)
    _static.update(static)


def write(level: str, message: str, **fields: Any) -> None:
    if _LEVELS[level] < _threshold:
        return
    line = json.dumps({"t": round(time.time(), 3), "level": level, **_static, "msg": message, **fields}, default=str)
    with _lock:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


def info(message: str, **fields: Any) -> None:
    write("INFO", message, **fields)


def warning(message: str, **fields: Any) -> None:
    write("WARNING", message, **fields)


def crash(where: str, error: BaseException) -> None:
    """Type and place of an error without its message: messages of database drivers quote row values."""
    frames = [f"{f.filename.rsplit('/', 1)[-1]}:{f.lineno}:{f.name}" for f in traceback.extract_tb(error.__traceback__)]
    write("ERROR", "crash", where=where, error=type(error).__name__, at=frames[-6:])
