"""A deployment that is stood up to be watched: its journal, its schedule, its capture, and its end."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from conform import catalogue, interrupts, judge, playing
from conform.console import EXIT_BAD_ARGUMENTS, EXIT_SUITE_ERROR, fail, say, shown_path
from conform.controlling import JOURNAL
from conform.header import header
from conform.holder import Holder, NotProvisioned
from conform.settings import Settings, keep_schedule
from environments.contract import SuiteError
from environments.schedules.model import ScheduleError
from environments.schedules.player import Player
from reports.build import build
from reports.journal import JournalWriter, now

LEDGER = "egress.jsonl"
CAPTURE = "capture"  # folder of a deployment and of a run: <site>.pcapng


class Standing:
    """The deployment while it stands, and the schedule that plays on it."""

    def __init__(self, holder: Holder, settings: Settings) -> None:
        self.holder, self.settings = holder, settings
        self.deployment: Any = holder.get()
        self.player: Player | None = None

    def capture(self) -> str:
        """Begin to record every site; empty, or why that cannot be."""
        begin = getattr(self.deployment.network, "capture_sites", None)
        if begin is None:
            return "--capture: this deployment's network records no sites"
        begin(True)
        self.holder.event("capture of every site begins")
        return ""

    def play(self) -> None:
        if self.settings.schedule is not None:
            self.player = playing.start(self.holder, self.deployment, self.settings.schedule)

    def lateness(self) -> list[float]:
        """How late each link change of the schedule was so far, seconds."""
        if self.player is None:
            return []
        return playing.landed(self.deployment.timeline(), self.player.schedule.name, self.player.started_at_s)

    def end(self) -> None:
        """Stop the schedule, end the capture and keep it with the run. Never raises: problems are events."""
        if self.player is not None:
            try:
                self.player.stop()
            except SuiteError as error:
                self.holder.event(str(error))
            for problem in self.player.problems():
                self.holder.event(f"the schedule was not played as asked: {problem}")
        self._keep_ledger()
        self._keep_capture()

    def _keep_ledger(self) -> None:
        """Every attempt to leave, a line each, beside the journal."""
        path = Path(self.deployment.workdir) / LEDGER
        if path.is_file():
            with contextlib.suppress(OSError):  # a full disk: the report says what the live view showed
                shutil.copyfile(path, self.settings.run_dir / LEDGER)

    def _keep_capture(self) -> None:
        folder = Path(self.deployment.workdir) / CAPTURE
        if not folder.is_dir():
            return
        try:
            self.deployment.network.capture_sites(False)
            shutil.copytree(folder, self.settings.run_dir / CAPTURE, dirs_exist_ok=True)
        except (OSError, SuiteError) as error:
            self.holder.event(f"the capture was not kept: {error}")


def stand(
    settings: Settings, use: Callable[[Standing], None], progress: Callable[[str], None], *, quiet: bool = False
) -> int:
    """Stand the profile up, use it, tear it down, write the report; the exit code. Ctrl-C ends the use, not the end."""
    interrupts.first_only()
    code, kept = 0, ""
    with _journal(settings) as journal:
        holder = Holder(settings.profiles[0], settings, journal, "up", progress)
        standing: Standing | None = None
        try:
            standing = Standing(holder, settings)
            kept = f"; files kept in {standing.deployment.workdir}" if settings.keep else ""
            unproven = judge.unproven(standing.deployment)
            if unproven is None:
                use(standing)
            else:  # a link that is not what was asked is refused, not approximated
                code = fail(f"{settings.profiles[0].id}: {unproven.reason}", EXIT_SUITE_ERROR)
        except NotProvisioned as refusal:
            code = fail(str(refusal), EXIT_SUITE_ERROR)
        except ScheduleError as refusal:
            code = fail(f"--schedule: {refusal}", EXIT_BAD_ARGUMENTS)
        except KeyboardInterrupt:
            pass
        finally:
            interrupts.ignore()
            if standing is not None:
                standing.end()
            holder.close()
    build(settings.run_dir / JOURNAL, settings.run_dir)
    if not quiet:
        with contextlib.suppress(OSError):  # the terminal may be gone
            say(f"{settings.profiles[0].id} torn down{kept}")
            say(f"what happened: {shown_path(settings.run_dir / 'report.html')}")
            if (settings.run_dir / CAPTURE).is_dir():
                say(f"packets: {shown_path(settings.run_dir / CAPTURE)}")
    return code


@contextmanager
def _journal(settings: Settings) -> Iterator[JournalWriter]:
    """A journal in which no requirement is asked for: the deployment, what happened in it, its link timeline."""
    in_force = (check.requirement for check in catalogue.checks())
    if settings.schedule is not None:
        keep_schedule(settings.schedule, settings.run_dir)
    with JournalWriter(settings.run_dir / JOURNAL) as writer:
        head = header(settings, started_at=now(), in_force=in_force, selected=[], stood_up=True)
        writer.write("header", **head)
        yield writer
