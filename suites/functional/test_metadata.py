"""FUN-06: metadata means the same on SQLite at the edge as on PostgreSQL in core."""

from __future__ import annotations

from environments.contract import Deployment, Evidence, Node, requirement, vacuous
from suites.exchange import conclude, document, signed_in
from suites.functional.replaying import Place, Replay, explore, told


def _place(node: Node) -> tuple[str, Place]:
    said = document(node.http().request("GET", node.url("data") + "/.well-known/companyos"))["components"]
    parts = {name: said.get(name, {}) for name in ("postgres", "sqlite")}
    kinds = [f"{name} {part.get('version')}" for name, part in parts.items() if part.get("present")]
    where = f"{node.name} ({', '.join(kinds)})"
    client = signed_in(node, "analyst")
    return where, lambda: Replay(where, client)


@requirement("FUN-06")
def test_metadata_means_the_same_on_every_database(deployment: Deployment, evidence: Evidence) -> None:
    """The same operations at the edge and at its parent, where it has one: types, order, case, references, uniqueness,
    null, times, numbers, Unicode and search are those of the reference, corner by corner and in generated sequences."""
    nodes = [node for node in (deployment.subject, deployment.parent) if node is not None]
    places = dict(_place(node) for node in nodes)
    problems, shortest, judged = explore(list(places.values()), deployment.seed)
    evidence.add("places", list(places))
    evidence.add("seed", deployment.seed)
    if shortest:
        evidence.add("shortest sequence that is answered differently", told(shortest))
    if not judged:
        vacuous("nothing was asked")
    conclude(evidence, problems, "the answers of the reference", f"{judged} answers alike at {' and '.join(places)}")
