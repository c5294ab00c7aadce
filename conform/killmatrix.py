"""Try every defect: one pytest process each, two at a time, judged by what its journal says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import profiles
from conform import catalogue, interrupts
from conform.defects import KnownDefect, known
from conform.killplan import Plan, Planner
from conform.matrix import Fate, Matrix, Row, kills_of, suites_digest
from reports.journal import JournalError, read
from reports.verdicts import WORST_FIRST, Verdict

LIMIT_S = {"local": 240.0, "containers": 480.0}  # one process of the matrix; beyond it the defect is an error
EDGE_ALONE = Path(__file__).with_name("edge-alone.yaml")  # of no use but here, where every second counts
Tell = Callable[[str, str], None]
Circumstances = tuple[str, int]  # driver, seed


def run(
    defects: Sequence[KnownDefect],
    folder: Path,
    *,
    parallel: int,
    seed: int,
    clean: bool,
    tell: Tell,
    driver: str = "local",
) -> Matrix:
    """The matrix of these defects in deployments of that driver. Each process has a folder of its own in `folder`,
    with its journal and log."""
    interrupts.first_only()  # SIGTERM ends the processes too, and so does Ctrl-C of a shell that hides it
    began = time.monotonic()
    entries, checks = catalogue.catalogue(), catalogue.checks()
    planner = Planner([profiles.load(name) for name in (*profiles.ids(), str(EDGE_ALONE))], checks, entries)
    plans = [planner.plan(defect) for defect in defects]
    cleans = planner.clean(plans) if clean else []
    # The longest first, so that the short ones fill what is left of the time: clean runs, then what waits for a sync.
    longest_first = sorted((plan for plan in plans if plan.profiles), key=planner.seconds, reverse=True)
    # Without defects first, and no more at a time than there are cores: there, timing must be seen through the noise.
    at_once = min(parallel, len(os.sched_getaffinity(0)))
    total = len(cleans) + len(longest_first)
    found = _run_all(cleans, folder, at_once, (driver, seed), tell, total)
    found |= _run_all(longest_first, folder, parallel, (driver, seed), tell, total, before=len(cleans))
    rows = [_row(plan, found.get(plan.name)) for plan in plans]
    verdicts, reasons = _clean(cleans, found)
    in_force = dict.fromkeys(check.requirement for check in checks)
    kills = kills_of(rows)
    complete = clean and {each.name: each for each in defects} == {
        name: each for name, each in known().items() if each.lives_in(driver)
    }
    # What a defect of another driver kills is for that driver's matrix to show; META-01 wants both.
    elsewhere = {kill for each in known().values() if not each.lives_in(driver) for kill in each.kills}
    open_here = [each for each in entries if each in in_force and not entries[each].meta and each not in elsewhere]
    without = [each for each in open_here if each not in kills and verdicts.get(each) != "untestable"]
    return Matrix(
        suites_digest=suites_digest(),
        driver=driver,
        complete=complete,
        clean=verdicts,
        clean_reasons=reasons,
        kills=kills,
        without_defect=without if complete else [],
        rows=rows,
        seconds=round(time.monotonic() - began, 1),
    ).sealed()


class Outcome:
    """What one process left: the verdicts of each id, and why."""

    def __init__(self, plan: Plan, folder: Path, seconds: float, problem: str) -> None:
        self.plan, self.folder, self.seconds, self.problem = plan, folder, seconds, problem
        self.verdicts: dict[str, list[Verdict]] = {}
        self.reasons: dict[str, str] = {}
        try:
            records = read(folder / "journal.jsonl").of("verdict")
        except JournalError as error:
            self.problem = problem or f"no journal: {error.what}"
            return
        for record in records:
            verdict = Verdict(record["verdict"])
            name = str(record["requirement"])
            self.verdicts.setdefault(name, []).append(verdict)
            if verdict is not Verdict.PASS:
                self.reasons.setdefault(name, " ".join(str(record.get("reason", "")).split())[:300])

    def red(self, requirement: str) -> str:
        """The verdict of a requirement that ought to fail: `fail` if a check failed, else the worst there is."""
        found = self.verdicts.get(requirement, [])
        return Verdict.FAIL.value if Verdict.FAIL in found else self.worst(requirement)

    def clean(self, requirement: str) -> str:
        """The worst of the checks that this driver can make: a part of a requirement may be for another driver, and
        then the defects of that part live there too. `untestable` if it can make none."""
        found = [each for each in self.verdicts.get(requirement, []) if each is not Verdict.UNTESTABLE]
        return min(found, key=WORST_FIRST.index).value if found else self.worst(requirement)

    def worst(self, requirement: str) -> str:
        found = self.verdicts.get(requirement)
        return min(found, key=WORST_FIRST.index).value if found else "not-run"


def _run_all(
    plans: Sequence[Plan],
    folder: Path,
    parallel: int,
    circumstances: Circumstances,
    tell: Tell,
    total: int,
    before: int = 0,
) -> dict[str, Outcome]:
    processes = _Processes()
    found: dict[str, Outcome] = {}
    with ThreadPoolExecutor(parallel) as pool:
        futures = [pool.submit(processes.run, plan, folder / plan.name, circumstances) for plan in plans]
        try:
            for future in as_completed(futures):
                outcome = future.result()
                found[outcome.plan.name] = outcome
                tell(*_line(outcome, before + len(found), total))
        except BaseException:
            for future in futures:
                future.cancel()
            processes.stop()
            raise
    return found


def _line(outcome: Outcome, done: int, total: int) -> tuple[str, str]:
    head = f"[{done}/{total}] {outcome.plan.name}"
    if outcome.plan.defect is None:
        bad = [each for each in outcome.plan.claimed if outcome.clean(each) not in ("pass", "untestable")]
        told = f"not clean: {' '.join(bad)}" if bad else f"{len(outcome.plan.claimed)} requirements pass"
        return f"{head}: {told} ({outcome.seconds:.0f} s)", "bold red" if bad else ""
    row = _row(outcome.plan, outcome)
    red = "" if row.fate is Fate.KILLED else f": {row.reason}"
    style = {Fate.KILLED: "", Fate.UNTESTABLE: "yellow"}.get(row.fate, "bold red")
    return f"{head}: {row.fate}{red} ({outcome.seconds:.0f} s)", style


class _Processes:
    """The pytest processes that run now; stopping ends them all as Ctrl-C would, so that they tear down."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def run(self, plan: Plan, folder: Path, circumstances: Circumstances) -> Outcome:
        folder.mkdir(parents=True, exist_ok=True)
        began, problem = time.monotonic(), ""
        with (folder / "pytest.log").open("wb") as log:
            with self._lock:
                if self._stopped:
                    return Outcome(plan, folder, 0.0, "stopped")
                process = subprocess.Popen(
                    _command(plan, folder, circumstances),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=catalogue.SUITES.parent,
                    env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},  # plugins of the host cost a second each
                    start_new_session=True,
                )
                self._running.add(process)
            try:
                process.wait(LIMIT_S[circumstances[0]])
            except subprocess.TimeoutExpired:
                problem = f"did not end within {LIMIT_S[circumstances[0]]:.0f} s"
                _end(process)
            finally:
                with self._lock:
                    self._running.discard(process)
        return Outcome(plan, folder, time.monotonic() - began, problem)

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            running = list(self._running)
        for process in running:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGINT first, so that the deployment is torn down; SIGKILL if that takes too long."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(5)


