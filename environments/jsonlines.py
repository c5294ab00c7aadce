"""JSON lines of a file to which another process may be appending."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read(path: Path) -> list[dict[str, Any]]:
    """The document of each whole line; none if there is no such file.

    What comes behind the last line end is left out: an append is seen in parts by who reads meanwhile, most often at
    the edge of a page. Raises ValueError for a whole line that is no JSON.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in data[: data.rfind(b"\n") + 1].split(b"\n") if line.strip()]
