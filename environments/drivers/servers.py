"""The servers that a core node stands on beside its PostgreSQL: Neo4j for the graph, OPA for decisions.

They are part of the node: started before its services, killed and paused like them, and listening on loopback alone.
On a plain host they are used where the environment variables below name them; in containers, from their images.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from environments.companyos import opa_bundle, policy
from environments.companyos.policy_server import SHIPPED
from environments.companyos.vendor import VendorAuthority
from environments.contract import Capability
from environments.drivers.local.deployment import LocalDeployment
from environments.drivers.local.hosts import free_port
from environments.drivers.local.node import LocalNode
from environments.drivers.runner import Component

NEO4J_LIB = "CONFORM_NEO4J_LIB"  # a folder of jars: org.neo4j:neo4j 5 and what it depends on
OPA = "CONFORM_OPA"  # the program
CORE = ("saas", "dedicated", "connected", "tethered", "airgapped")
BOLT_PORT, OPA_PORT = 7687, 8181  # in a site with a namespace of its own; Neo4j's is in its image too
NEO4J_MEMORY_BYTES, OPA_MEMORY_BYTES = 1 << 30, 256 << 20
OPA_HOME, OPA_PROGRAM = "/var/lib/opa", "/usr/bin/opa"  # in its image
SETTINGS = """\
server.bolt.enabled=true
server.bolt.listen_address=127.0.0.1:{port}
server.http.enabled=false
server.https.enabled=false
dbms.usage_report.enabled=false
server.memory.pagecache.size=32m
db.tx_log.preallocate=false
"""
JAVA = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xms64m", "-Xmx384m")


@dataclass(frozen=True)
class Servers:
    """How each is had: its program where nodes run as processes, none in containers; else why there is none."""

    neo4j: Sequence[str] | str  # java and its options up to the main class
    opa: Sequence[str] | str
    inside: bool = False  # in containers
    classes: Mapping[Path, tuple[str, str]] = field(default_factory=dict)  # mounts with what Neo4j starts faster
    options: Mapping[str, str] = field(default_factory=dict)  # its environment, for them


def of_this_host() -> Servers:
    lib, java, opa = os.environ.get(NEO4J_LIB), shutil.which("java"), os.environ.get(OPA)
    if lib and java and list(Path(lib).glob("neo4j-5.*.jar")):
        neo4j: Sequence[str] | str = (java, *JAVA, "-cp", f"{lib}/*")
    else:
        neo4j = f"plain processes here, and {NEO4J_LIB} names no folder of Neo4j's jars. Use --driver containers"
    if opa is None or not os.access(opa, os.X_OK):
        return Servers(neo4j, f"plain processes here, and {OPA} names no OPA. Use --driver containers")
    return Servers(neo4j, (opa,))


def put_within(deployment: LocalDeployment, servers: Servers, vendor: VendorAuthority) -> None:
    """The servers into each core node, and its configuration by which it asks them."""
    namespaced = Capability.PACKET_LINKS in deployment.capabilities
    core = [node for node in deployment.locals.values() if node.variant in CORE]
    for capability, how in ((Capability.GRAPH_DATABASE, servers.neo4j), (Capability.POLICY_SERVER, servers.opa)):
        if isinstance(how, str):
            deployment.missing[capability] = how
        elif not core:
            deployment.missing[capability] = "every node of this profile is an edge, which does that in its own process"
    for node in core:
        if not isinstance(servers.opa, str):
            _opa(node, servers, OPA_PORT if namespaced else free_port(), vendor)
        if not isinstance(servers.neo4j, str):
            _neo4j(node, servers, BOLT_PORT if namespaced else free_port())


def opa_config(bundles: str, pem: str, kept: str) -> dict[str, Any]:
    """OPA's configuration: it fetches its policy from the node at `bundles`, verifies it with the vendor's key, and
    keeps it in the folder `kept`, for its next start."""
    polling = {"min_delay_seconds": 1, "max_delay_seconds": 1, "long_polling_timeout_seconds": 10}
    bundle = {
        "service": "node",
        "resource": "/v1/policy/opa",
        "persist": True,
        "signing": {"keyid": opa_bundle.KEY_ID},
        "polling": polling,
    }
    return {
        "services": {"node": {"url": bundles}},
        "keys": {opa_bundle.KEY_ID: {"algorithm": opa_bundle.ALGORITHM, "key": pem}},
        "bundles": {opa_bundle.NAME: bundle},
        "persistence_directory": kept,
    }


def _opa(node: LocalNode, servers: Servers, port: int, vendor: VendorAuthority) -> None:
    home = node.home / "opa"
    home.mkdir(mode=0o700)
    seen = OPA_HOME if servers.inside else str(home)
    config = opa_config(f"http://127.0.0.1:{node.config['ports']['data']}", vendor.policy_pem(), f"{seen}/kept")
    (home / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    program = [OPA_PROGRAM] if servers.inside else [*servers.opa]
    argv = [*program, "run", "--server", f"--addr=127.0.0.1:{port}", f"--config-file={seen}/config.json"]
    argv += ["--skip-version-check", "--log-level=error"]
    node.put_within("opa", Component("opa", argv, port, {home: (OPA_HOME, "rw")}, memory_bytes=OPA_MEMORY_BYTES))
    node.config["opa_url"] = f"http://127.0.0.1:{port}"
    policies = node.data_dir / "policy"
    policies.mkdir(mode=0o700, exist_ok=True)
    source, _ = policy.default()
    (policies / SHIPPED).write_text(vendor.sign_bundle(0, {"authz.rego": source}), encoding="utf-8")


def _neo4j(node: LocalNode, servers: Servers, port: int) -> None:
    assert not isinstance(servers.neo4j, str)
    home = node.home / "graph"
    home.mkdir(mode=0o700)
    argv: list[str] = []
    if not servers.inside:
        (home / "conf").mkdir()
        (home / "conf" / "neo4j.conf").write_text(SETTINGS.format(port=port), encoding="utf-8")
        entry = "org.neo4j.server.CommunityEntryPoint"
        argv = [*servers.neo4j, entry, f"--home-dir={home}", f"--config-dir={home / 'conf'}"]
    mounts = {home: ("/var/lib/neo4j", "rw"), **servers.classes}
    node.put_within("neo4j", Component("neo4j", argv, port, mounts, servers.options, NEO4J_MEMORY_BYTES))
    node.config["graph_url"] = f"bolt://127.0.0.1:{port}"
    node.config["graph_password"] = secrets.token_urlsafe(18)
