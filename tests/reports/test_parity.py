"""Parity of two drivers: the same verdicts, or a capability that one declares it lacks; everything else is a bug."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conform.cli import main
from reports.journal import JournalWriter, read
from reports.model import Report, from_journal
from reports.parity import Likeness, NotComparable, Parity, compare
from tests.reports.small import GREEN, header, verdict

LACKING = {"graph-database": "plain processes here. Use --driver containers"}
Run = Callable[..., Path]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The folder of a run by that driver."""

    def write(driver: str, *verdicts: dict[str, Any], missing: dict[str, str] | None = None, **changes: Any) -> Path:
        folder = tmp_path / f"{driver}-{len(list(tmp_path.iterdir()))}"
        writer = JournalWriter(folder / "journal.jsonl")
        writer.write("header", **header(driver=driver, run_id=folder.name, **changes))
        for profile in ("saas", "edge-dil"):
            writer.write("deployment", profile=profile, missing=missing or {})
        for record in verdicts:
            writer.write("verdict", **record)
        writer.close()
        return folder

    return write


def report(folder: Path) -> Report:
    return from_journal(read(folder / "journal.jsonl"))


def compared(first: Path, second: Path) -> Parity:
    return compare(report(first), report(second))


def test_the_same_verdicts_are_parity(run: Run) -> None:
    found = compared(run("local", *GREEN), run("containers", *GREEN))
    assert (found.count(Likeness.SAME), found.count(Likeness.BUG), found.holds) == (3, 0, True)
    assert found.count(Likeness.ASIDE) == 3, "without a check, or not asked of the profile"


def test_a_declared_capability_explains_a_difference(run: Run) -> None:
    untested = verdict("ISO-08", "saas", "untestable", reason="no graph", needs="graph-database")
    found = compared(run("local", untested, *GREEN[1:], missing=LACKING), run("containers", *GREEN))
    [row] = [each for each in found.rows if each.likeness is Likeness.DECLARED]
    assert (row.requirement, row.profile, row.why) == ("ISO-08", "saas", f"graph-database: {LACKING['graph-database']}")
    assert found.holds


@pytest.mark.parametrize(
    "other",
    [
        verdict("ISO-08", "saas", "fail", reason="a row of another tenant"),
        verdict("ISO-08", "saas", "vacuous"),
        verdict("ISO-08", "saas", "error"),
        verdict("ISO-08", "saas", "untestable", reason="no graph", needs="graph-database"),  # declared by nobody
        verdict("ISO-08", "saas", "untestable", reason="just so"),
    ],
)
def test_any_other_difference_is_a_bug(run: Run, other: dict[str, Any]) -> None:
    folders = run("local", *GREEN), run("containers", other, *GREEN[1:])
    for pair in (folders, folders[::-1]):
        found = compared(*pair)
        [row] = [each for each in found.rows if each.likeness is Likeness.BUG]
        assert (row.requirement, row.profile) == ("ISO-08", "saas")
        assert not found.holds


def test_two_errors_are_no_parity(run: Run) -> None:
    broken = verdict("ISO-08", "saas", "error", reason="the suite's own fault")
    found = compared(run("local", broken, *GREEN[1:]), run("containers", broken, *GREEN[1:]))
    assert found.count(Likeness.BUG) == 1


def test_nothing_compared_is_no_parity(run: Run) -> None:
    found = compared(run("local", selected=[]), run("containers", *GREEN))
    assert found.count(Likeness.BUG) == found.count(Likeness.SAME) == 0
    assert not found.holds


def test_runs_that_cannot_be_compared_are_refused(run: Run) -> None:
    local = run("local", *GREEN)
    with pytest.raises(NotComparable, match="both runs are of driver local"):
        compared(local, run("local", *GREEN))
    with pytest.raises(NotComparable, match="differ in defects_on"):
        compared(local, run("containers", *GREEN, defects_on=["rls_not_forced"]))
    with pytest.raises(NotComparable, match="was cut short, or checked nothing"):
        compared(local, run("containers", stood_up=True, selected=[]))


def test_the_command(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    local, containers = run("local", *GREEN), run("containers", *GREEN)
    assert main(["parity", str(local), str(containers)]) == 0
    assert "the drivers agree" in capsys.readouterr().out
    broken = run("containers", verdict("ISO-08", "saas", "fail", reason="a row of another tenant"), *GREEN[1:])
    assert main(["parity", str(local), str(broken)]) == 1
    told = capsys.readouterr().out
    assert "differences without a reason, which are bugs: 1" in told
    assert main(["parity", str(local), str(broken), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["holds"] is False
    assert [row["why"] for row in document["rows"] if row["likeness"] == "bug"] == [
        "pass: the promise was put to the test here and held; fail: a row of another tenant"
    ]
    assert main(["parity", str(local), str(local)]) == 254
    assert main(["parity", str(local), "no-such-run"]) == 254
    assert "parity: there is no run 'no-such-run' here" in capsys.readouterr().err
