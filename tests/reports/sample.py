"""A realistic journal, made up: nine profiles, the whole catalogue, the first slice in force, a few things wrong.

`python tests/reports/sample.py OUT` writes the journal and its views, to look at.
"""

from __future__ import annotations

import random
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from reports.journal import JournalWriter

ROOT = Path(__file__).parents[2]
START = datetime.now(UTC) - timedelta(seconds=94)
SLICE = [
    f"{area}-{number}"
    for area, numbers in {
        "FUN": "01 03 04 11 12",
        "ISO": "01 02 06 08 09 10 20",
        "LIC": "01 02 03 04 07 08",
        "AIR": "01 03 07 08 09 11",
        "SYN": "01 02 03 04 06 07",
        "TET": "02 03 06",
        "MIG": "01 02 07 15",
        "INF": "04",
        "SEC": "03 10",
        "OPS": "01",
        "META": "01 02 03 04 07",
    }.items()
    for number in numbers.split()
]
PROFILES = {  # id: (mode or path, sites, ready_s)
    "saas": ("A", ["core"], {"saas": 3.1}),
    "dedicated": ("B", ["core"], {"dedicated": 3.0}),
    "onprem-connected": ("Ct", ["customer-lan", "internet"], {"onprem": 3.3}),
    "onprem-tethered": ("Ct", ["customer-lan", "saas"], {"saas": 3.2, "onprem": 3.4}),
    "onprem-airgap": ("Ca", ["customer-lan"], {"onprem": 3.2}),
    "edge-dil": ("D", ["edge-1", "saas"], {"saas": 3.3, "edge-1": 1.6}),
    "edge-airgap": ("D", ["edge-1", "customer-lan"], {"onprem": 3.2, "edge-1": 1.5}),
    "saas-to-dedicated": ("A>B", ["core", "target"], {"saas": 3.1, "dedicated": 3.6}),
    "dedicated-to-onprem": ("B>C", ["core", "customer-lan"], {"dedicated": 3.2, "onprem": 3.9}),
}
LINKS = {"onprem-tethered": "customer-lan--saas", "edge-dil": "edge-1--saas", "edge-airgap": "customer-lan--edge-1"}
DIL = {"up": True, "delay_s": 0.3, "jitter_s": 0.04, "loss": 0.02, "burst": 4.0, "rate_bps": 512000}
WAN = {"up": True, "delay_s": 0.02, "jitter_s": 0.002, "loss": 0.0, "burst": 1.0, "rate_bps": 100e6}
WRONG: dict[tuple[str, str], dict[str, Any]] = {
    ("ISO-08", "saas"): {
        "verdict": "fail",
        "reason": "the header X-Tenant-Id chose the tenant",
        "expected": "acme's token with globex's header reads acme's 3 rows, or is refused as tenant_mismatch",
        "observed": "200 with 5 rows of globex",
        "evidence": {
            "request": {"method": "POST", "url": "http://core/graphql", "headers": {"X-Tenant-Id": "globex"}},
            "response": {
                "status": 200,
                "rows": [{"id": "e-91", "tenantId": "globex", "kind": "<script>alert(1)</script>"}],
            },
        },
    },
    ("SYN-02", "edge-dil"): {
        "verdict": "fail",
        "reason": "an acknowledged write was lost in the crash",
        "expected": "all 40 acknowledged writes are in the parent after the link healed",
        "observed": "39 of 40; missing: e-17, acknowledged at t=11.42 s, 0.08 s before SIGKILL",
        "evidence": {"acknowledged": 40, "found": 39, "missing": ["e-17"], "kill_at_s": 11.5},
    },
    ("AIR-03", "onprem-airgap"): {
        "verdict": "vacuous",
        "reason": "the egress ledger is empty, the planted canaries included",
        "expected": "six canaries in the ledger and no other attempt",
        "observed": "no rows at all",
        "evidence": {"rows": 0},
    },
    ("AIR-01", "edge-airgap"): {
        "verdict": "untestable",
        "reason": "no syscall trace without ptrace",
        "needs": "process-control",
    },
    ("ISO-10", "dedicated"): {
        "verdict": "waived",
        "reason": "superuser session closed by the operator; accepted by A. Person until 2026-06-30",
    },
}
MODES = {"A": "A", "B": "B", "Ct": "C on-prem", "Ca": "C air-gapped", "D": "D edge"}


def catalogue() -> list[dict[str, Any]]:
    """Every requirement of every suite, read as data."""
    entries = []
    for path in sorted((ROOT / "suites").glob("*/catalogue.yaml")):
        for entry in yaml.safe_load(path.read_text(encoding="utf-8"))["requirements"]:
            entries.append({"suite": path.parent.name, **entry})
    return entries


def applies(entry: dict[str, Any], mode: str) -> dict[str, Any]:
    if ">" in mode:
        if mode in (entry.get("paths") or []):
            return {"applies": True, "reason": f"path {mode}"}
        return {"applies": False, "reason": f"not asked of the path {mode}"}
    if "paths" in entry:
        return {"applies": False, "reason": "asked of migration paths only"}
    if "modes" in entry and mode not in entry["modes"]:
        return {"applies": False, "reason": f"asked of modes {', '.join(entry['modes'])}; this is {mode}"}
    return {"applies": True, "reason": f"mode {mode}"}


