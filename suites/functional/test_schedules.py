"""FUN-08: the local agent does what is scheduled while it is cut off, and nothing twice when it is not any more."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

import pytest

from environments.contract import Capability, Deployment, Evidence, Node, requirement, untestable, vacuous
from suites.exchange import ask, assert_refused, conclude, document, healed_after, signed_in
from suites.functional.orchestrating import Maestro
from suites.functional.runs import TERMINAL, Arrived, Scheduled, Watched, judge_arrived, judge_run, judge_schedule
from suites.product import literal
from suites.waiting import wait_until

ENDS_S = 30.0  # for local work that is due to end
ARRIVES_S = 30.0  # for its effects to be at the parent after the heal; a dozen small operations
STAYS_S = 2.0  # for which everything is watched once it has ended
KNOWN_S = 15.0  # for an attempt to reach the parent to fail; the verdict does not rest on it
LATER_S = 4.0  # until what is due after the heal; a slow host heals later, and it is judged alike
INDIA = timezone(timedelta(hours=5, minutes=30))
NEEDS = (Capability.LINK_CUTS, Capability.PROCESS_CONTROL)


class Agenda:
    """Runs scheduled at one moment of the node's clock."""

    def __init__(self, maestro: Maestro) -> None:
        self.maestro = maestro
        made = ask(maestro.client, 'mutation { createEntity(input: {kind: "agenda"}) { createdAt } }')["createEntity"]
        self.now = datetime.fromisoformat(made["createdAt"])
        self.real_s = time.monotonic()
        self.runs: list[Scheduled] = []

    def add(
        self, label: str, in_s: float, wanted: str = "SUCCEEDED", zone: timezone | None = None, **given: float
    ) -> Watched:
        due = self.now + timedelta(seconds=in_s)
        run = self.maestro.launch(label, wanted, due.astimezone(zone).isoformat(timespec="milliseconds"), **given)
        self.runs.append(Scheduled(run, due))
        return run

    def wait(self, in_s: float) -> None:
        wait_until(lambda: time.monotonic() - self.real_s > in_s, in_s + 1)


def _due_while_cut_off(agenda: Agenda) -> list[Watched]:
    aborted = agenda.add("aborted before it is due", 2.5, "ABORTED", pause_s=0)
    refused = agenda.maestro.abort(aborted)
    assert refused is None, f"abortRun of a run that is scheduled: {refused}"
    return [
        agenda.add("due in the past", -3600.0, pause_s=0),
        agenda.add("due during the cut", 0.5, pause_s=0),
        agenda.add("due during the cut, told in another zone", 1.0, zone=INDIA, pause_s=0),
        agenda.add("in its midst when the agent crashes", 0.0, pause_s=1.0),
        agenda.add("due while the agent is down", 3.0, pause_s=0),
        agenda.add("due after the crash", 5.0, pause_s=0.2),
    ]


def _due_later(agenda: Agenda) -> list[Watched]:
    now_s = time.monotonic() - agenda.real_s
    return [
        agenda.add("due after the heal", now_s + LATER_S, pause_s=0),
        agenda.add("in its midst at the heal", now_s, pause_s=LATER_S / 3),
    ]


def _parent(deployment: Deployment) -> Node:
    if deployment.parent is None:
        untestable("a parent: the edge of this deployment has nothing to reconnect to")
    return deployment.parent


def _crash(deployment: Deployment, agenda: Agenda) -> None:
    """Down when something is due, and up again: all of it while cut off."""
    maestro = agenda.maestro
    agenda.wait(1.6)
    maestro.look("before the crash")
    maestro.kill()
    agenda.wait(3.2)
    maestro.start(deployment.ready_limit_s[maestro.node.name])
    _wait_known(maestro)


def _wait_known(maestro: Maestro) -> None:
    """Until the edge has found out that its parent does not answer: only then can it act upon that."""
    operator = maestro.node.login(maestro.node.user("operator"))
    ask(maestro.client, 'mutation { createEntity(input: {kind: "agenda"}) { id } }', what="something to send")
    wait_until(lambda: document(operator.admin("GET", "/v1/sync"))["last_error"] is not None, KNOWN_S)


