"""Known-bad behaviours of the API, of discovery and of a cold start."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import sys
import time
from typing import Any

from graphql import parse, print_ast

from environments.companyos import apps, billing, discovery, graphql_api, operations, policy, release
from environments.companyos.defects import defect
from environments.companyos.services import Services


@defect(kills=("FUN-01",), modes=("D",))
def edge_drops_a_field(services: Services) -> None:
    """The lightweight serialiser of the edge leaves labels out of what it reads back."""
    genuine = operations.entity

    def entity(context: operations.Context, id: str) -> Any:
        found = genuine(context, id)
        return found and {**found, "labels": []}

    operations.entity = entity


@defect(kills=("FUN-01",), roles=("data", "edge"))
def null_properties_vanish(services: Services) -> None:
    """A property that is null is dropped on the way in: absent and null were thought to be one."""
    genuine = operations.json_object

    def json_object(value: Any, what: str) -> dict[str, Any]:
        return {key: item for key, item in genuine(value, what).items() if item is not None}

    operations.json_object = json_object


@defect(kills=("FUN-01",), roles=("data", "edge"))
def order_by_id_alone(services: Services) -> None:
    """Lists come in the order of ids: stable, and not the order that was promised."""
    genuine = operations.entities

    def entities(context: operations.Context, **arguments: Any) -> Any:
        return sorted(genuine(context, **arguments), key=lambda doc: str(doc["id"]), reverse=True)

    operations.entities = entities  # type: ignore[assignment]


@defect(kills=("FUN-03",), modes=("D",))
def edge_field_is_nullable(services: Services) -> None:
    """The edge's schema was written by hand, and one field lost its exclamation mark."""
    genuine = graphql_api.sdl_document

    def sdl_document(edge: bool) -> Any:
        return parse(print_ast(genuine(edge)).replace("version: Int!", "version: Int"))

    graphql_api.sdl_document = sdl_document
    graphql_api.schema.cache_clear()


@defect(kills=("FUN-03",), modes=("D",))
def missing_operation_crashes(services: Services) -> None:
    """An operation that the edge lacks ends in a missing resolver, and that in a 500."""
    genuine = graphql_api.prepared

    def prepared(edge: bool, query: str) -> Any:
        found = genuine(edge, query)
        if found[1] == "UNSUPPORTED_IN_MODE":
            raise RuntimeError("no resolver")
        return found

    graphql_api.prepared = prepared


@defect(kills=("FUN-04",), modes=("Ct", "Ca", "D"), roles=("data", "edge"))
def stripe_key_shipped_on_premises(services: Services) -> None:
    """The settings of the hosted product are copied into the on-prem release, payment key and all."""
    path = services.config.data_dir / "billing.json"
    path.write_text(json.dumps({"stripe": {"key": "sk_live_" + "0" * 24, "url": "https://api.stripe.com"}}))


@defect(kills=("FUN-04", "FUN-11"), modes=("Ct", "Ca"))
def billing_mounted_everywhere(services: Services) -> None:
    """One route table for all modes: billing and the directory answer where there is neither."""
    genuine = apps.routes
    apps.routes = lambda services: [*genuine(services), *billing.routes(services)]


@defect(kills=("FUN-04", "SEC-03"), modes=("D",))
def bolt_port_on_edge(services: Services) -> None:
    """A graph server of the core release starts on the edge too."""
    services.extra["bolt"] = socket.create_server((services.config.listen, 7687))


@defect(kills=("FUN-11",), roles=("data", "edge"))
def claims_the_catalogue(services: Services) -> None:
    """Discovery lists what the product can do rather than what this node can."""
    every = ["billing", "directory", "export", "graph", "graphql", "import", "inference", "runs", "search", "sync"]
    discovery.capabilities = lambda services: every


@defect(kills=("FUN-11",), roles=("data", "edge"))
def discovery_without_schema_version(services: Services) -> None:
    """Whoever must migrate cannot tell from where."""
    genuine = discovery.document
    discovery.document = lambda services: {k: v for k, v in genuine(services).items() if k != "schema_version"}


@defect(kills=("FUN-11",), roles=("data", "edge"))
def version_page_of_the_release_before(services: Services) -> None:
    """The version page is built into an image that nobody built again: after the update it tells the release before."""
    genuine = release.document
    release.document = lambda services: {**genuine(services), "version": "1.3.0"}


@defect(kills=("FUN-11",), roles=("data", "edge"))
def version_page_tells_the_schema_of_the_code(services: Services) -> None:
    """One page tells the schema that the code was written for, the other the one that the database has."""
    genuine = release.document
    release.document = lambda services: {**genuine(services), "schema_version": services.config.schema_version + 1}


def _unclean(services: Services) -> bool:
    """Was this role's process running when the power went? Leaves the mark for the next start."""
    mark = services.config.data_dir / f"{services.role}.running"
    found = mark.exists()
    mark.touch()
    return found


@defect(kills=("FUN-12",), modes=("Ca", "D"), roles=("data", "edge"))
def waits_for_network_time(services: Services) -> None:
    """After an unclean stop the node wants the time from the internet before it serves, and waits for it."""
    ends = time.monotonic() + 22
    while _unclean(services) and time.monotonic() < ends:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(5.0)
            try:
                asking.connect(("198.51.100.123", 123))
                asking.send(b"\x1b" + 47 * b"\0")
                asking.recv(48)
                return
            except OSError:
                time.sleep(1.0)


@defect(kills=("FUN-12",), modes=("D",))
def empty_after_power_loss(services: Services) -> None:
    """After an unclean stop the node starts with nothing and waits to be told (KubeEdge #4210)."""
    if not _unclean(services):
        return
    for tenant in services.store.tenants():
        with services.store.transaction(tenant) as tx:
            for doc in tx.list_entities(limit=-1):
                tx.delete_entity(doc["id"])


def _run_as_rebuilt(services: Services) -> str | None:
    """Go on in the same process from a copy of the code that was built again; what the release's digest was."""
    known = os.environ.get("COMPANYOS_REBUILT")
    if known is None:
        target = services.config.data_dir / "rebuilt"
        code = release.CODE.relative_to(release.CODE.parents[1])
        shutil.copytree(release.CODE, target / code, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        (target / code / "build.py").write_text('TARGET = "edge"\n')
        environment = {**os.environ, "PYTHONPATH": str(target), "COMPANYOS_REBUILT": release.payload_digest()}
        services.store.close()
        os.execve(sys.executable, [sys.executable, "-m", "environments.companyos.serve", *sys.argv[1:]], environment)
    return known


@defect(kills=("FUN-02",), modes=("D",), roles=("edge",))
def rebuilt_for_edge(services: Services) -> None:
    """The edge gets a build of its own, smaller and nearly the same: what was tested is not what was deployed."""
    _run_as_rebuilt(services)


@defect(kills=("FUN-02",), roles=("data", "edge"))
def reports_the_release_it_should_run(services: Services) -> None:
    """Another build runs, and /version tells the digest that the manifest has: it was written in at the build."""
    known = _run_as_rebuilt(services)
    release.payload_digest = lambda: known or ""


@defect(kills=("FUN-02",), roles=("data", "edge"))
def policy_edited_on_site(services: Services) -> None:
    """Somebody appended a rule to the policy on the node, and the node runs what it finds."""
    source = policy.default()[0] + '\nallow if input.action == "entity.export"\n'
    services.policy.load({"authz.rego": source}, 0, hashlib.sha256(source.encode()).hexdigest())
    services.policy.shipped = services.policy.digest
