"""The component matrix of the strategy document (section 5), as what must be absent, and how absence shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from environments.contract import vacuous

# component -> modes that have it
MATRIX: Mapping[str, frozenset[str]] = {
    "postgres": frozenset({"A", "B", "Ct", "Ca"}),
    "sqlite": frozenset({"D"}),
    "graph": frozenset({"A", "B", "Ct", "Ca", "D"}),
    "policy": frozenset({"A", "B", "Ct", "Ca", "D"}),
    "maestro": frozenset({"A", "B", "Ct", "Ca", "D"}),
    "billing": frozenset({"A", "B"}),
    "directory": frozenset({"A", "B"}),
}
# paths of components that are for A and B alone
HOSTED_PATHS = ("/v1/billing/usage", "/v1/billing/stripe-webhook", "/v1/directory/users")
# marks of those components in configuration, release and log files
HOSTED_MARKS = (b"sk_live_", b"sk_test_", b"rk_live_", b"whsec_", b"api.stripe.com", b"hooks.stripe.com")
NEO4J_PORTS = frozenset({7473, 7474, 7687})
NEO4J_MARKS = (b"bolt://", b"neo4j://", b"neo4j+s://")
POSTGRES_PORT = 5432


@dataclass(frozen=True)
class Observed:
    """What was seen of one node. paths: path -> status; ports: listening; marks: file -> marks found in it; own_port:
    the one that it answers at; own_files: those that name the node, as its configuration does."""

    mode: str
    claims: Mapping[str, Any]  # `components` of discovery
    paths: Mapping[str, int]
    ports: Sequence[int]
    marks: Mapping[str, Sequence[str]]
    files_read: int
    own_port: int
    own_files: int


def marks_in(content: bytes, mode: str) -> list[str]:
    wanted = HOSTED_MARKS + (NEO4J_MARKS if mode == "D" else ())
    return [mark.decode() for mark in wanted if mark in content]


def judge_components(seen: Observed) -> list[str]:
    """Endpoints, ports, secrets and claims of components that the mode must not have; and the ones it must."""
    if not seen.paths or not seen.claims or not seen.ports or not seen.files_read:
        vacuous("no path, claim, port or file was looked at")
    if seen.own_port not in seen.ports:
        vacuous(f"port {seen.own_port} answers and is not among those that listen: the others would not be seen either")
    if not seen.own_files:
        vacuous(f"none of the {seen.files_read} files that were read names the node: its configuration was not read")
    problems = []
    for component, modes in MATRIX.items():
        claimed = bool((seen.claims.get(component) or {}).get("present"))
        if claimed != (seen.mode in modes):
            problems.append(f"discovery says {component} is {'present' if claimed else 'absent'} in mode {seen.mode}")
    if seen.mode not in MATRIX["billing"]:
        problems += [f"{path} answers {status}, not 404" for path, status in seen.paths.items() if status != 404]
    problems += [f"{file} holds {mark}" for file, marks in seen.marks.items() for mark in marks]
    if seen.mode == "D":
        kind = str((seen.claims.get("graph") or {}).get("kind", ""))
        problems += [f"graph is {kind} on an edge node"] if "neo4j" in kind.lower() else []
        problems += [f"port {port} of Neo4j listens on an edge node" for port in seen.ports if port in NEO4J_PORTS]
        problems += ["PostgreSQL listens on an edge node"] if POSTGRES_PORT in seen.ports else []
    return problems