@requirement("FUN-08", needs=NEEDS)
def test_scheduled_work_is_done_while_cut_off_and_once(deployment: Deployment, evidence: Evidence) -> None:
    """Runs are scheduled while the edge is cut off: due at once, during the cut, while the agent is down, after the
    heal, tomorrow. What is due is done before the heal; afterwards edge and parent have the same effects, each once."""
    node, parent = deployment.subject, _parent(deployment)
    tenant = signed_in(node).user.tenant  # type: ignore[union-attr]
    maestro, above = Maestro(node, tenant), Maestro(parent, tenant)
    with healed_after(deployment):
        control = maestro.launch("control, before the cut", pause_s=0)
        maestro.wait_ended("before the cut", ENDS_S)
        wait_until(lambda: len(above.effects_of(control)) == 3, ARRIVES_S)
        deployment.links.cut(node.site, parent.site)
        _wait_known(maestro)
        agenda = Agenda(maestro)
        tomorrow = agenda.add("due tomorrow", 86400.0, "ABORTED", pause_s=0)
        during = _due_while_cut_off(agenda)
        _crash(deployment, agenda)
        during.append(maestro.launch("launched after the crash", pause_s=0))
        later = _due_later(agenda)
        maestro.wait_ended("while cut off", ENDS_S, during)
        unended = [
            f"{run.label}: not ended before the heal: {run.state}" for run in during if run.state not in TERMINAL
        ]
        early = [run.label for run in during if above.effects_of(run)]
        deployment.links.heal()
        maestro.wait_ended("after the heal", ENDS_S, later)
        refused = maestro.abort(tomorrow)
        assert refused is None, f"abortRun of a run that is due tomorrow: {refused}"
        took_s = wait_until(lambda: _same(maestro, above), ARRIVES_S)
        wait_until(lambda: False, STAYS_S)
        maestro.look("at last")
        maestro.collect()
        arrived = _arrived(maestro, above)
    evidence.add("runs", {run.label: run.told() for run in maestro.runs})
    evidence.add("effects at the parent", {each.run.label: [e["id"] for e in each.effects] for each in arrived})
    evidence.add("all at the parent after_s", round(took_s, 2))
    if early or not arrived[0].effects:
        vacuous(f"the cut was none, or nothing arrives at all: {early or 'the control has no effect at the parent'}")
    problems = [*unended, *(problem for run in maestro.runs for problem in judge_run(run))]
    problems += judge_schedule(agenda.runs) + judge_arrived(arrived)
    conclude(
        evidence,
        problems,
        "each effect once at the edge and at the parent, none early",
        f"{len(maestro.runs)} runs, {len(during)} of them done while cut off",
    )


def _same(maestro: Maestro, above: Maestro) -> bool:
    return all(len(above.effects_of(run)) >= len(maestro.effects_of(run)) for run in maestro.runs)


def _arrived(maestro: Maestro, above: Maestro) -> Sequence[Arrived]:
    events = [str(event["id"]) for event in above.events()]
    return [Arrived(run, above.effects_of(run), events) for run in maestro.runs]


@requirement("FUN-08")
@pytest.mark.parametrize(
    "start_at",
    ["tomorrow", "2026-13-01T00:00:00Z", "2030-01-01T00:00:00", "2030-01-01", "", "0001-01-01T00:00:00+23:00"],
)
def test_a_time_that_is_none_schedules_nothing(deployment: Deployment, evidence: Evidence, start_at: str) -> None:
    """A time without an offset, or that is no time, is refused as INVALID: no agent may guess when work is due."""
    client = signed_in(deployment.subject, "analyst")
    before = ask(client, "{ runs { id } }")["runs"]
    answer = client.graphql(f'mutation {{ launchRun(runbook: "enrich", startAt: {literal(start_at)}) {{ id }} }}')
    assert_refused(answer, 200, "INVALID", f"launchRun with startAt {start_at!r}")
    good = client.graphql(
        'mutation { launchRun(runbook: "enrich", startAt: "2999-01-01t01:00:00.5-01:00") { id startAt } }'
    )
    made = document(good)["data"]["launchRun"]
    ask(
        client, f"mutation {{ abortRun(id: {literal(made['id'])}) {{ state }} }}", what="abortRun of what was scheduled"
    )
    after = ask(client, "{ runs { id } }")["runs"]
    evidence.add("control", made)
    problems = (
        []
        if len(after) == len(before) + 1
        else [f"{len(before)} runs before, {len(after)} after a refusal and a control"]
    )
    if made["startAt"] != "2999-01-01T02:00:00.500000Z":
        problems.append(f"startAt is told as {made['startAt']}, not in UTC")
    conclude(evidence, problems, "INVALID, nothing scheduled", f"{start_at!r} refused, the control scheduled")
