"""Every view shows what the report says, and shows hostile text as text."""

from __future__ import annotations

import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from junitparser import JUnitXml
from rich.console import Console

from reports.build import build
from reports.console import show
from reports.html import pretty, quantity, render
from reports.model import Report
from reports.timeline import classify, describe, drawings
from reports.verdicts import Verdict
from tests.reports import sample
from tests.reports.small import GREEN, Make, verdict

HOSTILE = "</pre><script>alert(1)</script>\x00\x1b[31m\ud800 ${x} {{ 7*7 }}"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Path]:
    out = tmp_path_factory.mktemp("views")
    return build(sample.write(out / "journal.jsonl"), out), out


class Page(HTMLParser):
    """Tags, ids, local targets and whatever would load something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.targets: set[str] = set()
        self.loads: list[str] = []
        self.cells = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = {name: value or "" for name, value in attrs}
        if "id" in values:
            self.ids.append(values["id"])
        href = values.get("href", "")
        if href.startswith("#"):
            self.targets.add(href[1:])
        elif href and href != "data:,":
            self.loads.append(href)
        self.loads += [values[name] for name in ("src", "srcset", "data", "poster") if name in values]
        self.cells += tag == "td" and "cell" in values.get("class", "").split()


def test_all_views_are_written(built: tuple[Report, Path]) -> None:
    report, out = built
    assert sorted(path.name for path in out.iterdir()) == ["journal.jsonl", "junit.xml", "report.html", "report.json"]
    assert Report.model_validate(json.loads((out / "report.json").read_text())) == report


def test_the_page_loads_nothing_and_its_links_lead_somewhere(built: tuple[Report, Path]) -> None:
    report, out = built
    text = (out / "report.html").read_text()
    page = Page(text)
    assert page.loads == []
    assert "script" not in page.tags
    assert not re.search(r"url\(|@import", text)
    assert len(page.ids) == len(set(page.ids))
    assert page.targets <= set(page.ids)
    assert page.cells == len(report.cells)


def test_the_page_opens_with_outcome_and_reach(built: tuple[Report, Path]) -> None:
    report, out = built
    head = (out / "report.html").read_text().split('id="picture"')[0]
    assert "Non-conformant" in head
    assert report.reach.sentence in head


def test_each_failure_tells_all(built: tuple[Report, Path]) -> None:
    text = (built[1] / "report.html").read_text()
    card = text.split('id="c-edge-dil-SYN-02"')[1].split("</article>")[0]
    for part in (
        "No phantom",
        "derived good practice",
        "all 40 acknowledged",
        "39 of 40",
        "kill_at_s",
        "--only SYN-02",
    ):
        assert part in card


def test_the_timeline_draws_every_direction(built: tuple[Report, Path]) -> None:
    report, _ = built
    profile = next(profile for profile in report.profiles if profile.id == "edge-dil")
    checks = [check for cell in report.cells if cell.profile == profile.id for check in cell.checks]
    [drawing] = drawings(profile, report.run, checks)
    assert [lane.label for lane in drawing.lanes] == ["edge-1 → saas", "saas → edge-1"]
    assert [box.kind for box in drawing.lanes[0].boxes] == ["up", "down", "up", "degraded", "up"]
    assert [box.kind for box in drawing.lanes[1].boxes] == ["up", "down", "up", "down", "up"]
    assert len(drawing.spans) == len(checks)
    for box in (*drawing.spans, *(box for lane in drawing.lanes for box in lane.boxes)):
        assert drawing.left <= box.x and box.x + box.width <= drawing.right + 1
    assert 4 <= len(drawing.ticks) <= 12


def test_junit_has_a_real_child_for_every_case_that_did_not_pass(built: tuple[Report, Path]) -> None:
    report, out = built
    suites = list(JUnitXml.fromfile(str(out / "junit.xml")))
    applicable = [cell for cell in report.cells if cell.verdict is not Verdict.NOT_APPLICABLE]
    assert [suite.name for suite in suites] == [profile.id for profile in report.profiles]
    assert sum(suite.tests for suite in suites) == len(applicable)
    assert sum(suite.failures for suite in suites) == sum(cell.verdict in ("fail", "vacuous") for cell in applicable)
    assert sum(suite.errors for suite in suites) == 0
    broken = next(case for suite in suites for case in suite if case.name.startswith("SYN-02") and case.is_failure)
    assert "conform run --profile edge-dil --only SYN-02" in broken.result[0].text


def test_the_console_fits_80_columns_and_is_plain_when_piped(built: tuple[Report, Path]) -> None:
    pipe = io.StringIO()
    show(built[0], Console(file=pipe, width=80))
    text = pipe.getvalue()
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 80
    row = next(line for line in text.splitlines() if line.startswith("SYN-02"))
    assert row.split()[1:10] == ["·", "·", "·", "·", "·", "✕", "✓", "·", "·"]
    assert "non-conformant" in text.splitlines()[-4:][0] + text.splitlines()[-3] + text.splitlines()[-2]


def test_the_console_shows_the_head_of_each_check_that_failed(make: Make) -> None:
    lines = "\n".join(f"line {n}" for n in range(9))
    red = [
        verdict("ISO-08", "saas", "fail", check=f"x.py::test_{n}[saas]", observed=lines, repro="conform run")
        for n in "ab"
    ]
    pipe = io.StringIO()
    show(make(*red, *GREEN[1:]), Console(file=pipe, width=80))
    panel = pipe.getvalue().split("ISO-08 in saas: fail")[1]
    assert [panel.count(part) for part in ("test_a[saas]", "test_b[saas]", "line 5", "line 6", "conform run")] == [
        *(1, 1, 2, 0, 1)
    ]
    assert panel.count("3 more lines in the report") == 2


def test_what_a_deployment_says_stays_text(make: Make, tmp_path: Path) -> None:
    told = {
        "reason": HOSTILE,
        "expected": HOSTILE,
        "observed": HOSTILE,
        "evidence": {HOSTILE: HOSTILE},
        "repro": HOSTILE,
    }
    report = make(verdict("ISO-08", "saas", "fail", **told), *GREEN[1:])
    page = render(report)
    assert "script" not in Page(page).tags
    assert "{{ 7*7 }}" in page
    journal = next(path for path in tmp_path.iterdir() if path.suffix == ".jsonl")
    build(journal, tmp_path / "out")
    [suite, _] = JUnitXml.fromfile(str(tmp_path / "out" / "junit.xml"))
    assert suite.failures == 1
    json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))


def test_pictures_among_the_evidence_are_shown_and_nothing_else_is_loaded(make: Make) -> None:
    picture = "data:image/jpeg;base64,/9j/4AAQSkZJRg=="
    evidence = {"screenshot": picture, "link": "https://x.test/a.png", "trick": 'data:image/png;base64,AA"onerror="x'}
    page = render(make(verdict("ISO-08", "saas", "fail", evidence=evidence), *GREEN[1:]))
    assert page.count(f'src="{picture}"') == 1 and page.count(picture) == 1
    assert 'src="https' not in page and 'onerror="x' not in page


def test_an_empty_run_renders(make: Make) -> None:
    report = make(profiles=[], in_force=[])
    assert "Not fully verified" in render(report)
    show(report, Console(file=io.StringIO()))


def test_a_defect_switched_on_by_hand_stands_on_top(make: Make) -> None:
    page = render(make(*GREEN, defects_on=["rls_not_forced"]))
    assert "rls_not_forced" in page.split('id="picture"')[0]


def test_build_can_judge_by_the_other_measure(make: Make, tmp_path: Path) -> None:
    assert make(*GREEN).exit_code == 0
    [journal] = tmp_path.iterdir()
    assert build(journal, tmp_path / "out", strict=True).exit_code == 2


def test_words() -> None:
    assert describe({"up": True, "delay_s": 0.3, "jitter_s": 0.04, "loss": 0.02, "rate_bps": 512e3}) == (
        "300 ms ±40, 2 % loss, 512 kbit/s"
    )
    assert describe({"up": False, "delay_s": 1}) == "down"
    assert describe({"up": False, "reject": True}) == "down, refused"
    assert describe({"up": True, "half_open": True, "mtu_bytes": 1300, "corrupt": 0.01}) == (
        "half open, 1 % corrupt, MTU 1300"
    )
    assert classify({"up": True, "half_open": True}, {"up": True}) == "degraded"
    assert classify({"up": True, "mtu_bytes": 1300}, {"up": True}) == "degraded"
    assert classify({"up": True, "rate_bps": 2e6}, {"up": True, "rate_bps": 1e6}) == "up"
    assert classify({"up": True}, {"up": True, "loss": 0.1}) == "up"
    assert classify({"up": True, "rate_bps": 1e3}, {"up": True, "rate_bps": None}) == "degraded"
    assert quantity(None, "rate_bps") == "unlimited"
    assert quantity(0.6, "rtt_s") == "600 ms"
    assert len(pretty("x" * 100_000)) < 21_000
