"""The functional corpus that must be served with and without the control plane."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from environments.contract import Client, TransportError
from suites.exchange import ask, assert_no_crash
from suites.product import create_entity, create_relationship, entity, launch_run
from suites.tether.judges import Served
from suites.waiting import wait_until


def requests(client: Client) -> Iterator[tuple[str, Callable[[], object]]]:
    """(name, act); an act raises AssertionError or TransportError when it is not served as it should be."""
    made: dict[str, str] = {}

    def create() -> None:
        made["one"] = create_entity(client, "corpus", {"text": "needle in the haystack"})["id"]
        made["two"] = create_entity(client, "corpus", {"n": 2})["id"]

    def read() -> None:
        found = entity(client, made["one"])
        assert found is not None and found["props"]["text"] == "needle in the haystack", f"read back {found}"

    def update() -> None:
        query = "mutation($id: ID!) { updateEntity(id: $id, input: {props: {n: 3}}) { version } }"
        assert ask(client, query, {"id": made["two"]})["updateEntity"]["version"] == 2

    def relate() -> None:
        create_relationship(client, made["one"], made["two"], "CORPUS")

    def graph() -> None:
        query = "query($id: ID!) { graphNeighborhood(startEntityId: $id, maxDepth: 1) { entities { id } } }"
        found = {each["id"] for each in ask(client, query, {"id": made["one"]})["graphNeighborhood"]["entities"]}
        assert set(made.values()) <= found, f"reached {found}"

    def search() -> None:
        found = ask(client, '{ searchEntities(text: "needle in the haystack", limit: 1000) { id } }')["searchEntities"]
        assert made["one"] in {each["id"] for each in found}, "not found"

    def run() -> None:
        started = launch_run(client)
        query = "query($id: ID!) { run(id: $id) { state } }"

        def state() -> str:
            return str(ask(client, query, {"id": started["id"]})["run"]["state"])

        wait_until(lambda: state() not in ("QUEUED", "RUNNING"), 5.0)
        assert (ended := state()) == "SUCCEEDED", f"the run is {ended} after 5 s"

    def events() -> None:
        assert assert_no_crash(client.data("GET", "/v1/events?after=0"), "events").status == 200

    def delete() -> None:
        assert ask(client, "mutation($id: ID!) { deleteEntity(id: $id) }", {"id": made["two"]})["deleteEntity"] is True

    yield from (("create", create), ("read", read), ("update", update), ("relate", relate), ("graph", graph))
    yield from (("search", search), ("run", run), ("events", events), ("delete", delete))


def serve(client: Client) -> list[Served]:
    served = []
    for name, act in requests(client):
        try:
            act()
            failure = ""
        except (AssertionError, TransportError, KeyError, TypeError) as error:
            failure = f"{type(error).__name__}: {error}"
        served.append(Served(name, failure))
    return served
