"""What the suites bind, read from their sources, and the verdicts of META-01, META-03, META-04 and META-07."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from environments.contract import Calibration, vacuous

SUITES = Path(__file__).parent.parent
MODES, PATHS = {"A", "B", "Ct", "Ca", "D"}, {"A>B", "B>C"}


def bound() -> dict[str, list[str]]:
    """Requirement id -> tests bound to it by @requirement, from the sources of every suite."""
    found: dict[str, list[str]] = {}
    for path in sorted(SUITES.glob("*/test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for call in node.decorator_list:
                if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "requirement" and call.args:
                    name = call.args[0]
                    if isinstance(name, ast.Constant):
                        found.setdefault(str(name.value), []).append(f"{path.parent.name}/{path.name}::{node.name}")
    return found


def catalogues() -> dict[str, dict[str, Any]]:
    """Every requirement of every suite's catalogue, by id; `suite` added."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(SUITES.glob("*/catalogue.yaml")):
        for entry in yaml.safe_load(path.read_text(encoding="utf-8"))["requirements"]:
            if entry["id"] in found:
                raise AssertionError(f"{entry['id']} is in two catalogues")
            found[entry["id"]] = {**entry, "suite": path.parent.name}
    return found


def judge_applicability(entries: Mapping[str, Mapping[str, Any]], tests: Mapping[str, Sequence[str]]) -> list[str]:
    """Every id says to which modes it applies (META ids: to the suite itself); every bound id is in a catalogue."""
    if not entries or not tests:
        vacuous(f"{len(entries)} requirements, {len(tests)} with a test")
    problems = []
    for name, entry in entries.items():
        modes, paths = set(entry.get("modes") or ()), set(entry.get("paths") or ())
        scopes = [scope for scope in (modes, paths) if scope]
        if len(scopes) != (0 if entry["suite"] == "meta" else 1) or not modes <= MODES or not paths <= PATHS:
            problems.append(f"{name}: modes {sorted(modes)}, paths {sorted(paths)} do not say where it applies")
        for key in ("level", "priority", "statement"):
            if not entry.get(key):
                problems.append(f"{name}: no {key}")
    return problems + [f"{name} has a test and is in no catalogue" for name in tests if name not in entries]


def merged(matrices: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One matrix of those of several drivers: kills of each; on the clean system the worst that one of them saw, but
    what one could not test another may have."""
    kills: dict[str, list[str]] = {}
    clean: dict[str, str] = {}
    for matrix in matrices:
        for name, defects in (matrix.get("kills") or {}).items():
            kills[name] = [*kills.get(name, []), *defects]
        for name, verdict in (matrix.get("clean") or {}).items():
            if clean.get(name, "untestable") == "untestable" or verdict not in ("pass", "untestable"):
                clean[name] = verdict
    return {"kills": kills, "clean": clean}


def judge_kill_matrix(matrix: Mapping[str, Any], in_force: Sequence[str]) -> list[str]:
    """Every requirement in force passes on the clean system and is killed by at least one defect."""
    if not matrix.get("clean") or not matrix.get("kills") or not in_force:
        vacuous("the kill matrix is empty")
    clean, kills = matrix["clean"], matrix["kills"]
    return [f"{name} has no kill" for name in in_force if not kills.get(name)] + [
        f"{name} is {clean.get(name, 'absent')} on the clean system" for name in in_force if clean.get(name) != "pass"
    ]


def judge_calibration(rows: Sequence[Calibration]) -> list[str]:
    """Every link direction was measured and is what was asked, within its tolerance."""
    if not rows or not all(row.samples for row in rows):
        vacuous("no link was measured")
    wrong = [row for row in rows if not row.ok or abs(row.measured - row.asked) > row.tolerance]
    return [
        f"{r.link} {r.measure}: asked {r.asked:g}, measured {r.measured:g} (tolerance {r.tolerance:g})" for r in wrong
    ]


# The kinds of attempt that the ledger must be able to see (META-04): what the names of their canaries begin with. A
# kind may be named more finely (tcp4, tcp6).
CANARY_KINDS: Mapping[str, tuple[str, ...]] = {
    "TCP": ("tcp",),
    "UDP": ("udp",),
    "IPv6": ("tcp6", "udp6"),
    "DNS": ("dns4", "dns6", "dns-udp"),
    "DNS over TCP": ("dns-tcp",),
    "DNS over TLS": ("dot",),
    "TLS with a name": ("tls",),
    "HTTP with a name": ("http",),
    "QUIC": ("quic",),
    "NTP": ("ntp",),
    "ICMP": ("icmp",),
    "ICMPv6": ("icmp6",),
    "raw IP": ("raw",),
    "multicast DNS": ("mdns",),
    "sending process": ("process",),
}


def judge_canaries(sites: Mapping[str, Mapping[str, bool]]) -> list[str]:
    """Every planted canary was seen at every site, and every kind was planted."""
    if not sites or not all(sites.values()):
        vacuous("no canary was planted")
    problems = [f"{site}: {kind} was not seen" for site, seen in sites.items() for kind, ok in seen.items() if not ok]
    for site, seen in sites.items():
        for kind, words in CANARY_KINDS.items():
            if not any(name.startswith(words) for name in seen):
                problems.append(f"{site}: no {kind} canary was planted")
    return problems
