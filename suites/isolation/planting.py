"""A tenant with something of every type, its canary in every place that keeps text, and every way to look for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from environments.contract import Client, Node, Response, TransportError
from suites.exchange import assert_no_crash
from suites.isolation.artefacts import Artefact, get, make
from suites.product import (
    ENTITY,
    INVESTIGATION,
    RELATIONSHIP,
    RUN,
    create_entity,
    create_investigation,
    create_relationship,
    launch_run,
    literal,
)


@dataclass(frozen=True)
class Filled:
    """What one tenant has. `ids` by type."""

    tenant: str
    canary: str
    ids: Mapping[str, str]
    artefact: Artefact


def fill(client: Client, tenant: str, canary: str) -> Filled:
    """One object of each type at least, each with the canary wherever it keeps text, and an artefact named after it."""
    props = {"note": canary, "nested": {"list": [canary]}, canary.replace("-", "_"): True}
    one = create_entity(client, f"kind {canary}", props, labels=[canary])
    two = create_entity(client, f"kind {canary}", props, labels=[f"label {canary}"])
    edge = create_relationship(client, one["id"], two["id"], f"type {canary}", props)
    case = create_investigation(client, f"case {canary}", description=f"about {canary}", entityIds=[one["id"]])
    run = launch_run(client, {"canary": canary, "nested": {"canary": canary}})
    artefact = make(client, tenant, canary, f"{canary}.tar")
    ids = {"entity": one["id"], "relationship": edge["id"], "investigation": case["id"], "run": run["id"]}
    return Filled(tenant, canary, ids, artefact)


def _queries(filled: Filled) -> dict[str, str]:
    entity, relationship, investigation, run = (
        literal(filled.ids[type_]) for type_ in ("entity", "relationship", "investigation", "run")
    )
    kind, text = literal(f"kind {filled.canary}"), literal(filled.canary)
    around = f"entities {{ {ENTITY} }} relationships {{ {RELATIONSHIP} }}"
    return {
        "entity": f"{{ entity(id: {entity}) {{ {ENTITY} }} }}",
        "entities": f"{{ entities(limit: 1000) {{ {ENTITY} }} }}",
        "entities of the kind": f"{{ entities(kind: {kind}, limit: 1000) {{ {ENTITY} }} }}",
        "search": f"{{ searchEntities(text: {text}, limit: 1000) {{ {ENTITY} }} }}",
        "relationship": f"{{ relationship(id: {relationship}) {{ {RELATIONSHIP} }} }}",
        "relationships": f"{{ relationships {{ {RELATIONSHIP} }} }}",
        "graph": f"{{ graphNeighborhood(startEntityId: {entity}) {{ {around} }} }}",
        "investigation": f"{{ investigation(id: {investigation}) {{ {INVESTIGATION} }} }}",
        "investigations": f"{{ investigations {{ {INVESTIGATION} }} }}",
        "run": f"{{ run(id: {run}) {{ {RUN} }} }}",
        "runs": f"{{ runs {{ {RUN} }} }}",
    }


def views(client: Client, filled: Filled) -> dict[str, Response]:
    """Everything that a tenant's administrator can look at, with what was the tenant's to look for."""
    answers = {name: client.graphql(query) for name, query in _queries(filled).items()}
    answers |= {
        "events": client.data("GET", "/v1/events?after=0"),
        "export": client.data("POST", "/v1/export", timeout_s=60),
        "support bundle": client.data("POST", "/v1/support-bundle", timeout_s=60),
        "export job": client.data("GET", f"/v1/exports/{filled.artefact.key.partition('/')[0]}"),
        "address": client.data("POST", "/v1/objects/sign", json={"key": filled.artefact.key}),
        "usage": client.control("GET", "/v1/billing/usage"),
        "directory": client.control("GET", "/v1/directory/users"),
    }
    for name, answer in answers.items():
        assert_no_crash(answer, name)
    return answers


def artefact_now(node: Node, filled: Filled) -> Response | TransportError:
    """What the address that was signed long ago serves to whoever kept it."""
    return get(node, filled.artefact.url)


def marks(filled: Filled) -> dict[str, str]:
    """What a view of the tenant's objects shows at least one of."""
    return {"the canary": filled.canary, **{f"the id of its {type_}": id_ for type_, id_ in filled.ids.items()}}