def header(entries: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    known = {entry["id"] for entry in entries}
    return {
        "run_id": "r-7f3a21",
        "started_at": START.isoformat(),
        "suite_version": "0.1.0",
        "argv": ["conform", "run"],
        "seed": 42,
        "driver": "local",
        "host": {
            "system": "Linux 6.8.0",
            "cpus": 2,
            "memory_bytes": 8323072000,
            "python": "3.11.9",
            "privileges": "root",
        },
        "strict": False,
        "catalogue": entries,
        "profiles": [
            {
                "id": name,
                "mode": None if ">" in mode else mode,
                "path": mode if ">" in mode else None,
                "applies": {entry["id"]: applies(entry, mode) for entry in entries},
            }
            for name, (mode, _, _) in PROFILES.items()
        ],
        "in_force": [name for name in SLICE if name in known],
        **changes,
    }


def write(path: Path, *, wrong: bool = True, seed: int = 7) -> Path:
    """The sample journal at `path`; with `wrong` false, everything in force passes."""
    rng = random.Random(seed)
    entries = catalogue()
    with JournalWriter(path) as journal:
        head = header(entries)
        journal.write("header", **head)
        for profile in head["profiles"]:
            _profile(journal, profile, {entry["id"]: entry for entry in entries}, head["in_force"], wrong, rng)
    return path


def _profile(
    journal: JournalWriter,
    profile: dict[str, Any],
    entries: dict[str, Any],
    in_force: list[str],
    wrong: bool,
    rng: random.Random,
) -> None:
    name = profile["id"]
    _, sites, ready_s = PROFILES[name]
    deployment = f"{name}-gw{len(name) % 2}"
    journal.write(
        "deployment",
        profile=name,
        deployment=deployment,
        sites=sites,
        nodes=list(ready_s),
        ready_s=ready_s,
        ready_limit_s=dict.fromkeys(ready_s, 20.0),
        capabilities=["packet-links", "egress-ledger", "clock-control", "sql-audit"],
        missing={"process-control": "ptrace is not permitted here: run with --cap-add SYS_PTRACE"}
        if "air" in name
        else {},
    )
    start = START.timestamp() + 4
    if name in LINKS:
        _link(journal, name, deployment, LINKS[name], DIL if "edge-dil" in name else WAN, start)
    t = start + 2.0
    for check, (identifier, outcome) in enumerate(sorted((i, profile["applies"][i]) for i in in_force)):
        if not outcome["applies"]:
            continue
        duration = rng.uniform(0.05, 1.6)
        suite = entries[identifier]["suite"]
        node = f"suites/{suite}/test_promise.py::test_{identifier.lower().replace('-', '_')}"
        fields = {
            "verdict": "pass",
            "reason": "",
            "expected": "as promised",
            "observed": f"as promised, {rng.randint(3, 60)} observations",
            "evidence": {"samples": rng.randint(3, 60)},
        }
        fields |= WRONG.get((identifier, name), {}) if wrong else {}
        journal.write(
            "verdict",
            requirement=identifier,
            profile=name,
            check=node,
            deployment=deployment,
            started_at=(START + timedelta(seconds=t - START.timestamp())).isoformat(),
            duration_s=round(duration, 3),
            repro=f"conform run --profile {name} --only {identifier} --seed 42",
            defects=[f"defect_{check}"],
            **fields,
        )
        t += duration + 0.05


def _link(journal: JournalWriter, name: str, deployment: str, link: str, base: dict[str, Any], start: float) -> None:
    a, b = link.split("--")
    places = {"profile": name, "deployment": deployment, "link": link}
    moves: list[tuple[float, str, dict[str, Any], str]] = [
        (0.0, "both", base, "profile"),
        (6.0, "both", {**base, "up": False}, "SYN-01 cuts the link"),
        (9.5, "both", base, "heal"),
        (12.0, "one", {**base, "loss": 0.2, "delay_s": 0.6, "rate_bps": 64000}, "SYN-03 degrades the uplink"),
        (15.0, "one", base, "heal"),
        (17.0, "back", {**base, "up": False}, "TET-02 cuts the way back"),
        (19.2, "back", base, "heal"),
    ]
    for at, which, state, reason in moves:
        for direction, used in ((f"{a}>{b}", which != "back"), (f"{b}>{a}", which != "one")):
            if used:
                journal.write("timeline", **places, t_s=start + at, direction=direction, state=state, reason=reason)
    journal.write(
        "event", profile=name, deployment=deployment, t_s=start + 11.5, what="SIGKILL of the sync agent on edge-1"
    )
    for direction in (f"{a}>{b}", f"{b}>{a}"):
        common = {"profile": name, "deployment": deployment, "link": direction, "ok": True}
        rate, delay = float(base["rate_bps"]), float(base["delay_s"])
        journal.write(
            "calibration",
            **common,
            measure="rtt_s",
            asked=delay * 2,
            measured=delay * 2 + 0.0008,
            tolerance=0.05,
            samples=50,
        )
        journal.write(
            "calibration",
            **common,
            measure="rate_bps",
            asked=rate,
            measured=rate * 0.985,
            tolerance=rate * 0.05,
            samples=1,
        )
        loss = float(base["loss"])
        journal.write(
            "calibration", **common, measure="loss", asked=loss, measured=loss * 1.08, tolerance=0.01, samples=2000
        )


if __name__ == "__main__":
    from reports.build import build

    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    (out / "journal.jsonl").unlink(missing_ok=True)
    report = build(write(out / "journal.jsonl"), out)
    sys.stdout.write(f"{report.outcome}: {report.reach.sentence}\n")
