"""FUN-04: the node has the components of its mode, and no trace of those it must not have."""

from __future__ import annotations

from environments.contract import Capability, Deployment, Evidence, Node, requirement
from suites.exchange import assert_no_crash, conclude, document, http_bases, signed_in, tenants
from suites.functional.components import HOSTED_PATHS, Observed, judge_components, marks_in

LIMIT_BYTES = 8 << 20


def observe(node: Node) -> Observed:
    session = node.http()
    discovery = document(session.request("GET", node.url("data") + "/.well-known/companyos"))
    clients = [signed_in(node, "admin", tenants(node)[0]), node.login(node.user("operator"))]
    paths: dict[str, int] = {}
    for base in http_bases(node).values():
        for path in HOSTED_PATHS:
            method = "POST" if path.endswith("webhook") else "GET"
            for who in (*clients, node.anonymous()):
                headers = {"Authorization": f"Bearer {who.token}"} if who.token else {}
                answer = assert_no_crash(session.request(method, base + path, headers=headers), path)
                worst = paths.get(f"{method} {base}{path}", 404)
                paths[f"{method} {base}{path}"] = answer.status if answer.status != 404 else worst
    marks: dict[str, list[str]] = {}
    read = own = 0
    for path_ in node.files():
        if path_.is_file() and path_.stat().st_size <= LIMIT_BYTES:
            read += 1
            content = path_.read_bytes()
            own += node.node_id.encode() in content
            if found := marks_in(content, node.mode.value):
                marks[str(path_)] = found
    ports = sorted({x.port for x in node.listeners()})
    port = int(node.url("data").rsplit(":", 1)[1].split("/")[0])
    return Observed(node.mode.value, discovery["components"], paths, ports, marks, read, port, own)


@requirement("FUN-04", needs=(Capability.FILE_ACCESS, Capability.LISTENERS))
def test_components_match_the_matrix(deployment: Deployment, evidence: Evidence) -> None:
    """No billing, Stripe secret or directory in C and D, no Neo4j or PostgreSQL on D; what the mode has is claimed."""
    seen = observe(deployment.subject)
    evidence.add(
        "observed", {"claims": seen.claims, "paths": seen.paths, "ports": seen.ports, "files": seen.files_read}
    )
    found = f"{len(seen.paths)} paths absent, ports {seen.ports}, {seen.files_read} files clean"
    conclude(evidence, judge_components(seen), "components of the mode alone", found)


@requirement("FUN-04")
def test_federated_components_are_not_in_the_schema(deployment: Deployment, evidence: Evidence) -> None:
    """The API of an on-prem or edge node has no operation of billing or of the global directory."""
    from suites.product import schema_of

    schema = schema_of(signed_in(deployment.subject))
    roots = [schema["types"].get(schema[kind]) or {} for kind in ("query", "mutation")]
    fields = [field["name"] for root in roots for field in root.get("fields") or []]
    assert "entity" in fields, "introspection shows no operation at all"
    words = ("billing", "stripe", "invoice", "subscriptionplan", "directory")
    problems = [f"operation {name}" for name in fields if any(word in name.lower() for word in words)]
    conclude(
        evidence, problems, "none of billing or directory", f"{len(fields)} operations, none of billing or directory"
    )
