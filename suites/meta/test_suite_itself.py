"""META-01 02 03 04 06 07: the suite's own promises, judged in the same run as the deployment's."""

from __future__ import annotations

import json
from pathlib import Path

from environments.contract import Capability, Deployment, Evidence, requirement, untestable, vacuous
from suites.exchange import conclude, healed_after, need
from suites.meta import clock
from suites.meta.coverage import (
    bound,
    catalogues,
    judge_applicability,
    judge_calibration,
    judge_canaries,
    judge_kill_matrix,
    merged,
)
from suites.meta.judges import judges, on_nothing

ROOT = Path(__file__).parent.parent.parent
MATRICES = ROOT / "conform" / "published"  # kill-matrix.json of the local driver, kill-matrix-DRIVER.json of others
PUBLISH = "conform kill-matrix --publish"


@requirement("META-01")
def test_every_requirement_in_force_is_killed(deployment: Deployment, evidence: Evidence) -> None:
    """The published kill matrix is of these suites; each bound requirement passes clean and is killed by a defect."""
    paths = sorted(MATRICES.glob("kill-matrix*.json"))
    if not paths:
        untestable(f"kill matrix: no kill-matrix.json is published; run `{PUBLISH}`")
    matrices = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}
    try:
        from conform.matrix import suites_digest
    except ImportError:
        untestable(f"kill matrix: this installation cannot compute the digest of its suites; run `{PUBLISH}`")
    current = suites_digest()
    for name, matrix in matrices.items():
        if matrix.get("suites_digest") != current:
            driver = f" --driver {matrix['driver']}" if matrix.get("driver", "local") != "local" else ""
            untestable(f"kill matrix: {name} is of other suites than these; run `{PUBLISH}{driver}`")
    in_force = sorted(name for name in bound() if not name.startswith("META-"))
    evidence.add("digest", {name: matrix.get("digest") for name, matrix in matrices.items()})
    problems = judge_kill_matrix(merged(list(matrices.values())), in_force)
    conclude(
        evidence, problems, "each killed by >= 1 defect and pass clean", f"{len(in_force)} requirements, all killed"
    )


@requirement("META-02")
def test_every_judge_is_vacuous_on_nothing(deployment: Deployment, evidence: Evidence) -> None:
    """Each judge of each suite, given an empty history, says vacuous: neither pass nor fail."""
    found = judges()
    if not found:
        vacuous("no judge was found")
    said = {name: on_nothing(judge) for name, judge in found.items()}
    evidence.add("judges", said)
    problems = [f"{name}: {answer}" for name, answer in said.items() if answer not in {"vacuous", "refuses to judge"}]
    conclude(evidence, problems, "vacuous", f"{len(found)} judges, all vacuous")


@requirement("META-03", needs=(Capability.LINK_CUTS,))
def test_links_are_what_was_asked(deployment: Deployment, evidence: Evidence) -> None:
    """Each direction of each link was measured before the checks, and is within tolerance of what the profile asks."""
    rows = list(deployment.calibration)
    evidence.add("calibration", [vars(row) for row in rows])
    problems = judge_calibration(rows)
    seen = {row.link for row in rows}
    problems += [
        f"link {name} was not measured"
        for name in deployment.links.names()
        if not any(name in s or s in name for s in seen)
    ]
    if not problems and Capability.PACKET_LINKS not in deployment.capabilities and deployment.links.lacking():
        evidence.add("lacking", dict(deployment.links.lacking()))
        need(deployment, Capability.PACKET_LINKS)  # what was measured is as asked; the rest of it cannot be had
    conclude(
        evidence,
        problems,
        "measured = asked within tolerance",
        f"{len(rows)} measures of {len(seen)} links within tolerance",
    )


@requirement("META-04", needs=(Capability.EGRESS_LEDGER,))
def test_ledger_sees_every_kind_of_canary(deployment: Deployment, evidence: Evidence) -> None:
    """Canaries planted at the start of the run, and planted again now, are all in the ledger of their site."""
    again = {site: dict(deployment.egress.plant(site)) for site in {deployment.subject.site, *deployment.canaries}}
    evidence.add("at the start", {site: dict(seen) for site, seen in deployment.canaries.items()})
    evidence.add("now", again)
    problems = judge_canaries(deployment.canaries) + judge_canaries(again)
    conclude(
        evidence, problems, "all canaries seen", f"{sum(map(len, again.values()))} canaries at {len(again)} sites seen"
    )


@requirement("META-06")
def test_a_clock_that_is_set_is_honoured(deployment: Deployment, evidence: Evidence) -> None:
    """The clock of each node is frozen, stepped, run fast and released: its tokens, its records and what it refuses go
    by it each time, and by the real one in the end."""
    moments: list[clock.Moment] = []
    lapses: list[clock.Lapse] = []
    with healed_after(deployment):
        for node in deployment.nodes.values():
            seen, ends = clock.tried(deployment, node)
            moments += seen
            lapses += ends
    evidence.add("moments", [vars(each) for each in moments])
    evidence.add("tokens at their end", [vars(each) for each in lapses])
    refused = {name: deployment.clock.honoured(name) for name in deployment.nodes}
    problems = [f"{name}, when it was made: {why}" for name, why in refused.items() if why]
    problems += clock.judge_moments(moments) + clock.judge_lapses(lapses)
    observed = f"{len(moments)} times of {len(refused)} nodes, all by the clock that was set"
    conclude(evidence, problems, "every time is of the clock that was set", observed)


@requirement("META-07")
def test_applicability_is_explicit(deployment: Deployment, evidence: Evidence) -> None:
    """Every id says where it applies and every bound id is in a catalogue; a report lists each id with one verdict."""
    entries, tests = catalogues(), bound()
    problems = judge_applicability(entries, tests)
    evidence.add("bound", {name: len(found) for name, found in tests.items()})
    conclude(
        evidence,
        problems,
        "no id silently absent",
        f"{len(entries)} ids, {len(tests)} in force",
    )