def _command(plan: Plan, folder: Path, circumstances: Circumstances) -> list[str]:
    driver, seed = circumstances
    root = catalogue.SUITES.parent
    ini = root / "pyproject.toml"
    command = [sys.executable, "-m", "pytest", str(catalogue.SUITES), "--rootdir", str(root)]
    command += ["-c", str(ini) if ini.is_file() else os.devnull, "-o", "addopts=", "--import-mode=importlib"]
    command += ["-p", "conform.plugin", "-p", "pytest_timeout", "-p", "no:cacheprovider", "-q", "--tb=short"]
    command += ["--no-report", "--run-dir", str(folder), "--seed", str(seed), "--driver", driver]
    for profile in plan.profiles:
        command += ["--profile", str(EDGE_ALONE) if profile == EDGE_ALONE.stem else profile]
    for requirement in (*plan.claimed, *plan.sample):
        command += ["--only", requirement]
    if plan.defect is not None:
        command += ["--defect", plan.defect.name, "--until-red"]
    if not plan.calibrate:
        command.append("--uncalibrated")
    return command


def _row(plan: Plan, outcome: Outcome | None) -> Row:
    assert plan.defect is not None
    claimed = dict.fromkeys(plan.homeless, "no profile")
    sample: dict[str, str] = {}
    if outcome is not None:
        claimed = {each: outcome.red(each) for each in plan.claimed} | claimed
        sample = {each: outcome.worst(each) for each in plan.sample}
    fate, reason = _fate(plan, outcome, claimed, sample)
    return Row(
        defect=plan.defect.name,
        phase=plan.defect.phase,
        says=plan.defect.says,
        profiles=list(plan.profiles),
        claimed=claimed,
        sample=sample,
        fate=fate,
        reason=reason,
        seconds=round(outcome.seconds, 1) if outcome else 0.0,
        log=str(outcome.folder / "pytest.log") if outcome else "",
    )


def _fate(plan: Plan, outcome: Outcome | None, claimed: dict[str, str], sample: dict[str, str]) -> tuple[Fate, str]:
    if outcome is None or plan.homeless:
        without = ", ".join(plan.homeless) or "it claims no requirement"
        return Fate.HOMELESS, f"no profile can carry it and has a check for: {without}"
    if outcome.problem:
        return Fate.ERROR, outcome.problem
    unsound = [each for each, verdict in (claimed | sample).items() if verdict in ("error", "not-run")]
    if unsound:
        return Fate.ERROR, _because(unsound, claimed | sample, outcome)
    alive = [each for each, verdict in claimed.items() if verdict != "fail"]
    if alive and all(claimed[each] == Verdict.UNTESTABLE.value for each in alive):
        return Fate.UNTESTABLE, _because(alive, claimed, outcome)
    if alive:
        return Fate.SURVIVED, _because(alive, claimed, outcome)
    red = [each for each, verdict in sample.items() if Verdict(verdict).red]
    if red:
        return Fate.FALSE_ALARM, _because(red, sample, outcome)
    return Fate.KILLED, ""


def _because(ids: Sequence[str], verdicts: dict[str, str], outcome: Outcome) -> str:
    return "; ".join(f"{each} {verdicts[each]}: {outcome.reasons.get(each, 'no reason')}" for each in ids)


def _clean(plans: Sequence[Plan], found: dict[str, Outcome]) -> tuple[dict[str, str], dict[str, str]]:
    """Per requirement the worst of its clean runs, and why where that is not a pass."""
    verdicts: dict[str, str] = {}
    reasons: dict[str, str] = {}
    for plan in plans:
        outcome = found[plan.name]
        for requirement in plan.claimed:
            worst = outcome.clean(requirement)
            if worst != "pass" or requirement not in verdicts:
                verdicts[requirement] = worst
            if worst != "pass":
                reasons[requirement] = f"{plan.profiles[0]}: {outcome.reasons.get(requirement) or outcome.problem}"
    return dict(sorted(verdicts.items())), reasons
