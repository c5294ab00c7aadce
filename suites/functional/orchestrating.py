"""FUN-15, FUN-08: launch runs at a node, look at them again and again, and collect what they left."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from environments.contract import Client, Node, TransportError
from suites import feed
from suites.exchange import ask, document, signed_in
from suites.functional.runs import TERMINAL, Watched, seen
from suites.product import literal
from suites.waiting import wait_until

RUN = "id state steps { name state effect }"
EFFECT = "id kind props createdAt"
PAGE = 1000


class Maestro:
    """The node whose service runs Maestro, as an analyst of one tenant sees it. Signs in again after a crash."""

    def __init__(self, node: Node, tenant: str | None = None) -> None:
        self.node, self.tenant = node, tenant
        self.service = "edge" if "edge" in node.services else "data"
        self.client: Client = signed_in(node, "analyst", tenant)
        self.since = feed.read(self.client).end
        self.runs: list[Watched] = []

    # what happens

    def launch(self, label: str, wanted: str = "SUCCEEDED", start_at: str | None = None, **given: Any) -> Watched:
        more = "" if start_at is None else f", startAt: {literal(start_at)}"
        query = f'mutation {{ launchRun(runbook: "enrich", input: {literal(given)}{more}) {{ {RUN} }} }}'
        answer = ask(self.client, query, what=f"launchRun ({label})")["launchRun"]
        run = Watched(label, answer["id"], wanted, [seen("launched", answer)])
        self.runs.append(run)
        return run

    def abort(self, run: Watched) -> str | None:
        """The code of the refusal; None if it was aborted."""
        answer = self.client.graphql(f"mutation {{ abortRun(id: {literal(run.id)}) {{ {RUN} }} }}")
        if answer.error_code is None:
            run.seen.append(seen("aborted", document(answer)["data"]["abortRun"]))
        return answer.error_code

    def kill(self) -> None:
        self.node.kill(self.service)
        try:
            self.client.graphql("{ __typename }", timeout_s=1.0)
        except TransportError:
            return
        raise AssertionError(f"{self.node.name}/{self.service} answers after it was killed: nothing crashed")

    def start(self, ready_s: float, runs: Iterable[Watched] = ()) -> None:
        """Start after a crash. `runs` are looked at as soon as the API answers: they go on a pause after the start,
        and all that readiness asks for may take longer."""
        self.node.start(self.service)
        wait_until(self._answers, ready_s)
        if chosen := list(runs):
            self.look("after the crash", chosen)
        self.node.wait_ready(ready_s)
        self.client = signed_in(self.node, "analyst", self.tenant)

    def _answers(self) -> bool:
        try:
            answer = self.client.graphql("{ me { sub } }", timeout_s=2.0)
        except TransportError:
            return False
        return answer.status == 200 and answer.error_code is None

    # what is seen

    def look(self, when: str, runs: Iterable[Watched] | None = None) -> None:
        """One look at each, in one request."""
        chosen = list(self.runs if runs is None else runs)
        fields = " ".join(f"r{n}: run(id: {literal(run.id)}) {{ {RUN} }}" for n, run in enumerate(chosen))
        found = ask(self.client, f"{{ {fields} }}", what=f"runs {when}")
        for n, run in enumerate(chosen):
            assert found[f"r{n}"] is not None, f"{run.label}: run {run.id} is gone {when}"
            run.seen.append(seen(when, found[f"r{n}"]))

    def wait(self, when: str, condition: Callable[[], bool], limit_s: float, runs: Iterable[Watched]) -> float:
        """Look at them until the condition holds. Seconds it took; more than the limit if it never did."""
        chosen = list(runs)

        def holds() -> bool:
            self.look(when, chosen)
            return condition()

        return wait_until(holds, limit_s)

    def wait_ended(self, when: str, limit_s: float, runs: Iterable[Watched] | None = None) -> float:
        chosen = list(self.runs if runs is None else runs)
        return self.wait(when, lambda: all(run.state in TERMINAL for run in chosen), limit_s, chosen)

    def effects_of(self, run: Watched) -> list[dict[str, Any]]:
        """Entities of kind RunEffect that name the run: the search is for its id, which nothing else has."""
        found = ask(self.client, f"{{ searchEntities(text: {literal(run.id)}, limit: {PAGE}) {{ {EFFECT} }} }}")
        return [each for each in found["searchEntities"] if each["kind"] == "RunEffect"]

    def collect(self, runs: Iterable[Watched] | None = None) -> None:
        """Effects and events of the runs, as they are now."""
        events = self.events()
        for run in self.runs if runs is None else runs:
            run.effects = list(self.effects_of(run))
            of_run = {run.id, *(str(effect["id"]) for effect in run.effects)}
            run.events = [(str(event["type"]), str(event["id"])) for event in events if event["id"] in of_run]

    def events(self) -> list[dict[str, Any]]:
        """Those of the tenant since this was made."""
        return feed.read(self.client, self.since).events
