"""Try every defect: one pytest process each, several at a time, judged by what its journal says."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import profiles
from conform import catalogue, interrupts
from conform.admission import Admission
from conform.defects import KnownDefect, known
from conform.killplan import EDGE_ALONE, Plan, Planner
from conform.killprocesses import Circumstances, Processes
from conform.matrix import Fate, Matrix, Row, kills_of, suites_digest, took_s
from reports.journal import JournalError, read
from reports.verdicts import WORST_FIRST, Verdict

Tell = Callable[[str, str], None]


def run(
    defects: Sequence[KnownDefect],
    folder: Path,
    *,
    admission: Admission,
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
    places = [profiles.load(name) for name in (*profiles.ids(), str(EDGE_ALONE))]
    planner = Planner(places, checks, entries, took_s(driver))
    plans = [planner.plan(defect) for defect in defects]
    cleans = planner.clean(plans) if clean else []
    in_turn = planner.in_turn([*cleans, *(plan for plan in plans if plan.profiles)])
    found = _run_all(in_turn, folder, admission, (driver, seed), tell)
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
    admission: Admission,
    circumstances: Circumstances,
    tell: Tell,
) -> dict[str, Outcome]:
    processes = Processes(circumstances)
    found: dict[str, Outcome] = {}

    def outcome_of(plan: Plan) -> Outcome:
        with admission.admitted():
            return Outcome(plan, folder / plan.name, *processes.run(plan, folder / plan.name))

    with ThreadPoolExecutor(admission.most) as pool:
        futures = [pool.submit(outcome_of, plan) for plan in plans]
        try:
            for future in as_completed(futures):
                outcome = future.result()
                found[outcome.plan.name] = outcome
                tell(*_line(outcome, len(found), len(plans)))
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
