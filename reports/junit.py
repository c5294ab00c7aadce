"""JUnit XML: a suite per profile, a case per requirement that applies to it."""

from __future__ import annotations

import re
from pathlib import Path

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from reports.model import Cell, Profile, Report
from reports.records import CatalogueEntry
from reports.verdicts import Verdict

_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # what XML 1.0 cannot hold


def write(report: Report, path: Path) -> None:
    """Write `path`. Fail and vacuous are failures, error is an error, what was not judged is skipped with its reason.

    A requirement that does not apply to a profile gets no case there; report.json and the HTML list it.
    """
    xml = JUnitXml("companyos-conform")
    entries = {entry.id: entry for entry in report.requirements}
    for profile in report.profiles:
        xml.add_testsuite(_suite(report, profile, entries))
    xml.update_statistics()  # type: ignore[no-untyped-call]
    xml.write(str(path), pretty=True)


def _suite(report: Report, profile: Profile, entries: dict[str, CatalogueEntry]) -> TestSuite:
    suite = TestSuite(profile.id)
    suite.timestamp = report.run.started_at
    suite.add_property("run_id", report.run.run_id)
    suite.add_property("outcome", f"{report.outcome}: {_clean(report.reason)}")
    suite.add_property("journal_digest", report.run.journal_digest)
    for cell in report.cells:
        if cell.profile == profile.id and cell.verdict is not Verdict.NOT_APPLICABLE:
            suite.add_testcase(_case(cell, entries[cell.requirement]))
    return suite


def _case(cell: Cell, entry: CatalogueEntry) -> TestCase:
    case = TestCase(_clean(f"{entry.id} {entry.statement}"), classname=f"{cell.profile}.{entry.suite}")
    case.time = round(sum(check.duration_s for check in cell.checks), 3)
    if cell.verdict is Verdict.PASS:
        return case
    message = _clean(f"{cell.verdict}: {cell.reason}")
    if cell.verdict is Verdict.ERROR:
        child: Error | Failure | Skipped = Error(message, "error")
    elif cell.verdict.red:
        child = Failure(message, cell.verdict.value)
    else:
        child = Skipped(message, cell.verdict.value)
    child.text = _clean(_details(cell, entry))
    case.result = [child]
    return case


def _details(cell: Cell, entry: CatalogueEntry) -> str:
    lines = [f"promise:  {entry.statement}", f"clause:   {entry.clause or '-'}"]
    for check in cell.checks:
        lines += [f"check:    {check.check} -> {check.verdict}"]
        fields = {"reason": check.reason, "expected": check.expected, "observed": check.observed, "again": check.repro}
        lines += [f"{name + ':':<9} {value}" for name, value in fields.items() if value]
    return "\n".join(lines)


def _clean(text: str) -> str:
    return _ILLEGAL.sub("\N{REPLACEMENT CHARACTER}", text)
