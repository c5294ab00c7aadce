"""Maestro: what is scheduled waits for the node's own clock, and a run that fails leaves no step open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from nodes import node_config

from environments.companyos import clock, graphql_api, maestro
from environments.companyos.apps import build_services
from environments.companyos.install import install
from environments.companyos.operations import Context
from environments.companyos.services import Principal, Services

NOON_S = 1_800_000_000.0
LAUNCH = 'mutation($input: JSON, $at: DateTime) { launchRun(runbook: "enrich", input: $input, startAt: $at) { %s } }'
RUN = "id state startAt steps { state effect }"


@pytest.fixture
def services(tmp_path: Path) -> Services:
    config = node_config(tmp_path, "D", "edge", clock_file=str(tmp_path / "clock"))
    install(config)
    (tmp_path / "clock").write_text(str(NOON_S))
    return build_services(config, "edge")


def ask(services: Services, query: str, **variables: Any) -> Any:
    context = Context(services, Principal("ann", "acme", ("analyst",), 0.0))
    return graphql_api.answer(context, {"query": query, "variables": variables})


def launch(services: Services, at: str | None, **given: Any) -> Any:
    return ask(services, LAUNCH % RUN, input=given, at=at)["data"]["launchRun"]


def code(answer: Any) -> str | None:
    return answer["errors"][0]["extensions"]["code"] if "errors" in answer else None


def at(services: Services, seconds: float) -> None:
    assert services.clock.file is not None
    services.clock.file.write_text(str(NOON_S + seconds))


def settle(services: Services, worker: maestro.Worker) -> None:
    for _ in range(8):
        worker.round()


def state(services: Services, run: Any) -> str:
    return str(ask(services, f'{{ run(id: "{run["id"]}") {{ state }} }}')["data"]["run"]["state"])


def test_a_scheduled_run_waits_for_the_clock_whichever_worker_looks(services: Services) -> None:
    due = clock.stamp(NOON_S + 10)
    run, other = launch(services, due, pause_s=0), launch(services, None, pause_s=0)
    assert (run["state"], run["startAt"], other["startAt"]) == ("QUEUED", due, None)
    settle(services, maestro.Worker(services))
    assert (state(services, run), state(services, other)) == ("QUEUED", "SUCCEEDED")
    at(services, 9.9)
    settle(services, maestro.Worker(services))
    assert state(services, run) == "QUEUED"
    at(services, 10)
    settle(services, maestro.Worker(services))  # another one: the schedule is in the database
    assert state(services, run) == "SUCCEEDED"


def test_what_was_missed_is_due_and_what_is_far_holds_up_nothing(services: Services) -> None:
    for _ in range(60):  # more than the orchestrator looks at in one round
        launch(services, "2999-01-01T00:00:00Z", pause_s=0)
    missed = launch(services, "0999-01-01T00:00:00Z", pause_s=0)
    settle(services, maestro.Worker(services))
    assert state(services, missed) == "SUCCEEDED"
    assert services.store.queued_runs(services.clock.stamp()) == []
    assert len(services.store.queued_runs("9999", limit=100)) == 60


def test_an_aborted_schedule_never_runs(services: Services) -> None:
    run = launch(services, clock.stamp(NOON_S + 1))
    assert code(ask(services, f'mutation {{ abortRun(id: "{run["id"]}") {{ state }} }}')) is None
    at(services, 100)
    settle(services, maestro.Worker(services))
    assert state(services, run) == "ABORTED" and not services.store.queued_runs("9999")


@pytest.mark.parametrize("bad", ["", "now", "2030-01-01", "2030-01-01T00:00:00", "2030-02-30T00:00:00Z", 5, True])
def test_a_time_that_is_none_is_refused(services: Services, bad: Any) -> None:
    assert code(ask(services, LAUNCH % "id", input={}, at=bad)) == "INVALID"
    assert code(ask(services, LAUNCH % "id", input={"startAt": "2030-01-01T00:00:00Z"})) == "INVALID"
    assert ask(services, "{ runs { id } }")["data"]["runs"] == []


@pytest.mark.parametrize(("fails", "states"), [("collect", "FAA"), ("score", "SFA"), ("publish", "SSF")])
def test_a_run_that_fails_leaves_no_step_open(services: Services, fails: str, states: str) -> None:
    run = launch(services, None, pause_s=0, fail_at=fails)
    settle(services, maestro.Worker(services))
    found = ask(services, f'{{ run(id: "{run["id"]}") {{ {RUN} }} }}')["data"]["run"]
    assert found["state"] == "FAILED" and "".join(step["state"][0] for step in found["steps"]) == states
    effects = ask(services, '{ entities(kind: "RunEffect") { id } }')["data"]["entities"]
    made = {step["effect"] for step in found["steps"] if step["effect"]}
    assert {each["id"] for each in effects} == made and len(effects) == len(made)
