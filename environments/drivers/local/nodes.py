"""The nodes of a profile before anything runs: their folders, configuration and accounts, and who is whose parent."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from environments.companyos.vendor import VendorAuthority
from environments.contract import Capability, User
from environments.drivers.local import postgres
from environments.drivers.local.deployment import LocalDeployment
from environments.drivers.local.hosts import free_port
from environments.drivers.local.node import PRODUCT_SERVICES, SERVICES, LocalNode
from environments.drivers.runner import Runner
from profiles import NodeSpec

VERSION = "1.4.0"
PORTS = {"data": 4000, "control": 4100, "edge": 4000, "postgres": 5432}


RunnerOf = Callable[[str, dict[str, Any], Path], Runner]  # of a node's name, configuration and folder


def make_nodes(
    deployment: LocalDeployment, vendor: VendorAuthority, defects: Sequence[str], runner_of: RunnerOf
) -> None:
    """Folders, configuration, accounts; nothing is started."""
    namespaced = Capability.PACKET_LINKS in deployment.capabilities
    for name, spec in deployment.spec.nodes.items():
        home = deployment.workdir / name
        for folder in (home, home / "disk"):  # both may be there: a disk of its own is mounted first
            folder.mkdir(mode=0o711, exist_ok=True)
        for folder in (home / "config", home / "logs", home / "disk" / "data"):
            folder.mkdir(mode=0o700)
        listen = deployment.network.address(spec.site) if namespaced else "127.0.0.1"
        ports = {service: PORTS[service] if namespaced else free_port() for service in SERVICES[spec.variant]}
        users = _users(spec)
        config = _config(name, spec, home, listen, ports, vendor, defects)
        runner = runner_of(name, config, home)
        deployment.locals[name] = LocalNode(
            name, spec.site, config, users, home, deployment.hosts[spec.site], deployment.session, runner
        )
        if not namespaced:
            for service in sorted(ports.keys() & PRODUCT_SERVICES):
                deployment.network.expose(spec.site, f"{name}.{service}", listen, ports[service])
    _join(deployment)


def _users(spec: NodeSpec) -> list[User]:
    def made(tenant: str, username: str, *roles: str) -> User:
        return User(tenant, username, secrets.token_urlsafe(18), roles)

    users = [made("_system", "operator", "operator")]
    for tenant in spec.tenants:
        users += [made(tenant, role, role) for role in ("admin", "analyst", "viewer")]
    return users


def _config(
    name: str,
    spec: NodeSpec,
    home: Path,
    listen: str,
    ports: dict[str, int],
    vendor: VendorAuthority,
    defects: Sequence[str],
) -> dict[str, Any]:
    config: dict[str, Any] = {
        "node_id": f"{name}-{uuid.uuid4().hex[:8]}",
        "mode": spec.mode,
        "variant": spec.variant,
        "customer": spec.customer,
        "instance": uuid.uuid4().hex,
        "version": VERSION,
        "data_dir": str(home / "disk" / "data"),
        "listen": listen,
        "ports": ports,
        "trust_roots": vendor.trust_roots(),
        "clock_file": str(home / "clock"),
        "defects": list(defects),
    }
    if "postgres" in ports:
        config["postgres_admin_dsn"] = postgres.admin_dsn(home / "sockets", ports["postgres"])
        config["postgres_app_dsn"] = postgres.app_dsn(ports["postgres"], secrets.token_urlsafe(18))
    if spec.variant in ("saas", "dedicated"):
        config["stripe_key"] = "sk_test_" + secrets.token_hex(12)
    return config


def _join(deployment: LocalDeployment) -> None:
    """Who each node's control plane and parent are, and the account of an edge at its parent."""
    for name, spec in deployment.spec.nodes.items():
        node = deployment.locals[name]

        def url(role: str, parent: str = spec.parent or "", site: str = spec.site) -> str:
            return deployment.url_from(site, deployment.locals[parent].url(role))

        if spec.variant == "tethered" and spec.parent:
            node.config["control_url"] = url("control")
        elif spec.variant == "edge":
            if spec.parent is None:
                continue  # nobody to sync to, and no control plane
            parent = deployment.locals[spec.parent]
            node.config["control_url"] = url("control")
            node.config["parent_url"] = url("data")
            node.config["parent_identity_url"] = url("identity")
            account = User(spec.tenants[0], f"node:{node.node_id}", secrets.token_urlsafe(18), ("node",))
            parent.users = (*parent.users, account)
            node.config["enrolment"] = seed_user(account)
        else:
            node.config["control_url"] = node.url("control")


def seed_user(user: User) -> dict[str, Any]:
    return {"tenant": user.tenant, "username": user.username, "password": user.password, "roles": list(user.roles)}
