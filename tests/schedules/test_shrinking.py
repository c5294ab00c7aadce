"""Which check a schedule breaks, and how often: on a bench that is made up, then one command on a real deployment."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conform.shrinking import FRESH, replay, shortest
from conform.trials import NothingFound, Try
from environments.network import NamespacesUnavailable, probe
from environments.schedules import Event, Schedule
from reports.verdicts import Verdict
from tests.schedules.fakes import cut, heal, schedule

Fails = Callable[[str, "Schedule | None"], bool]
LOSSY = Event(70, "link", "edge-1--saas", "state", {"loss": 0.3})
WEATHER = schedule(*(event for at in range(0, 60, 6) for event in (cut(at), heal(at + 3))), LOSSY, heal(80))


class Bench:
    """Checks that fail as the test says; each sees the first 30 s of a schedule."""

    def __init__(self, fails: Fails, *checks: str) -> None:
        self._fails, self.checks, self.runs = fails, list(checks) or ["check"], 0

    def run(self, check: str, given: Schedule | None) -> Try:
        self.runs += 1
        failed = self._fails(check, given)
        return Try(check, Verdict.FAIL if failed else Verdict.PASS, "lost" if failed else "", 30.0)


def silent(line: str) -> None:
    """Progress is not looked at here."""


def search(bench: Bench, times: int = 2, most_runs: int = 10_000) -> Any:
    return shortest(bench, WEATHER, times, most_runs, silent)  # type: ignore[arg-type]


def cuts(given: Schedule | None) -> int:
    return sum(event.action == "cut" for event in given.events) if given else 0


def test_the_shortest_that_still_fails_and_how_it_was_found() -> None:
    bench = Bench(lambda check, given: cuts(given) >= 2)
    result = search(bench)
    assert (result.complete, result.failed, result.times, result.runs) == (True, FRESH, FRESH, bench.runs)
    assert [event.action for event in result.after.events] == ["cut", "heal", "cut", "heal"]
    assert result.after.duration_s < 1
    assert result.after.grown_from["shrunk_from"] == {"name": "storm.yaml", "size": WEATHER.size}
    expected = f"shrunk from 22 events / 80 s to {result.after.size}, fails 10 of 10, {bench.runs} runs"
    assert result.sentence == expected


def test_what_failed_by_chance_gives_way_to_the_last_that_fails_again() -> None:
    """Two cuts fail each time; a single one fails when it is tried first and second, and then never again."""
    tried: dict[str, int] = {}

    def fails(check: str, given: Schedule | None) -> bool:
        if cuts(given) != 1:
            return cuts(given) >= 2
        key = repr(given)
        tried[key] = tried.get(key, 0) + 1
        return tried[key] <= 2

    result = search(Bench(fails))
    assert cuts(result.after) == 2
    assert (result.failed, result.times) == (FRESH, FRESH)


def test_the_check_that_the_schedule_breaks_is_the_one() -> None:
    """One passes, one fails without any schedule: neither is what the schedule breaks."""
    bench = Bench(lambda check, given: check == "broken" or (check == "it" and cuts(given) > 0), "fine", "broken", "it")
    assert search(bench).check == "it"


@pytest.mark.parametrize(
    ("fails", "why"),
    [
        (lambda check, given: False, "nothing fails under storm.yaml"),
        (lambda check, given: True, "fails without any schedule too"),  # and is not tried under one
    ],
)
def test_nothing_to_shrink_is_said(fails: Fails, why: str) -> None:
    with pytest.raises(NothingFound, match=why):
        search(Bench(fails))


def test_what_fails_now_and_then_is_not_shrunk() -> None:
    seen = []

    def first_only(check: str, given: Schedule | None) -> bool:
        if given is None:
            return False
        seen.append(given)
        return len(seen) == 1

    with pytest.raises(NothingFound, match="not every time"):
        search(Bench(first_only))


def test_the_limit_of_runs_keeps_the_best_so_far() -> None:
    result = search(Bench(lambda check, given: cuts(given) > 0), most_runs=12)
    assert not result.complete
    assert result.runs == 12
    assert len(result.after.events) < len(WEATHER.events)
    assert result.sentence.endswith("ended early: something shorter may fail too")


def test_a_replay_counts() -> None:
    answers = iter([True, False, True, True, True])
    bench = Bench(lambda _, given: given is not None and next(answers))
    [found] = replay(bench, WEATHER, 5, silent)  # type: ignore[arg-type]
    expected = f"check: fails 4 of 5 under storm.yaml ({WEATHER.size}), passes without it"
    assert (found.failed, found.sentence(WEATHER)) == (4, expected)


@pytest.mark.timeout(240)
def test_a_check_is_run_again_on_one_deployment(tmp_path: Path) -> None:
    """In a process of its own: it is a pytest session too."""
    try:
        probe()
    except NamespacesUnavailable as refusal:
        pytest.skip(f"{refusal.reason}: {refusal.remedy}")
    (tmp_path / "cut.yaml").write_text("- {at_s: 0.1, link: edge-1--saas, cut: true}\n")
    command = [
        "schedule",
        "replay",
        "cut.yaml",
        "--profile",
        "edge-dil",
        "--only",
        "FUN-03",
        "--times",
        "2",
        "--seed",
        "3",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "conform", *command],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "fails 0 of 2 under cut.yaml (1 event / 0.1 s)" in done.stdout
    [journal] = tmp_path.glob("runs/*/journal.jsonl")
    text = journal.read_text()
    assert text.count('"kind":"deployment"') == 1  # one for all tries
    assert text.count("schedule cut.yaml starts") == text.count("under 1 event / 0.1 s: pass")
