"""The servers that a core node stands on beside its PostgreSQL: Neo4j for the graph.

They are part of the node: started before its services, killed and paused like them, and listening on loopback alone.
On a plain host they are used where the environment variables below name them; in containers, from their images.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from environments.contract import Capability
from environments.drivers.local.deployment import LocalDeployment
from environments.drivers.local.hosts import free_port
from environments.drivers.local.node import LocalNode
from environments.drivers.runner import Component

NEO4J_LIB = "CONFORM_NEO4J_LIB"  # a folder of jars: org.neo4j:neo4j 5 and what it depends on
CORE = ("saas", "dedicated", "connected", "tethered", "airgapped")
BOLT_PORT = 7687  # in a site with a namespace of its own; it is in the image too
NEO4J_MEMORY_BYTES = 1 << 30
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
    inside: bool = False  # in containers


def of_this_host() -> Servers:
    lib, java = os.environ.get(NEO4J_LIB), shutil.which("java")
    if not lib or not java or not list(Path(lib).glob("neo4j-5.*.jar")):
        return Servers(
            f"plain processes here, and no Neo4j: {NEO4J_LIB} names no folder of it. Use --driver containers"
        )
    return Servers((java, *JAVA, "-cp", f"{lib}/*"))


def put_within(deployment: LocalDeployment, servers: Servers) -> None:
    """The servers into each core node, and its configuration by which it asks them."""
    namespaced = Capability.PACKET_LINKS in deployment.capabilities
    core = [node for node in deployment.locals.values() if node.variant in CORE]
    if isinstance(servers.neo4j, str):
        deployment.missing[Capability.GRAPH_DATABASE] = servers.neo4j
    elif not core:
        deployment.missing[Capability.GRAPH_DATABASE] = "no node of this profile keeps its graph in a database"
    else:
        for node in core:
            _neo4j(node, servers, BOLT_PORT if namespaced else free_port())


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
    mounts = {home: ("/var/lib/neo4j", "rw")}
    node.put_within("neo4j", Component("neo4j", argv, port, mounts, memory_bytes=NEO4J_MEMORY_BYTES))
    node.config["graph_url"] = f"bolt://127.0.0.1:{port}"
    node.config["graph_password"] = secrets.token_urlsafe(18)
