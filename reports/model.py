"""The report: every catalogue id x profile has exactly one cell, with a verdict and a reason. Built from a journal."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from reports import records
from reports.journal import Journal
from reports.records import (
    CalibrationRecord,
    CatalogueEntry,
    DeploymentRecord,
    EventRecord,
    Header,
    ProfileEntry,
    TimelineRecord,
    VerdictRecord,
)
from reports.verdicts import ExitCode, Outcome, Verdict, aggregate, outcome

FORMAT = "companyos-conform-report/1"
SCHEMA_PATH = Path(__file__).parent / "schema" / "report.schema.json"


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Cell(Strict):
    """One requirement in one profile."""

    requirement: str
    profile: str
    verdict: Verdict
    reason: str
    needs: str = ""
    checks: list[VerdictRecord] = []


class Run(Strict):
    run_id: str
    started_at: str
    finished_at: str
    suite_version: str
    argv: list[str]
    seed: int | None
    driver: str
    host: dict[str, Any]
    strict: bool
    defects_on: list[str]
    stood_up: bool = Field(default=False, description="to be watched: nothing was to be checked")
    schedule: str | None = Field(default=None, description="name of the schedule that was played, if any")
    journal_digest: str = Field(description="SHA-256 over the journal's lines before its footer")


class Profile(Strict):
    id: str
    title: str = ""
    modes: list[str] = Field(description="modes of the deployment, or the ends of the path")
    path: str | None = None
    counts: dict[Verdict, int]
    deployments: list[DeploymentRecord]
    timeline: list[TimelineRecord]
    events: list[EventRecord]
    calibration: list[CalibrationRecord]


class Reach(Strict):
    """How far the outcome reaches, in requirements; verified: passed in every profile of the run that it applies to."""

    applicable: int
    verified: int
    left: dict[str, int] = Field(
        description="why the others are not verified -> how many; sums to applicable - verified"
    )

    @property
    def sentence(self) -> str:
        parts = [f"{self.verified} of {self.applicable} applicable requirements verified here"]
        return "; ".join(parts + [f"{count} {why}" for why, count in self.left.items()])


class Report(Strict):
    """The whole report. `report.schema.json` is its JSON Schema."""

    format: str = FORMAT
    run: Run
    partial: bool = Field(description="the run was cut short")
    outcome: Outcome
    reason: str
    exit_code: ExitCode
    reach: Reach
    requirements: list[CatalogueEntry]
    in_force: list[str]
    profiles: list[Profile]
    notices: list[str] = Field(description="what happened to the run as a whole, e.g. a file that was not collected")
    cells: list[Cell] = Field(description="one per requirement and profile, requirements in catalogue order")

    def cell(self, requirement: str, profile: str) -> Cell:
        return next(cell for cell in self.cells if (cell.requirement, cell.profile) == (requirement, profile))

    def ids_with(self, verdict: Verdict) -> list[str]:
        """Ids with this verdict in a cell or, hidden under a worse one, in a check; in catalogue order."""
        found = (
            cell.requirement
            for cell in self.cells
            if cell.verdict is verdict or any(check.verdict is verdict for check in cell.checks)
        )
        return list(dict.fromkeys(found))

    def with_strict(self, strict: bool) -> Report:
        """The same findings held to the other measure."""
        report = self.model_copy(update={"run": self.run.model_copy(update={"strict": strict})})
        report.outcome, report.reason, report.exit_code = outcome(report, strict)
        return report


def from_journal(journal: Journal) -> Report:
    """The report of a whole journal. JournalError: a record that does not fit the header, with its line."""
    head = records.header(journal)
    found: dict[tuple[str, str], list[VerdictRecord]] = defaultdict(list)
    for record in records.verdicts(journal, head):
        found[record.requirement, record.profile].append(record)
    partial = bool(journal.footer.get("partial"))
    cells = [
        _cell(entry, profile, head, found[entry.id, profile.id], bool(journal.footer.get("interrupted")))
        for entry in head.catalogue
        for profile in head.profiles
    ]
    report = Report(
        run=Run(
            finished_at=str(journal.footer["finished_at"]),
            journal_digest=journal.digest,
            **{name: getattr(head, name) for name in Run.model_fields if name not in ("finished_at", "journal_digest")},
        ),
        partial=partial,
        outcome=Outcome.SUITE_ERROR,  # replaced below, where the report can be judged
        reason="",
        exit_code=ExitCode.SUITE_ERROR,
        reach=_reach(cells),
        requirements=head.catalogue,
        in_force=head.in_force,
        profiles=_profiles(journal, head, cells),
        notices=[event.what for event in records.records(journal, "event", EventRecord) if not event.profile],
        cells=cells,
    )
    return report.with_strict(head.strict)


def _cell(
    entry: CatalogueEntry, profile: ProfileEntry, head: Header, checks: list[VerdictRecord], interrupted: bool
) -> Cell:
    verdict, reason, needs = _decide(entry, profile, head, checks, interrupted)
    return Cell(requirement=entry.id, profile=profile.id, verdict=verdict, reason=reason, needs=needs, checks=checks)


def _decide(
    entry: CatalogueEntry, profile: ProfileEntry, head: Header, checks: list[VerdictRecord], interrupted: bool
) -> tuple[Verdict, str, str]:
    applies = profile.applies.get(entry.id)
    if applies is None:
        return Verdict.ERROR, "the run does not say whether it applies", ""
    real = [check for check in checks if check.verdict is not Verdict.NOT_APPLICABLE]
    if not applies.applies:
        if real:
            return Verdict.ERROR, f"the catalogue says it does not apply, {real[0].check} judged it all the same", ""
        return Verdict.NOT_APPLICABLE, applies.reason or "not asked of this mode", ""
    if len(real) < len(checks):
        return Verdict.ERROR, "a check says not-applicable where the catalogue says it applies", ""
    if checks:
        return _worst(checks)
    if entry.id not in head.in_force:
        return Verdict.NO_CHECK_YET, Verdict.NO_CHECK_YET.meaning, ""
    if head.selected is not None and entry.id not in head.selected:
        return Verdict.NOT_SELECTED, Verdict.NOT_SELECTED.meaning, ""
    if interrupted:
        return Verdict.NOT_SELECTED, "interrupted before its verdict", ""
    return Verdict.ERROR, "no verdict recorded", ""


def _worst(checks: list[VerdictRecord]) -> tuple[Verdict, str, str]:
    lines: dict[str, int] = {}
    for check in checks:
        if check.check in lines:
            twice = f"two verdicts of one check, lines {lines[check.check]} and {check.line} of the journal"
            return Verdict.ERROR, f"{twice}: {check.check}", ""
        lines[check.check] = check.line
    verdict = aggregate(check.verdict for check in checks)
    of_it = [check for check in checks if check.verdict is verdict]
    reason = "; ".join(dict.fromkeys(check.reason for check in of_it if check.reason))
    return verdict, reason or verdict.meaning, next((check.needs for check in of_it if check.needs), "")


# Of a requirement that passed in one profile and not in another, the first of these says why it is not verified.
_LEFT = (
    (Verdict.FAIL, "broken"),
    (Verdict.ERROR, "without a sound verdict"),
    (Verdict.VACUOUS, "observed nothing"),
    (Verdict.UNTESTABLE, "need {needs}"),
    (Verdict.WAIVED, "waived"),
    (Verdict.NOT_SELECTED, "not selected"),
    (Verdict.NO_CHECK_YET, "have no check yet"),
)


def _reach(cells: Iterable[Cell]) -> Reach:
    by_id: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        if cell.verdict is not Verdict.NOT_APPLICABLE:
            by_id[cell.requirement].append(cell)
    left: dict[str, dict[str, int]] = {label: defaultdict(int) for _, label in _LEFT}
    verified = 0
    for group in by_id.values():
        for verdict, label in _LEFT:
            if match := [cell for cell in group if cell.verdict is verdict]:
                needs = match[0].needs or "what their reason names"
                left[label][label.format(needs=needs)] += 1
                break
        else:
            verified += 1
    flat = {why: count for group_ in left.values() for why, count in sorted(group_.items())}
    return Reach(applicable=len(by_id), verified=verified, left=flat)


def _profiles(journal: Journal, head: Header, cells: list[Cell]) -> list[Profile]:
    deployments = records.records(journal, "deployment", DeploymentRecord)
    timeline = records.records(journal, "timeline", TimelineRecord)
    events = records.records(journal, "event", EventRecord)
    calibration = records.records(journal, "calibration", CalibrationRecord)
    return [
        Profile(
            id=entry.id,
            title=entry.title,
            modes=_modes(entry),
            path=entry.path,
            counts={v: n for v in Verdict if (n := sum(c.profile == entry.id and c.verdict is v for c in cells))},
            deployments=[record for record in deployments if record.profile == entry.id],
            timeline=[record for record in timeline if record.profile == entry.id],
            events=[record for record in events if record.profile == entry.id],
            calibration=[record for record in calibration if record.profile == entry.id],
        )
        for entry in head.profiles
    ]


def _modes(entry: ProfileEntry) -> list[str]:
    if entry.mode:
        return [entry.mode]
    if isinstance(entry.modes, dict):
        return list(dict.fromkeys(map(str, entry.modes.values())))
    return [str(mode) for mode in entry.modes or []]


def schema() -> str:
    """The JSON Schema of report.json, as kept in the repository (`python -m reports.model` rewrites it)."""
    return json.dumps(Report.model_json_schema(mode="serialization"), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA_PATH.write_text(schema(), encoding="utf-8")
