"""FUN-15: a run ends once, and each of its steps takes effect exactly once, wherever the orchestrator crashes."""

from __future__ import annotations

from environments.contract import Capability, Deployment, Evidence, requirement, vacuous
from suites.exchange import conclude, healed_after
from suites.functional.orchestrating import Maestro
from suites.functional.runs import STEPS, Watched, judge_boundaries, judge_run
from suites.waiting import wait_until

PAUSES_S = (1.0, 2.0, 4.0)  # between steps, so that a crash falls between them: longer ones if the host was too slow
ENDS_S = 30.0  # for runs of three steps to end after a restart
STAYS_S = 1.5  # for which runs that have ended are watched: longer than the orchestrator waits to look for work
NEEDS = (Capability.PROCESS_CONTROL,)
ONCE = "one terminal state each, each step's effect once"


def _staggered(maestro: Maestro, pause_s: float) -> list[Watched]:
    """Runs of which, for about a pause from now on, one has no step done, one has one, one two, and one all three."""
    ended = maestro.launch(f"ended before the crash ({pause_s:g} s)", pause_s=0)
    second = maestro.launch(f"crashed after two steps ({pause_s:g} s)", pause_s=pause_s)
    maestro.wait("before the crash", lambda: second.seen[-1].done >= 1, ENDS_S, [second])
    first = maestro.launch(f"crashed after one step ({pause_s:g} s)", pause_s=pause_s)
    reached = [(ended, len(STEPS)), (second, 2), (first, 1)]
    three = [run for run, _ in reached]
    maestro.wait("before the crash", lambda: all(run.seen[-1].done >= n for run, n in reached), ENDS_S, three)
    return [*three, maestro.launch(f"crashed before the first step ({pause_s:g} s)", pause_s=pause_s)]


def _crashed(deployment: Deployment, maestro: Maestro, chosen: list[Watched]) -> list[int]:
    """Crash and start. How many steps were done at the crash, of those runs of which it is known: they went on only
    after the start, at least a pause later."""
    maestro.look("before the crash", chosen)
    before = [run.seen[-1].done for run in chosen]
    maestro.kill()
    maestro.start(deployment.ready_limit_s[maestro.node.name], chosen)
    return [done for done, run in zip(before, chosen, strict=True) if run.seen[-1].done == done]


def _judged(deployment: Deployment, evidence: Evidence, maestro: Maestro) -> list[str]:
    """Wait for the ends, watch that they last, and judge every run."""
    took_s = maestro.wait_ended("afterwards", ENDS_S)
    ended_s = wait_until(lambda: False, STAYS_S)
    maestro.look(f"{ended_s:.1f} s after they had ended")
    maestro.collect()
    evidence.add("ended_after_s", round(took_s, 2))
    evidence.add("runs", {run.label: run.told() for run in maestro.runs})
    return [problem for run in maestro.runs for problem in judge_run(run)]


@requirement("FUN-15", needs=NEEDS)
def test_a_crash_between_any_two_steps_is_survived(deployment: Deployment, evidence: Evidence) -> None:
    """One crash falls before the first step of a run, between the steps of two others, and after the last step of a
    fourth; one was aborted before the crash, and one is aborted just after the start."""
    maestro = Maestro(deployment.subject)
    placed: list[int] = []
    early = maestro.launch("aborted before the crash", "ABORTED", pause_s=5)
    assert maestro.abort(early) is None, "abortRun of a run that waits is refused"
    with healed_after(deployment):
        for pause_s in PAUSES_S:
            chosen = _staggered(maestro, pause_s)
            aborted = maestro.launch(f"aborted after the crash ({pause_s:g} s)", "ABORTED", pause_s=5)
            placed += _crashed(deployment, maestro, chosen)
            refused = maestro.abort(aborted)
            assert refused is None, f"abortRun of a run that waits, after the start: {refused}"
            if set(placed) >= set(range(len(STEPS) + 1)):
                break
        problems = _judged(deployment, evidence, maestro)
        problems += _abort_again(maestro, [early, aborted, chosen[0]])
    evidence.add("steps done when a crash fell", placed)
    if not problems:
        judge_boundaries(placed)
    conclude(evidence, problems, ONCE, f"{len(maestro.runs)} runs, crashed after {sorted(set(placed))} steps")


def _abort_again(maestro: Maestro, ended: list[Watched]) -> list[str]:
    """A run that has ended is not aborted, nor again."""
    answers = {run.label: maestro.abort(run) for run in ended}
    return [
        f"{label}: abortRun answers {code or 'as if it went on'}"
        for label, code in answers.items()
        if code != "CONFLICT"
    ]


def _each_boundary(deployment: Deployment, maestro: Maestro, pause_s: float) -> set[int]:
    run = maestro.launch(f"crashed after each step ({pause_s:g} s)", pause_s=pause_s)
    failing = maestro.launch(f"fails at its last step ({pause_s:g} s)", "FAILED", pause_s=pause_s, fail_at=STEPS[-1])
    fell: set[int] = set()
    for steps in range(len(STEPS)):
        maestro.wait("meanwhile", lambda n=steps: run.seen[-1].done >= n, ENDS_S, [run, failing])  # type: ignore[misc]
        fell |= set(_crashed(deployment, maestro, [run, failing]))
    return fell


@requirement("FUN-15", needs=NEEDS)
def test_a_run_is_crashed_at_each_of_its_boundaries(deployment: Deployment, evidence: Evidence) -> None:
    """The same runs are crashed after each step in turn. One succeeds; one fails at its last step, and stays failed."""
    maestro = Maestro(deployment.subject)
    fell: set[int] = set()
    with healed_after(deployment):
        for pause_s in PAUSES_S:
            fell |= _each_boundary(deployment, maestro, pause_s)
            if fell & {1, 2}:
                break
        problems = _judged(deployment, evidence, maestro)
        maestro.kill()
        maestro.start(deployment.ready_limit_s[maestro.node.name])
        wait_until(lambda: False, STAYS_S)
        maestro.look("after a crash once they had ended")
        maestro.collect()
        problems += [each for run in maestro.runs for each in judge_run(run) if each not in problems]
    evidence.add("steps done when a crash fell", sorted(fell))
    if not fell & {1, 2} and not problems:
        vacuous("no crash is known to have fallen between two steps")
    conclude(evidence, problems, ONCE, f"crashed after {sorted(fell)} steps, and after the end")


@requirement("FUN-15", needs=NEEDS)
def test_a_burst_of_runs_is_crashed_anywhere(deployment: Deployment, evidence: Evidence) -> None:
    """Many runs without a pause: the crash falls into their midst, wherever that is."""
    maestro = Maestro(deployment.subject)
    with healed_after(deployment):
        for number in range(8):
            maestro.launch(f"burst {number}", pause_s=0.05 * (number % 3))
        maestro.wait("in the burst", lambda: any(run.seen[-1].done for run in maestro.runs), ENDS_S, maestro.runs)
        open_at_crash = sum(run.state not in ("SUCCEEDED", "FAILED") for run in maestro.runs)
        maestro.kill()
        maestro.start(deployment.ready_limit_s[maestro.node.name])
        problems = _judged(deployment, evidence, maestro)
    evidence.add("runs not seen to end before the crash", open_at_crash)
    conclude(evidence, problems, ONCE, f"{len(maestro.runs)} runs, {open_at_crash} of them open when the crash fell")
