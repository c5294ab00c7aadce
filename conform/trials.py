"""The same checks again and again under one schedule after another: one pytest session, one deployment, healed between.

What a try costs is the check itself, not the standing up. Nothing of it counts as a verdict of a run: the journal has
events, and no report is built.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import pytest

from conform.asked import Asked
from conform.checking import RUNNING, Checking, Running
from conform.settings import Settings
from environments.schedules.model import Schedule
from reports.verdicts import Verdict

ORPHANED = (Verdict.ERROR, Verdict.UNTESTABLE)
# What is tested has rhythms of its own (a node polls and syncs every so often). Tries at the same beat would be one try
# counted many times, so each begins at another, by the seed.
PHASE_S = 0.5


class NoTrial(Exception):
    """A check that says nothing about the product here; `str()` says why."""


class NothingFound(Exception):
    """The checks ran, and there is nothing for the caller in it; `str()` says what to do."""


@dataclass(frozen=True)
class Try:
    """How one check ended under one schedule."""

    check: str  # node id
    verdict: Verdict
    reason: str
    lasted_s: float  # how much of the schedule it saw

    @property
    def fails(self) -> bool:
        return self.verdict is Verdict.FAIL


class Bench:
    """What a caller works with while the session is open."""

    def __init__(self, checking: Checking, items: Sequence[pytest.Item]) -> None:
        self.settings: Settings = checking.settings
        self.runs = 0
        self._checking, self._items = checking, {item.nodeid: item for item in items}
        self._done: list[Running] = []
        self._phases = random.Random(f"{checking.settings.seed}/phases")
        checking.judged = self._done.append

    @property
    def checks(self) -> list[str]:
        return list(self._items)

    def run(self, check: str, schedule: Schedule | None) -> Try:
        """Once. Raises NoTrial for an error of the suite, or where the check cannot run."""
        item = self._items[check]
        self._checking.schedule = schedule
        self._done.clear()
        self.runs += 1
        item.user_properties.clear()
        time.sleep(self._phases.uniform(0, PHASE_S))
        # What comes next is in the same module: the check is torn down, the deployment of the session stays.
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=item.parent)
        judged = item.stash[RUNNING].judged
        if judged is None:
            raise NoTrial(f"{check}: the check was interrupted")
        holder = self._checking.holder(item.stash[RUNNING].profile)
        size = schedule.size if schedule is not None else "no schedule"
        holder.event(f"try {self.runs} of {check} under {size}: {judged.verdict.value} {judged.reason}".rstrip())
        if judged.verdict in ORPHANED:
            raise NoTrial(f"{check}: {judged.verdict.value}: {judged.reason}")
        return Try(check, judged.verdict, judged.reason, self._done[-1].duration_s)


class _Loop:
    def __init__(self, work: Callable[[Bench], Any], part: str) -> None:
        self._work, self._part = work, part
        self.result: Any = None
        self.error: BaseException | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        checking = cast(Checking, session.config.pluginmanager.get_plugin("conform-checking"))
        chosen = [item for item in session.items if self._part in item.nodeid]
        try:
            if not chosen:
                names = ", ".join(item.nodeid for item in session.items) or "none here"
                raise NoTrial(f"no check has {self._part!r} in its name; checks: {names}")
            self.result = self._work(Bench(checking, chosen))
        except (Exception, KeyboardInterrupt) as error:
            self.error = error
        return True


def bench(asked: Asked, work: Callable[[Bench], Any], part: str = "") -> Any:
    """What `work` returns. It is given the checks that were asked for, those with `part` in their node id, in one
    session that ends with it; what it raises is raised here, after all is torn down."""
    from conform.commands.running import pytest_arguments

    loop = _Loop(work, part)
    code = pytest.main([*pytest_arguments(asked, 0), "--no-report"], plugins=[loop])
    if loop.error is not None:
        raise loop.error
    if loop.result is None:
        raise NoTrial(f"no check was run (pytest ended with {int(code)})")
    return loop.result
