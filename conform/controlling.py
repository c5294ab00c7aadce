"""The process that a run is started in: header, merged journal, report, exit status."""

from __future__ import annotations

import shutil
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conform import catalogue
from conform.checking import PARTS
from conform.header import header
from conform.interrupts import forward
from conform.settings import Settings, keep_schedule
from environments import adapters
from reports.journal import JournalWriter, merge, now

if TYPE_CHECKING:
    from reports.model import Report

JOURNAL = "journal.jsonl"
SUITE_ERROR = 255


class Controller:
    def __init__(self, settings: Settings, config: pytest.Config, distributed: bool) -> None:
        self.settings = settings
        self.report: Report | None = None
        self.problem = ""  # why there is no report although one was asked for
        self._config, self._distributed = config, distributed
        self._started_at = now()
        self._writer: JournalWriter | None = None
        self._known = catalogue.checks(_suites_folder(config))
        self._broken: list[str] = []
        self._interrupted = False
        if (settings.run_dir / JOURNAL).exists() or (settings.run_dir / PARTS).exists():
            raise pytest.UsageError(f"--run-dir: {settings.run_dir} holds a run already. Name a new folder.")

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """A worker parses the command line again; what was left open there it gets from here."""
        told = ("run_id", "run_dir", "seed", "tbstyle")
        settled = {name: getattr(self._config.option, name) for name in told if hasattr(self._config.option, name)}
        node.workerinput["conform"] = settled

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        if len(self.settings.profiles) == 1 or config.option.dist != "load":
            return None
        from conform.scheduling import ByProfile

        ids = [profile.id for profile in self.settings.profiles]
        return ByProfile(config, log, ids, whole=adapters.is_adapter(self.settings.driver))

    # -- the header, as soon as it is known which checks run

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        if not self._distributed:
            self._write_header(item.nodeid for item in session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: list[str]) -> None:
        self._write_header(ids)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and report.nodeid not in self._broken:
            self._broken.append(report.nodeid)
            if self._writer is not None:
                self._writer.write("event", what=f"not collected: {report.nodeid}: {_last_line(report)}")

    def _write_header(self, nodeids: Iterable[str]) -> None:
        if self._writer is not None:
            return
        settings, entries = self.settings, catalogue.catalogue()
        if settings.schedule is not None:
            keep_schedule(settings.schedule, settings.run_dir)
        self._writer = JournalWriter(settings.run_dir / PARTS / "controller.jsonl")
        self._writer.write(
            "header",
            **header(
                settings,
                started_at=self._started_at,
                in_force=(check.requirement for check in self._known),
                selected=self._selected(nodeids, entries),
            ),
        )
        for nodeid in self._broken:
            self._writer.write("event", what=f"not collected: {nodeid}")

    def _selected(self, nodeids: Iterable[str], entries: dict[str, catalogue.Requirement]) -> list[str] | None:
        """Ids this run was asked to check; None for all. A narrower path, -k and the like select what they collect."""
        settings, option = self.settings, self._config.option
        if settings.only or settings.suites:
            return [entry.id for entry in entries.values() if settings.selects(entry.id, entry.suite)]
        whole = {Path(self._config.rootpath, "suites"), catalogue.SUITES}
        paths = {Path(self._config.invocation_params.dir, argument).resolve() for argument in self._config.args}
        if paths & whole and not (option.keyword or option.markexpr or option.deselect or getattr(option, "lf", False)):
            return None
        by_function = {(check.path.name, check.function): check.requirement for check in self._known}
        found = {by_function.get(_where(nodeid)) for nodeid in nodeids}
        return [identifier for identifier in entries if identifier in found]

    # -- the end

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        if type(excinfo.value) is KeyboardInterrupt:  # xdist raises a kind of it when it gives up
            self._interrupted = True
            if self._distributed:  # its children are the workers, and nothing else
                forward()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        result = yield
        self._write_header([])  # a run that ended before it collected anything still leaves a journal
        assert self._writer is not None
        ended = session.exitstatus
        stopped = bool(session.shouldstop or session.shouldfail)
        if ended == pytest.ExitCode.INTERNAL_ERROR:
            self._writer.write("event", what="pytest met an internal error")
        broken_off = ended in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR)
        self._writer.close(partial=stopped or broken_off, interrupted=self._interrupted)
        self._conclude(session)
        return result

    def _conclude(self, session: pytest.Session) -> None:
        run_dir = self.settings.run_dir
        parts = sorted((run_dir / PARTS).glob("*.jsonl"), key=lambda path: path.stem != "controller")
        merge(parts, run_dir / JOURNAL)
        shutil.rmtree(run_dir / PARTS)
        if not self.settings.report:
            return
        code = SUITE_ERROR
        try:
            from reports.build import build

            self.report = build(run_dir / JOURNAL, run_dir)
            code = int(self.report.exit_code)
        except Exception as error:
            self.problem = f"the report could not be built from {run_dir / JOURNAL}: {type(error).__name__}: {error}"
        if self._broken or session.exitstatus == pytest.ExitCode.INTERNAL_ERROR:
            code = code or SUITE_ERROR
        session.exitstatus = code
        self._tell()

    def _tell(self) -> None:
        """The outcome, under pytest's own summary; `conform run` has no terminal reporter and shows more."""
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if terminal is None:
            return
        terminal.section("CompanyOS conformance")
        if self.report is None:
            terminal.write_line(self.problem)
            return
        terminal.write_line(f"{self.report.outcome.value}: {self.report.reason}")
        terminal.write_line(self.report.reach.sentence)
        terminal.write_line(f"report: {self.settings.run_dir / 'report.html'}")


def _suites_folder(config: pytest.Config) -> Path:
    folder = config.rootpath / "suites"
    return folder if folder.is_dir() else catalogue.SUITES


def _where(nodeid: str) -> tuple[str, str]:
    """(file name, function) of a node id."""
    path, _, rest = nodeid.partition("::")
    return Path(path).name, rest.split("[")[0]


def _last_line(report: pytest.CollectReport) -> str:
    lines = [line for line in str(report.longrepr).splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no reason given"
