"""META-07: every id x profile has one verdict with a reason, and a journal that would hide one is refused."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from reports.journal import JournalError, JournalWriter, read
from reports.model import SCHEMA_PATH, from_journal, schema
from reports.verdicts import ExitCode, Verdict
from tests.reports import sample
from tests.reports.small import GREEN, Make, header, verdict


def test_every_id_and_profile_has_exactly_one_cell_with_a_reason(tmp_path: Path) -> None:
    journal = read(sample.write(tmp_path / "journal.jsonl"))
    report = from_journal(journal)
    cells = [(cell.requirement, cell.profile) for cell in report.cells]
    ids = [entry["id"] for entry in journal.header["catalogue"]]
    assert cells == list(product(ids, sample.PROFILES))
    assert all(cell.reason for cell in report.cells)
    assert len(ids) > 150


def test_an_id_without_a_check_is_listed(make: Make) -> None:
    assert make(*GREEN).cell("OPS-09", "saas").verdict is Verdict.NO_CHECK_YET


def test_an_inapplicable_id_is_listed_with_the_reason(make: Make) -> None:
    cell = make(*GREEN).cell("SYN-01", "saas")
    assert (cell.verdict, cell.reason) == (Verdict.NOT_APPLICABLE, "asked of mode D; this is A")


# Known-bad journals: each would leave a promise silently unjudged if the report believed it.


@pytest.mark.parametrize("gone", range(3))
def test_a_missing_verdict_is_an_error(make: Make, gone: int) -> None:
    report = make(*(record for number, record in enumerate(GREEN) if number != gone))
    cell = report.cell(GREEN[gone]["requirement"], GREEN[gone]["profile"])
    assert (cell.verdict, cell.reason) == (Verdict.ERROR, "no verdict recorded")
    assert report.exit_code == ExitCode.SUITE_ERROR


def test_two_verdicts_of_one_check_are_an_error_that_names_both_lines(make: Make) -> None:
    cell = make(*GREEN, verdict("ISO-08", "saas", "fail")).cell("ISO-08", "saas")
    assert cell.verdict is Verdict.ERROR
    assert "lines 2 and 5" in cell.reason


def test_a_failure_is_not_hidden_by_a_double(make: Make) -> None:
    assert make(*GREEN, verdict("ISO-08", "saas", "fail")).exit_code == ExitCode.NON_CONFORMANT


def test_a_check_cannot_excuse_itself(make: Make) -> None:
    report = make(verdict("ISO-08", "saas", "not-applicable"), *GREEN[1:])
    assert report.cell("ISO-08", "saas").verdict is Verdict.ERROR


def test_a_verdict_where_nothing_applies_is_an_error(make: Make) -> None:
    assert make(*GREEN, verdict("SYN-01", "saas")).cell("SYN-01", "saas").verdict is Verdict.ERROR


def test_unstated_applicability_is_an_error(make: Make) -> None:
    profiles = header()["profiles"]
    del profiles[0]["applies"]["ISO-08"]
    assert make(*GREEN[1:], profiles=profiles).cell("ISO-08", "saas").verdict is Verdict.ERROR


@pytest.mark.parametrize(
    ("record", "what"),
    [
        (verdict("ISO-99", "saas"), "ISO-99, which the catalogue does not have"),
        (verdict("ISO-08", "sass"), "profile sass, which is not in this run"),
        (verdict("ISO-08", "saas", "passed"), "verdict"),
        ({"requirement": "ISO-08", "profile": "saas"}, "check"),
    ],
)
def test_a_record_no_cell_could_show_is_refused_with_its_line(make: Make, record: dict[str, Any], what: str) -> None:
    with pytest.raises(JournalError, match=what) as caught:
        make(*GREEN, record)
    assert caught.value.line == 5


def test_a_catalogue_with_an_id_twice_is_refused(make: Make) -> None:
    catalogue = header()["catalogue"]
    with pytest.raises(JournalError, match="ISO-08 is listed twice"):
        make(*GREEN, catalogue=[*catalogue, catalogue[0]])


def test_a_check_for_an_unknown_id_is_refused(make: Make) -> None:
    with pytest.raises(JournalError, match="in_force names ISO-99"):
        make(*GREEN, in_force=["ISO-99"])


def test_what_was_left_out_on_request_is_said(make: Make) -> None:
    report = make(GREEN[0], GREEN[1], selected=["ISO-08"])
    assert report.cell("SYN-01", "edge-dil").verdict is Verdict.NOT_SELECTED
    assert report.reach.left == {"not selected": 1, "have no check yet": 1}
    assert report.exit_code == ExitCode.CONFORMANT


def test_reach_adds_up(tmp_path: Path) -> None:
    reach = from_journal(read(sample.write(tmp_path / "journal.jsonl"))).reach
    assert reach.verified + sum(reach.left.values()) == reach.applicable
    assert reach.verified > 30


def test_the_schema_in_the_repository_is_that_of_the_model(tmp_path: Path) -> None:
    assert SCHEMA_PATH.read_text(encoding="utf-8") == schema(), "run: python -m reports.model"
    report = from_journal(read(sample.write(tmp_path / "journal.jsonl")))
    jsonschema.validate(json.loads(report.model_dump_json()), json.loads(schema()))


def test_what_befell_the_whole_run_is_kept(tmp_path: Path) -> None:
    with JournalWriter(tmp_path / "j") as journal:
        journal.write("header", **header())
        journal.write("event", what="not collected: suites/x.py")
    assert from_journal(read(tmp_path / "j")).notices == ["not collected: suites/x.py"]
