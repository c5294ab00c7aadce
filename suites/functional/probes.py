"""FUN-11: one probe per claim that discovery can make. A claim without a probe is a problem, not a pass."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any

from environments.contract import Client, Node, Response, vacuous
from environments.contract.exchanges import named
from suites.exchange import ask, document
from suites.product import literal
from suites.waiting import wait_until

BEHIND_S = 10.0  # for which a part may say so


class Probing:
    """Clients that the probes use, and one entity to look at."""

    def __init__(self, node: Node, viewer: Client, analyst: Client, admin: Client, operator: Client) -> None:
        self.node, self.viewer, self.analyst, self.admin, self.operator = node, viewer, analyst, admin, operator
        self.mark = f"probe-{uuid.uuid4().hex}"
        query = f"mutation {{ createEntity(input: {{kind: {literal(self.mark)}}}) {{ id }} }}"
        self.entity: str = ask(analyst, query, what="createEntity")["createEntity"]["id"]

    def served(self, query: str) -> bool:
        """Whether it is, once the node does not say UNAVAILABLE: a graph may be behind what was just written."""
        answers = [self.analyst.graphql(query)]

        def told() -> bool:
            if answers[-1].error_code == "UNAVAILABLE":
                answers.append(self.analyst.graphql(query))
            return answers[-1].error_code != "UNAVAILABLE"

        wait_until(told, BEHIND_S)
        answer = answers[-1]
        body = document(answer)
        data = body.get("data")
        return answer.status == 200 and not body.get("errors") and isinstance(data, dict) and None not in data.values()


def _refused_as_absent(answer: Response) -> bool:
    """The path is there: whatever it says, it is neither 404 nor absent in this mode."""
    return answer.status not in {404, 405, 500} and answer.error_code not in {
        "UNSUPPORTED_IN_MODE",
        "CAPABILITY_ABSENT",
        "NOT_FOUND",
    }


def _hosted(path: str) -> Callable[[Probing], bool]:
    def probe(p: Probing) -> bool:
        try:
            base = p.node.url("control")
        except KeyError:
            base = p.node.url("admin")
        answer = p.node.http().request("GET", base + path, headers={"Authorization": f"Bearer {p.admin.token}"})
        return answer.status == 200

    return probe


def _runs(p: Probing) -> bool:
    return p.served('mutation { launchRun(runbook: "enrich") { id } }')


def _graph(p: Probing) -> bool:
    return p.served(f'{{ graphNeighborhood(startEntityId: "{p.entity}") {{ entities {{ id }} }} }}')


def _policy(p: Probing) -> bool:
    """A policy that decides: it lets a viewer read and not write."""
    write = 'mutation { createEntity(input: {kind: "policy-probe"}) { id } }'
    reads = p.viewer.graphql("{ entities(limit: 1) { id } }")
    return reads.error_code is None and p.viewer.graphql(write).error_code == "FORBIDDEN"


def _inference(p: Probing) -> bool:
    messages = [{"role": "user", "content": "say ok"}]
    return (
        p.analyst.data(
            "POST", "/v1/chat/completions", json={"messages": messages, "max_tokens": 4}, timeout_s=60
        ).status
        == 200
    )


def _database(service: bool) -> Callable[[Probing], bool]:
    """PostgreSQL is a service that was deployed with the node; without one the database is the node's own file."""
    return lambda p: ("postgres" in p.node.services) == service


CAPABILITIES: Mapping[str, Callable[[Probing], bool]] = {
    "graphql": lambda p: p.served("{ __typename }"),
    "graph": _graph,
    "search": lambda p: p.served(f'{{ searchEntities(text: "{p.mark}") {{ id }} }}'),
    "events": lambda p: p.analyst.data("GET", "/v1/events?after=0").status == 200,
    "runs": _runs,
    "policy": _policy,
    "sync": lambda p: p.operator.admin("GET", "/v1/sync").status == 200,
    "investigations": lambda p: p.served("{ investigations { id } }"),
    "sync-receiver": lambda p: _refused_as_absent(
        p.analyst.data("POST", "/v1/sync/batches", json={"node_id": "probe", "first_seq": 1, "ops": []})
    ),
    "export": lambda p: p.admin.data("POST", "/v1/export", timeout_s=60).status == 200,
    "import": lambda p: _refused_as_absent(p.operator.data("POST", "/v1/import", body=b"no tar")),
    "billing": _hosted("/v1/billing/usage"),
    "directory": _hosted("/v1/directory/users"),
    "licence": lambda p: p.operator.admin("GET", "/v1/licence").status == 200,
    "bundle": lambda p: (
        p.operator.admin("GET", "/v1/bundle").status in {200, 404}
        and _refused_as_absent(p.operator.admin("PUT", "/v1/bundle", body=b"no tar"))
    ),
    "inference": _inference,
}
COMPONENTS: Mapping[str, Callable[[Probing], bool]] = {
    "postgres": _database(True),
    "sqlite": _database(False),
    "graph": _graph,
    "policy": _policy,
    "maestro": _runs,
    "inference": _inference,
    "billing": _hosted("/v1/billing/usage"),
    "directory": _hosted("/v1/directory/users"),
}


def judge_claims(claimed: Mapping[str, bool], probed: Mapping[str, bool]) -> list[str]:
    """`claimed` and `probed`: claim -> true or false. Both ways: what is claimed works, what works is claimed."""
    if not claimed or not any(claimed.values()):
        vacuous("discovery claims nothing")
    problems = [
        f"{name} is claimed and has no probe" for name, value in claimed.items() if value and name not in probed
    ]
    problems += [f"{n} is claimed and its probe fails" for n, v in claimed.items() if v and not probed.get(n, True)]
    return problems + [f"{n} works and is not claimed" for n, v in probed.items() if v and not claimed.get(n, False)]


def results(probing: Probing, probes: Mapping[str, Callable[[Probing], bool]]) -> dict[str, bool]:
    found = {}
    for name, probe in probes.items():
        with named(f"{name} "):  # a problem begins with the name of the claim
            found[name] = probe(probing)
    return found


def limits_hold(probing: Probing, limits: Mapping[str, Any]) -> list[str]:
    """The limits are those that are enforced: at the limit served, beyond it refused as INVALID."""
    problems = []
    walk = f'{{ graphNeighborhood(startEntityId: "{probing.entity}", maxDepth: %d) {{ truncated }} }}'
    for name, query in (("page_size", "{ entities(limit: %d) { id } }"), ("max_depth", walk)):
        at = probing.analyst.graphql(query % int(limits[name]))
        beyond = probing.analyst.graphql(query % (int(limits[name]) + 1))
        if at.error_code is not None:
            problems.append(f"{name} {limits[name]} is refused: {at.error_code}")
        if beyond.error_code != "INVALID":
            problems.append(
                f"{name} {int(limits[name]) + 1} is answered {beyond.status} {beyond.error_code}, not INVALID"
            )
    return problems
