"""conform schedule, conform replay, conform run --schedule: what scripts get, and what bad input gets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.table import Table

from conform.asked import Asked
from conform.cli import main
from conform.commands.replaying import past
from conform.header import header
from conform.picturing import picture
from conform.settings import settle
from conform.watching import Egress
from environments.schedules import Event, read
from reports.build import build
from reports.journal import JournalWriter, now
from reports.journal import read as read_journal
from reports.verdicts import Outcome
from tests.schedules.fakes import LINK, cut, heal, schedule

FLAP = ("schedule", "generate", "flapping", "--seed", "7", "--for", "60s", "--profile", "edge-dil")


def conform(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    out, err = capsys.readouterr()
    return code, out, err


def test_what_is_generated_is_shown_the_same(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "flap.yaml"
    assert conform(capsys, *FLAP, "down_s=1..2", "-o", str(path))[0] == 0
    _, text, _ = conform(capsys, *FLAP, "down_s=1..2")
    assert path.read_text() == text.replace("name: flapping", "name: flap.yaml")
    code, shown, _ = conform(capsys, "schedule", "show", str(path), "--json")
    assert code == 0
    assert json.loads(shown)["events"] == [event.document() for event in read(path).events]
    code, shown, _ = conform(capsys, "schedule", "show", str(path))
    assert "cut edge-1--saas" in shown and "edge-1>saas  " in shown and "60 s" in shown


@pytest.mark.parametrize(
    ("arguments", "near"),
    [
        ((*FLAP, "down=3"), "down: flapping has no such parameter; it has links, ways, up_s, down_s"),
        ((*FLAP, "down_s"), "write name=value"),
        ((*FLAP[:5], "--for", "soon"), "--for: 'soon' is not a time"),
        ((*FLAP, "links=mars--saas"), "no link 'mars--saas'"),
        (("schedule", "generate", "flaping", "--for", "9s"), "known: flapping, outages"),
        (("schedule", "generate", "flapping", "--for", "9s"), "name links, or the profile"),
        (("schedule", "show", "nowhere.yaml"), "nowhere.yaml: No such file"),
        (("run", "--schedule", "nowhere.yaml", "--profile", "saas"), "nowhere.yaml: No such file"),
        (("run", "--schedule", "nowhere.yaml"), "is for one profile, not"),
        (("replay", "no-such-run"), "there is no run 'no-such-run' here"),
    ],
)
def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], near: str) -> None:
    code, _, error = conform(capsys, *arguments)
    assert code == 254
    assert near.lower() in error.lower()
    assert error.count("\n") == 1


def test_every_generator_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    code, shown, _ = conform(capsys, "schedule", "generators")
    assert code == 0
    assert "storm" in shown and "azure-offline" in shown and "down_s=0.5..3" in shown


def test_a_picture_shows_what_is_broken_when() -> None:
    strips = [str(strip) for strip in picture(schedule(cut(0), heal(5), cut(9, "edge-1>saas"), heal(10)), width=10)]
    assert strips[:2] == ["edge-1>saas  █████····█", "saas>edge-1  █████·····"]


def journal(folder: Path, rows: list[tuple[float, str, bool, str]], stored: str | None = None) -> None:
    """Of a deployment that was ready at 100 s and had these link changes: (seconds from then, direction, up, why)."""
    option = Asked(["edge-dil"], seed=3, link="geo-vsat", run_id="up-1")
    settings = settle(option, folder)
    with JournalWriter(folder / "journal.jsonl") as writer:
        head = header(settings, started_at=now(), in_force=[], selected=[], stood_up=True)
        writer.write("header", **{**head, "schedule": stored})
        writer.write("event", profile="edge-dil", deployment="edge-dil@up", t_s=100.0, what="ready after 3.0 s")
        if stored:
            writer.write("event", profile="edge-dil", t_s=101.0, what="schedule starts", schedule=stored)
        for at_s, direction, up, reason in rows:
            row = {"link": LINK, "direction": direction, "state": {"up": up, "delay_s": 0.1}, "reason": reason}
            writer.write("timeline", profile="edge-dil", deployment="edge-dil@up", t_s=100 + at_s, **row)


def test_the_past_is_every_link_change_and_what_the_schedule_did_besides(tmp_path: Path) -> None:
    rows = [
        (-2.0, "edge-1>saas", True, "start"),
        (1.5, "edge-1>saas", False, "cut by hand"),
        (4.0, "edge-1>saas", True, "storm.yaml at 3 s"),
        (9.0, "edge-1>saas", True, "storm.yaml stopped"),
    ]
    journal(tmp_path, rows, "storm.yaml")
    kill, late = Event(2.0, "process", "edge-1/edge", "kill"), Event(30.0, "process", "edge-1/edge", "start")
    found = past(read_journal(tmp_path / "journal.jsonl"), schedule(kill, heal(3), late))
    assert [(event.at_s, event.kind, event.action) for event in found.events] == [
        (1.5, "link", "state"),
        (3.0, "process", "kill"),  # 2 s after the schedule's start, which was 1 s after all was ready
        (4.0, "link", "state"),
    ]
    assert found.events[0].value == {"up": False, "delay_s": 0.1}
    assert found.links == 2


def test_the_report_of_a_deployment_that_was_watched_says_so(tmp_path: Path) -> None:
    journal(tmp_path, [(1.0, "edge-1>saas", False, "cut by hand")])
    report = build(tmp_path / "journal.jsonl", tmp_path)
    assert (report.outcome, report.exit_code) == (Outcome.OBSERVED, 0)
    page = (tmp_path / "report.html").read_text()
    assert "Watched, not judged" in page and "requirements verified here" not in page


def test_attempts_to_leave_are_told_once_each(tmp_path: Path) -> None:
    ledger = (tmp_path / "egress.jsonl").open("a", buffering=1)

    def attempt(flow: int, t_s: float, port: int, **more: object) -> None:
        row = {"flow": flow, "t_s": t_s, "site": "edge-1", "protocol": "udp", "destination": "198.51.100.9"}
        ledger.write(json.dumps({**row, "port": port, "name": None, "ip_version": 4, "phase": "", **more}) + "\n")

    egress = Egress(tmp_path)
    assert (egress.look(), egress.picture()) == ([], [])
    attempt(1, 5.0, 123, service="ntp")
    attempt(2, 5.0, 443, phase="canary")
    [line] = egress.look()
    assert line.startswith("egress: attempt edge-1 ntp 198.51.100.9:123 count=1")
    assert egress.look() == []
    attempt(3, 5.0, 53)  # at the time of the last one
    ledger.write(json.dumps({"flow": 3, "command": "dig example.org", "pid": 77}) + "\n")
    [line] = egress.look()
    assert line.endswith("by dig example.org [77]")
    for number in range(40):
        attempt(10 + number, 6.0 + number, 1000 + number)
    assert egress.look()[-1] == "egress: 32 more"
    [shown] = egress.picture()
    assert isinstance(shown, Table) and shown.row_count == 42
