"""What a run shows while it goes on: red verdicts as they fall, and on a terminal a bar per profile."""

from __future__ import annotations

from collections import Counter
from types import TracebackType
from typing import Any

import pytest
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.text import Text

from conform.checking import VERDICT_PROPERTY
from conform.scheduling import profile_in
from reports.verdicts import Verdict

_STYLE = {"fail": "bold red", "error": "bold magenta", "vacuous": "bold yellow", "untestable": "cyan"}


class Progress:
    """A pytest plugin of the controlling process, and a context manager around pytest.main."""

    def __init__(self, console: Console) -> None:
        self.controller: Any = None
        self._console = console
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[worst]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._totals: Counter[str] = Counter()
        self._done: Counter[str] = Counter()
        self._red: Counter[str] = Counter()
        self._told: set[tuple[str, str]] = set()  # profile and reason

    def __enter__(self) -> Progress:
        self._bars.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._bars.stop()

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        self.controller = config.pluginmanager.get_plugin("conform-controller")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        self.controller = session.config.pluginmanager.get_plugin("conform-controller")

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._expect([item.nodeid for item in session.items])

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: list[str]) -> None:
        self._expect(ids)

    def _expect(self, nodeids: list[str]) -> None:
        if self._totals or self.controller is None:
            return
        profiles = self.controller.settings.profiles
        known = [profile.id for profile in profiles]
        self._totals = Counter(name for nodeid in nodeids if (name := profile_in(nodeid, known)) is not None)
        for profile in profiles:
            if self._totals[profile.id]:
                title, total = profile.id, self._totals[profile.id]
                self._tasks[profile.id] = self._bars.add_task(title, total=total, worst="")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            lines = [line for line in str(report.longrepr).splitlines() if line.strip()]
            self._line("!", "error", f"{report.nodeid} could not be imported: {lines[-1].strip() if lines else ''}")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        said = dict(report.user_properties).get(VERDICT_PROPERTY)
        if not isinstance(said, dict) or not (report.when == "call" or (report.when == "setup" and not report.passed)):
            return
        verdict, profile = str(said["verdict"]), str(said["profile"])
        self._done[profile] += 1
        if Verdict(verdict).red:
            self._red[profile] += 1
            reason = " ".join(str(said["reason"]).split())
            # A deployment that did not come up is one problem, not one per check.
            if (profile, reason) not in self._told:
                self._line(Verdict(verdict).glyph, verdict, f"{said['requirement']} {profile}: {reason}")
            self._told.add((profile, reason))
        if profile in self._tasks:
            worst = f"[red]{self._red[profile]} red[/red]" if self._red[profile] else ""
            self._bars.update(self._tasks[profile], completed=self._done[profile], worst=worst)
        if not self._console.is_terminal and self._done[profile] == self._totals[profile]:
            self._console.print(f"{profile}: {self._done[profile]} checks ran", highlight=False)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        if error:
            self._line("!", "error", f"worker {node.gateway.id} ended: {str(error).splitlines()[-1]}")

    def _line(self, glyph: str, verdict: str, text: str) -> None:
        width = self._console.width if self._console.is_terminal else 300
        line = Text.assemble((f"{glyph} {verdict}", _STYLE.get(verdict, "")), f"  {text}")
        line.truncate(width, overflow="ellipsis")
        self._console.print(line, soft_wrap=True)
