"""Runs of the real suites, by the real plugin, against a hostile double."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import profiles
from environments.doubles.hostile import HostileServer
from reports.journal import read

ROOT = Path(__file__).parents[2]
DRIVER = "environments.adapters.http_only:HttpOnly"
REQUEST_S = 0.1  # the most that a request of these runs may take; the delays of the double are far longer
RUN_S = 240.0
PROFILES = ("saas", "dedicated", "edge-dil")


@dataclass
class Ran:
    behaviour: str
    stage: str
    verdicts: list[dict[str, Any]]
    output: str
    trapped: int
    requests: int


def site(url: str, names: Sequence[str]) -> dict[str, Any]:
    """What the adapter is told: every node of the profiles is the double."""
    nodes = {}
    for profile in map(profiles.load, names):
        for name, spec in profile.nodes.items():
            people = [("_system", "operator"), *((t, r) for t in spec.tenants for r in ("admin", "analyst", "viewer"))]
            users = [{"tenant": t, "username": r, "password": f"pass-{r}-{t}", "roles": [r]} for t, r in people]
            urls = dict.fromkeys(("data", "identity", "admin", "control"), url)
            facts = {"node_id": "n-1", "customer": spec.customer, "instance": "i-1", "version": "1.4.0"}
            nodes[name] = {"urls": urls, "users": users, **facts}
    return {"nodes": nodes, "most_s": REQUEST_S}


@contextmanager
def environment(folder: Path, told: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    path = folder / "site.json"
    path.write_text(json.dumps(told))
    yield {**os.environ, "COMPANYOS_SITE": str(path)}


def run(
    folder: Path,
    behaviour: str,
    stage: str,
    names: Sequence[str] = PROFILES,
    suites: Sequence[str] = ("functional", "isolation"),
    *options: str,
) -> Ran:
    """`conform run` of these suites; a run that hangs is ended, and the test with it."""
    with HostileServer(behaviour, stage, seed=11) as server, environment(folder, site(server.url, names)) as variables:
        command = [sys.executable, "-m", "conform.cli", "run", "--driver", DRIVER, "-n", "0", "--seed", "11"]
        command += ["--run-dir", str(folder / "run"), *options]
        command += [part for name in names for part in ("--profile", name)]
        command += [part for name in suites for part in ("--suite", name)]
        done = subprocess.run(
            command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=RUN_S, check=False
        )
        output = done.stdout + done.stderr
        journal = folder / "run" / "journal.jsonl"
        assert journal.exists(), output[-3000:]
        verdicts = [dict(record) for record in read(journal).of("verdict")]
        return Ran(behaviour, stage, verdicts, output, server.trapped, server.requests)
