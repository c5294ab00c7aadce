"""Rows measured before on this host. A file per pair of link states, under a key of everything they depend on."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from environments.contract.deployment import Calibration
from environments.network.calibration.plan import Effort

LASTS_S = 86_400.0
_HERE = Path(__file__).resolve()
_CODE = (_HERE.parent, _HERE.parents[1], _HERE.parents[2] / "link")
Directions = Sequence[Mapping[str, Any]]  # as the router's `show` gives them, both of a link under its name


class Cache:
    """folder: None means no cache."""

    def __init__(self, folder: Path | None, effort: Effort) -> None:
        self._folder, self._effort = folder, effort

    def rows(self, links: Directions) -> dict[str, list[Calibration]]:
        """Known rows by link. In the file a direction is named by its place: the names are the deployment's."""
        found = {}
        for name, directions in _by_link(links).items():
            path = self._path(directions)
            if path is None:
                continue
            with contextlib.suppress(OSError, ValueError, TypeError):
                if time.time() - path.stat().st_mtime < LASTS_S:
                    document = json.loads(path.read_text(encoding="utf-8"))
                    found[name] = [
                        Calibration(**{**row, "link": _name(directions[int(row["link"])]), "cached_at": document["at"]})
                        for row in document["rows"]
                    ]
        return found

    def keep(self, links: Directions, rows: Sequence[Calibration]) -> None:
        """Remember each link all of whose rows are as asked, unless it is known."""
        for directions in _by_link(links).values():
            path, places = self._path(directions), {_name(each): place for place, each in enumerate(directions)}
            own = [replace(row, link=str(places[row.link])) for row in rows if row.link in places]
            if path is None or path.exists() or not own or not all(row.ok for row in own):
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(f".{os.getpid()}")
            at = datetime.now(UTC).isoformat(timespec="seconds")
            part.write_text(json.dumps({"at": at, "rows": [asdict(row) for row in own]}), encoding="utf-8")
            part.replace(path)

    def _path(self, directions: Directions) -> Path | None:
        if self._folder is None:
            return None
        states = [each["asked"] for each in directions]
        facts = [_host(), _code(), self._effort.name, json.dumps(states, sort_keys=True)]
        return self._folder / f"{hashlib.sha256('|'.join(facts).encode()).hexdigest()[:24]}.json"


def _name(direction: Mapping[str, Any]) -> str:
    return f"{direction['a']}>{direction['b']}"


def _by_link(links: Directions) -> dict[str, Directions]:
    names = dict.fromkeys(str(each["link"]) for each in links)
    return {name: [each for each in links if each["link"] == name] for name in names}


@cache
def _host() -> str:
    facts = platform.uname()
    return f"{facts.node} {facts.release} {facts.machine} {os.cpu_count()} {platform.python_version()}"


@cache
def _code() -> str:
    """Of the files that a measurement depends on."""
    digest = hashlib.sha256()
    for folder in _CODE:
        for path in sorted(folder.glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()
