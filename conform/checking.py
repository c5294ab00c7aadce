"""Where checks run (an xdist worker, or the only process): by profile, with its deployment, each to a verdict."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from conform import catalogue, judge
from conform.holder import Holder
from conform.judge import PASSED, Judged
from conform.losing import Loss
from conform.settings import Settings
from environments.contract import Capability, Deployment, Evidence, SuiteError
from environments.contract.exchanges import EXCHANGES
from environments.schedules.model import Schedule, ScheduleError
from environments.schedules.player import Player
from reports.journal import JournalWriter, now
from reports.verdicts import Verdict

PARTS = "parts"
CHECK_TIMEOUT_S = 180  # a check that hangs is ended and is an error; each waits with deadlines of its own
VERDICT_PROPERTY = "conform"
TOLD = (Verdict.FAIL, Verdict.ERROR, Verdict.VACUOUS)  # with these goes what was said last


@dataclass
class Running:
    """What is known of a check while it runs."""

    requirement: str
    needs: tuple[Capability, ...]
    profile: str
    evidence: Evidence = field(default_factory=Evidence)
    judged: Judged | None = None
    started_at: str = field(default_factory=now)
    began_s: float = field(default_factory=time.monotonic)
    duration_s: float = 0.0
    exchanges: dict[str, Any] = field(default_factory=dict)  # the last, for a verdict that is no pass


RUNNING = pytest.StashKey[Running]()


@dataclass(frozen=True)
class Bound:
    """The arguments of @requirement."""

    requirement: str
    needs: tuple[Capability, ...]
    only: tuple[str, ...]


def bound_to(marker: pytest.Mark | None) -> Bound | None:
    if marker is None:
        return None
    return Bound(marker.args[0], tuple(marker.kwargs.get("needs", ())), tuple(marker.kwargs.get("only", ())))


class Checking:
    def __init__(self, settings: Settings, worker: str) -> None:
        self.settings, self.worker = settings, worker
        self.schedule: Schedule | None = settings.schedule
        self.judged: Callable[[Running], None] | None = None  # told of each verdict in place of the journal
        self._profiles = {profile.id: profile for profile in settings.profiles}
        self._entries = catalogue.catalogue()
        self._holders: dict[str, Holder] = {}
        self._writer: JournalWriter | None = None
        self._red: set[tuple[str, str | None]] = set()
        self._loss = Loss()

    @property
    def recorder(self) -> JournalWriter:
        if self._writer is None:
            self._writer = JournalWriter(self.settings.run_dir / PARTS / f"{self.worker}.jsonl")
        return self._writer

    def holder(self, profile: str) -> Holder:
        if profile not in self._holders:
            self._holders[profile] = Holder(self._profiles[profile], self.settings, self.recorder, self.worker)
            self._holders[profile].on_loss = self._loss.report
        return self._holders[profile]

    # -- which checks run, and where

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        """A file without a selected check is not even imported: it costs time, and may be broken."""
        if collection_path.name.startswith("test_") and collection_path.suffix == ".py":
            suites, only = self.settings.suites, self.settings.only
            if suites and collection_path.parent.name not in suites:
                return True
            if only and not any(identifier in collection_path.read_text(encoding="utf-8") for identifier in only):
                return True
        return None

    @pytest.hookimpl(tryfirst=True)
    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        bound = bound_to(metafunc.definition.get_closest_marker("requirement"))
        if bound is None:
            return
        if "profile_id" not in metafunc.fixturenames:
            metafunc.fixturenames.append("profile_id")
        metafunc.parametrize("profile_id", self.hosts(bound), indirect=True, scope="session")

    def hosts(self, bound: Bound) -> list[str]:
        """The selected profiles that the check runs in; none if its id is not selected."""
        entry = self._entries.get(bound.requirement)
        if entry is None:
            hint = catalogue.nearest(bound.requirement, self._entries)
            raise pytest.UsageError(f"@requirement: there is no requirement {bound.requirement!r}. {hint}")
        if not self.settings.selects(entry.id, entry.suite):
            return []
        return [
            name
            for name, profile in self._profiles.items()
            if catalogue.applies(entry, profile).applies and (not bound.only or name in bound.only)
        ]

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        kept: list[pytest.Item] = []
        left: list[pytest.Item] = []
        for item in items:
            here = _profile_of(item) if item.get_closest_marker("requirement") else None
            (kept if here in self._profiles else left).append(item)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(CHECK_TIMEOUT_S + 4 * self.settings.soak_s, method="signal"))
        if left:  # tests bound to no requirement, or to one that no selected profile is held to
            config.hook.pytest_deselected(items=left)
        order = list(self._profiles)
        items[:] = sorted(kept, key=lambda item: order.index(str(_profile_of(item))))

    # -- running one

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        bound = bound_to(item.get_closest_marker("requirement"))
        profile = _profile_of(item)
        if bound is None or profile is None:
            return (yield)
        if (bound.requirement, profile) in self._red:
            item.add_marker(pytest.mark.skip(reason=f"{bound.requirement} is red already (--until-red)"))
            return (yield)
        running = Running(bound.requirement, bound.needs, profile)
        item.stash[RUNNING] = running
        result = yield
        self._write(item, running)
        if self.settings.until_red and running.judged is not None and running.judged.verdict is Verdict.FAIL:
            self._red.add((bound.requirement, profile))
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        running = item.stash.get(RUNNING, None)
        if running is None:
            return (yield)
        deployment: Deployment | None = getattr(item, "funcargs", {}).get("deployment")
        error: BaseException | None = None
        judged = self._barred(running, deployment)
        result: object = None
        player, judged = self._weather(running, deployment, judged)
        running.began_s = time.monotonic()
        EXCHANGES.forget()  # what was said while the deployment was made or healed is not the check's
        # A wrapper must let the call happen; a barred check is replaced by nothing.
        if judged is not None:
            item.obj = _nothing  # type: ignore[attr-defined]
        try:
            with self._loss.ends_the_check():
                result = yield
        except (Exception, pytest.fail.Exception, pytest.skip.Exception) as raised:
            error = raised
        finally:  # an interrupt ends it too
            problems = _calm(player)
        if judged is None:
            judged = PASSED if error is None else judge.of_exception(error, judge.breach_in(EXCHANGES.last()))
        running.duration_s = time.monotonic() - running.began_s
        running.exchanges = EXCHANGES.evidence(f"{judged.reason} {running.evidence.observed}")
        if problems:
            judged = Judged(Verdict.ERROR, f"the schedule was not played as asked: {'; '.join(problems)}")
        if deployment is not None:
            crashes, problem = self._holders[running.profile].after_check()
            judged = judge.with_heal_problem(judge.with_crashes(judged, crashes), problem)
            judged = judge.with_loss(judged, self._loss.why)
        running.judged = judged
        _tell(item, running)
        if self._loss.why is not None:
            item.session.shouldstop = self._loss.why
        if judged.verdict is Verdict.PASS:
            return result
        if judged.verdict is Verdict.UNTESTABLE:
            raise pytest.skip.Exception(judged.reason)
        if error is not None and not isinstance(error, pytest.skip.Exception):
            raise error
        raise pytest.fail.Exception(f"{judged.verdict}: {judged.reason}", pytrace=False)

    def _barred(self, running: Running, deployment: Deployment | None) -> Judged | None:
        """Why the check cannot run or would not count here. META checks judge the network's proof themselves."""
        if deployment is None:
            return None
        missing = judge.unmet(deployment, running.needs)
        if missing is None and not self._entries[running.requirement].meta:
            missing = judge.unproven(deployment)
        return missing

    def _weather(
        self, running: Running, deployment: Deployment | None, judged: Judged | None
    ) -> tuple[Player | None, Judged | None]:
        """The schedule plays from the start of the check, if there is one and the check can run at all."""
        if self.schedule is None or deployment is None or judged is not None:
            return None, judged
        from conform import playing

        try:
            return playing.start(self._holders[running.profile], deployment, self.schedule), None
        except ScheduleError as refusal:
            return None, Judged(Verdict.UNTESTABLE, f"the schedule cannot be played here: {refusal}")
        except (SuiteError, ValueError) as error:  # the router is gone, or refuses what was found sound
            return None, Judged(Verdict.ERROR, f"the schedule did not start: {error}")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        running = item.stash.get(RUNNING, None)
        if running is not None and call.excinfo is not None and call.when != "call":
            found = judge.of_exception(call.excinfo.value)
            if call.when == "setup":
                running.judged = found if found.verdict is not Verdict.FAIL else Judged(Verdict.ERROR, found.reason)
                _tell(item, running)
            elif running.judged is None or running.judged.verdict is Verdict.PASS:
                running.judged = Judged(Verdict.ERROR, f"while cleaning up after the check: {found.reason}")
        return (yield)

    def _write(self, item: pytest.Item, running: Running) -> None:
        if self.judged is not None:
            self.judged(running)
            return
        judged = running.judged or Judged(Verdict.ERROR, "the check was interrupted")
        evidence = running.evidence
        observed = evidence.observed or (judged.reason if judged.verdict is not Verdict.PASS else "")
        self.recorder.write(
            "verdict",
            requirement=running.requirement,
            profile=running.profile,
            check=item.nodeid,
            verdict=judged.verdict.value,
            reason=judged.reason,
            expected=evidence.expected or _sentence(item),
            observed=observed,
            evidence={**evidence.items, **(running.exchanges if judged.verdict in TOLD else {})},
            started_at=running.started_at,
            duration_s=round(running.duration_s, 4),
            repro=self.settings.repro(running.requirement, running.profile),
            defects=list(self.settings.defects),
            needs=judged.needs,
            deployment=self._holders[running.profile].label if running.profile in self._holders else "",
        )

    # Innermost: once the hook of xdist around it has told the controller that the worker is done, that may be ended
    # at any moment, and with it a journal that is not closed.
    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        result = yield
        for holder in self._holders.values():
            holder.close()
        if self._writer is not None:
            self._writer.close(partial=session.exitstatus == pytest.ExitCode.INTERRUPTED)
        return result


def _profile_of(item: pytest.Item) -> str | None:
    callspec = getattr(item, "callspec", None)
    value = callspec.params.get("profile_id") if callspec is not None else None
    return value if isinstance(value, str) else None


def _sentence(item: pytest.Item) -> str:
    return " ".join((getattr(getattr(item, "function", None), "__doc__", "") or "").split("\n\n")[0].split())


def _tell(item: pytest.Item, running: Running) -> None:
    """Send the verdict along with the report, for whoever shows progress in the controlling process."""
    judged = running.judged or PASSED
    said: dict[str, Any] = {
        "requirement": running.requirement,
        "profile": running.profile,
        "verdict": judged.verdict.value,
        "reason": judged.reason[:300],
        "duration_s": running.duration_s,
    }
    item.user_properties.append((VERDICT_PROPERTY, said))


def _calm(player: Player | None) -> list[str]:
    """Stop the schedule and undo it; what kept it from being played as it is written."""
    if player is None:
        return []
    try:
        player.stop()
    except SuiteError as error:
        return [*player.problems(), str(error)]
    return player.problems()


def _nothing(**_: object) -> None:
    """Stands where a check that cannot count would run."""
