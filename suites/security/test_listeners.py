"""SEC-03: what listens is what is declared, over IPv4 and IPv6, seen from inside and from outside."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address

from environments.contract import (
    Capability,
    Deployment,
    Evidence,
    HttpSession,
    Node,
    TransportError,
    requirement,
    untestable,
)
from suites.exchange import conclude
from suites.security.listeners import judge_listeners, judge_scan

# Ports that products of this kind open by accident: debuggers, metrics, databases, brokers, administration.
USUAL = (
    22, 80, 443, 1025, 1883, 2019, 2375, 2379, 3000, 3001, 3306, 4001, 4010, 4222, 4317, 4318, 5000, 5005, 5601, 5672,
    5678, 6060, 6379, 6831, 7473, 7474, 7687, 8000, 8080, 8081, 8125, 8181, 8222, 8443, 8888, 9000, 9090, 9092, 9100,
    9200, 9229, 9464, 11211, 11434, 15672, 16686, 27017,
)  # fmt: skip


@requirement("SEC-03", needs=(Capability.LISTENERS,))
def test_listening_sockets_are_the_declared_ones(deployment: Deployment, evidence: Evidence) -> None:
    """Every listening socket of the node's site is declared on that very address, and every declared one listens."""
    node = deployment.subject
    found = list(node.listeners())
    evidence.add("declared", [list(pair) for pair in node.declared_ports])
    evidence.add("found", [f"{x.protocol} [{x.address}]:{x.port} {x.service}" for x in found])
    conclude(
        evidence,
        judge_listeners(found, node.declared_ports),
        "found = declared",
        f"{len(found)} listeners, all declared",
    )


def _outside(deployment: Deployment, node: Node) -> HttpSession:
    for other in deployment.nodes.values():
        if other.site != node.site:
            return node.http(other.site)
    return untestable(
        "a second site: this profile has one site only, so there is no outside to scan from; the inside is enumerated"
    )


def _open(session: HttpSession, address: str, port: int) -> tuple[str, int] | None:
    host = f"[{address}]" if ":" in address else address
    try:
        session.request("GET", f"http://{host}:{port}/", timeout_s=2.0)
    except TransportError as error:
        return None if error.kind in {"refused", "timeout"} or "No route" in str(error) else (address, port)
    return address, port


@requirement(
    "SEC-03", needs=(Capability.PACKET_LINKS,), only=("dedicated", "onprem-tethered", "edge-dil", "edge-airgap")
)
def test_outside_reaches_the_declared_ports_alone(deployment: Deployment, evidence: Evidence) -> None:
    """A connect scan from another site finds the declared ports of routable addresses open, all others closed."""
    node = deployment.subject
    session = _outside(deployment, node)
    routable = [
        (a, p) for a, p in node.declared_ports if not ip_address(a).is_loopback and not ip_address(a).is_unspecified
    ]
    addresses = sorted({a for a, _ in routable})
    near = {port + step for _, port in node.declared_ports for step in (-2, -1, 0, 1, 2)}
    targets = [(a, p) for a in addresses for p in sorted({*USUAL, *near})]
    with ThreadPoolExecutor(16) as pool:
        hits = [hit for hit in pool.map(lambda t: _open(session, *t), targets) if hit]
    evidence.add("scanned", len(targets))
    evidence.add("open", [list(hit) for hit in hits])
    conclude(evidence, judge_scan(hits, routable), f"open: {routable}", f"{len(targets)} ports tried; open: {hits}")
