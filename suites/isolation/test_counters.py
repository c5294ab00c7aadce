"""ISO-13: ids and numbers tell a tenant nothing of how much another one does, or when."""

from __future__ import annotations

from collections.abc import Mapping

from environments.contract import Client, Deployment, Evidence, Response, requirement
from suites import feed
from suites.exchange import ask, conclude, data_of
from suites.isolation.counting import Step, judge_volume
from suites.isolation.parties import Party, parties
from suites.product import create_investigation, create_relationship, entity, launch_run, literal
from suites.waiting import wait_until

BUSY = 30
RUN_S = 20.0
ENDS = {"SUCCEEDED", "FAILED", "ABORTED"}
IGNORED_HEADERS = {"date", "content-length", "age", "retry-after"}


def _numbers_of(headers: Mapping[str, str]) -> dict[str, int]:
    """Numbers in headers, a request number for instance."""
    return {
        f"header {name.lower()}": int(value)
        for name, value in headers.items()
        if name.lower() not in IGNORED_HEADERS and value.isascii() and value.isdigit() and len(value) < 18
    }


def _events(client: Client) -> dict[str, int]:
    """The number of the newest own event, and the one to ask after."""
    found = feed.read(client)
    return {"event number": found.end} | _numbers_of(found.answer.headers)


def _look(party: Party) -> tuple[dict[str, str], dict[str, int]]:
    """Make one object of each type: their ids, and every number that is shown meanwhile."""
    one, two = party.entity("counted"), party.entity("counted")
    ids = {
        "entity id": two,
        "relationship id": create_relationship(party.client, one, two, "then")["id"],
        "investigation id": create_investigation(party.client, f"counted {party.entity('counted')}")["id"],
        "run id": launch_run(party.client, {"pause_s": 0})["id"],
    }
    made: Response = party.client.graphql('mutation { createEntity(input: {kind: "counted"}) { version } }')
    numbers = {"version": int(data_of(made, "createEntity")["createEntity"]["version"])} | _numbers_of(made.headers)
    return ids, numbers


def _ended(party: Party, run: str) -> None:
    query = f"{{ run(id: {literal(run)}) {{ state }} }}"
    waited_s = wait_until(lambda: ask(party.client, query)["run"]["state"] in ENDS, RUN_S)
    assert waited_s <= RUN_S, f"the run {run} of {party.tenant} did not end in {RUN_S:g} s"


@requirement("ISO-13")
def test_ids_and_numbers_do_not_follow_another_tenant(deployment: Deployment, evidence: Evidence) -> None:
    """Tenant one makes objects before and after tenant two makes none or thirty: ids are not near each other, and no
    number moves further when tenant two was busy."""
    one, two = parties(deployment.subject, "counted")
    steps = []
    for foreign in (0, BUSY, 0, BUSY):
        ids_before, numbers_before = _look(one)
        _ended(one, ids_before["run id"])  # its events are tenant one's own
        events_before = _events(one.client)
        made = [two.entity("counted") for _ in range(foreign)]
        assert not made or two.mark in str(entity(two.client, made[-1])), f"control: {two.tenant} made nothing"
        events_after = _events(one.client)
        ids_after, numbers_after = _look(one)
        numbers_before, numbers_after = numbers_before | events_before, numbers_after | events_after
        steps.append(Step(foreign, ids_before, ids_after, numbers_before, numbers_after))
    evidence.add("ids", [[step.ids_before["entity id"], step.ids_after["entity id"]] for step in steps])
    evidence.add("numbers", [[dict(step.numbers_before), dict(step.numbers_after)] for step in steps])
    evidence.add("objects of the other tenant meanwhile", [step.foreign for step in steps])
    conclude(evidence, judge_volume(steps), "the same with and without", f"{len(steps)} steps alike, ids far apart")
