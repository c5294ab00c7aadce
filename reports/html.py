"""The report as one HTML file: no script, no external load, readable offline, on paper and in the dark."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from reports.model import Cell, Profile, Report
from reports.records import CatalogueEntry
from reports.timeline import Drawing, bits, drawings, seconds
from reports.verdicts import Outcome, Verdict

EVIDENCE_LIMIT = 20_000  # characters shown of one piece of evidence; report.json has all of it
_HEADLINE = {
    Outcome.CONFORMANT: "Conformant",
    Outcome.NON_CONFORMANT: "Non-conformant",
    Outcome.NOT_FULLY_VERIFIED: "Not fully verified",
    Outcome.SUITE_ERROR: "Suite error",
    Outcome.OBSERVED: "Watched, not judged",
}


@dataclass(frozen=True)
class Row:
    entry: CatalogueEntry
    cells: list[Cell]
    in_force: bool

    @property
    def classes(self) -> str:
        """What the filters select by."""
        has = sorted({f"has-{cell.verdict}" for cell in self.cells})
        return " ".join(["req", *([] if self.in_force else ["idle"]), *has])


@dataclass(frozen=True)
class Suite:
    name: str
    rows: list[Row]

    @property
    def idle(self) -> list[str]:
        return [row.entry.id for row in self.rows if not row.in_force]

    def tally(self, profile: str) -> tuple[int, int]:
        """(passed, applicable with a check) in one profile."""
        judged = [cell for row in self.rows if row.in_force for cell in row.cells if cell.profile == profile]
        applicable = [cell for cell in judged if cell.verdict is not Verdict.NOT_APPLICABLE]
        return sum(cell.verdict is Verdict.PASS for cell in applicable), len(applicable)


@dataclass(frozen=True)
class Segment:
    """A part of the reach bar."""

    kind: str
    count: int
    percent: float
    text: str


def render(report: Report) -> str:
    """The page. Whatever the deployment said is escaped, and a policy in the page forbids scripts and loads."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "pretty": pretty,
        "pictures": pictures,
        "quantity": quantity,
        "when": when,
        "duration": duration,
        "anchor": anchor,
    }
    entries = {entry.id: entry for entry in report.requirements}
    suites = _suites(report)
    return environment.get_template("report.html.j2").render(
        report=report,
        run=report.run,
        headline=_HEADLINE[report.outcome],
        segments=_segments(report),
        verdicts=[verdict for verdict in Verdict if any(cell.verdict is verdict for cell in report.cells)],
        Verdict=Verdict,
        entries=entries,
        suites=suites,
        idle=sum(len(suite.idle) for suite in suites),
        tallies=_tallies(report, suites),
        failures=[cell for verdict in _CARDS for cell in report.cells if cell.verdict is verdict],
        gaps=_gaps(report),
        waived=[cell for cell in report.cells if cell.verdict is Verdict.WAIVED],
        drawings={profile.id: _drawings(report, profile) for profile in report.profiles},
        took_s=seconds(report.run.finished_at) - seconds(report.run.started_at),
    )


_CARDS = (Verdict.FAIL, Verdict.ERROR, Verdict.VACUOUS)


_PICTURE = re.compile(r"data:image/(?:jpeg|png);base64,[A-Za-z0-9+/]+=*")


def pictures(evidence: dict[str, Any]) -> dict[str, str]:
    """Name -> data URI of those pieces of evidence that are pictures."""
    return {name: each for name, each in evidence.items() if isinstance(each, str) and _PICTURE.fullmatch(each)}


def pretty(value: Any) -> str:
    """Evidence as indented JSON, pictures left out, cut at a length that a page can bear."""
    if isinstance(value, dict):
        value = {name: each for name, each in value.items() if name not in pictures(value)}
    text = json.dumps(value, indent=2, ensure_ascii=False)
    if len(text) <= EVIDENCE_LIMIT:
        return text
    return f"{text[:EVIDENCE_LIMIT]}\n… {len(text) - EVIDENCE_LIMIT} more characters in report.json"


def quantity(value: float | str | None, measure: str) -> str:
    """A measured value with its unit."""
    if value is None or isinstance(value, str):
        return value or "unlimited"
    if measure.endswith("_bps"):
        return bits(value)
    if measure == "loss":
        return f"{value * 100:.3g} %"
    if measure.endswith("_s"):
        return f"{value * 1e3:.4g} ms" if value < 1 else f"{value:.4g} s"
    return f"{value:.4g}"


def when(text: str) -> str:
    """`2 March 2026, 09:30:00 UTC` from RFC 3339."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{moment.day} {moment:%B %Y, %H:%M:%S} {moment.tzname() or ''}".strip()


def duration(value: float) -> str:
    if value < 1:
        return f"{value * 1e3:.0f} ms"
    if value < 90:
        return f"{value:.1f} s"
    return f"{value // 60:.0f} min {value % 60:.0f} s"


def anchor(cell: Cell) -> str:
    return "c-" + re.sub(r"[^A-Za-z0-9_-]", "-", f"{cell.profile}-{cell.requirement}")


def _suites(report: Report) -> list[Suite]:
    cells: dict[str, list[Cell]] = defaultdict(list)
    for cell in report.cells:
        cells[cell.requirement].append(cell)
    rows: dict[str, list[Row]] = defaultdict(list)
    for entry in report.requirements:
        judged = entry.id in report.in_force or any(cell.checks for cell in cells[entry.id])
        rows[entry.suite].append(Row(entry, cells[entry.id], judged))
    return [Suite(name, found) for name, found in rows.items()]


def _tallies(report: Report, suites: list[Suite]) -> dict[str, tuple[int, int]]:
    found = {}
    for profile in report.profiles:
        pairs = [suite.tally(profile.id) for suite in suites]
        found[profile.id] = (sum(passed for passed, _ in pairs), sum(applicable for _, applicable in pairs))
    return found


def _segments(report: Report) -> list[Segment]:
    reach = report.reach
    parts = [("verified", reach.verified, "verified here")]
    parts += [(_segment_kind(why), count, why) for why, count in reach.left.items()]
    total = max(reach.applicable, 1)
    return [Segment(kind, count, round(100 * count / total, 2), text) for kind, count, text in parts if count]


def _segment_kind(why: str) -> str:
    if why.startswith("need "):
        return "untestable"
    named = {"broken": "fail", "without a sound verdict": "error", "observed nothing": "vacuous", "waived": "waived"}
    return named.get(why, "idle")


def _gaps(report: Report) -> list[dict[str, Any]]:
    """What could not be tested here, by the capability that is missing, with what the deployments said about it."""
    found: dict[str, list[Cell]] = defaultdict(list)
    for cell in report.cells:
        if cell.verdict is Verdict.UNTESTABLE:
            found[cell.needs or "For other reasons"].append(cell)
    told = {
        name: text
        for profile in report.profiles
        for record in profile.deployments
        for name, text in record.missing.items()
    }
    return [{"needs": needs, "cells": cells, "remedy": told.get(needs, "")} for needs, cells in sorted(found.items())]


def _drawings(report: Report, profile: Profile) -> list[Drawing]:
    checks = [check for cell in report.cells if cell.profile == profile.id for check in cell.checks]
    return drawings(profile, report.run, checks)
