"""Known-bad behaviours of what a node exposes."""

from __future__ import annotations

import json
import socket
from typing import Any

from environments.companyos import log, web
from environments.companyos.config import NodeConfig
from environments.companyos.defects import defect
from environments.companyos.identity import hash_password
from environments.companyos.services import Services
from environments.companyos.storage.open import open_store


@defect(kills=("SEC-03",), roles=("data", "edge"))
def debug_port_on_any_address(services: Services) -> None:
    """A debugger's port was left open on [::], where nobody looks who lists IPv4 sockets."""
    bound = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("::", 9229))
    bound.listen(1)
    services.extra["debugger"] = bound


@defect(kills=("SEC-03",), roles=("data", "edge"))
def metrics_port_undeclared(services: Services) -> None:
    """A metrics library opens a port of its own on every address (the public product: 9464)."""
    bound = socket.create_server(("0.0.0.0", 9464))
    services.extra["metrics"] = bound


@defect(kills=("SEC-10",), phase="install")
def stock_operator_account(config: NodeConfig, connection: Any) -> None:
    """The installer makes the operator admin/admin and hopes for a change at the first login."""
    store = open_store(config)
    store.ensure_tenant("_system")
    with store.transaction("_system") as tx:
        tx.put_user({"username": "admin", "passwordHash": hash_password("admin"), "roles": ["operator"]})
    store.close()


@defect(kills=("SEC-10",), roles=("data", "edge"))
def literal_key_in_files(services: Services) -> None:
    """A default HMAC key is written out with the settings (the public product's audit key is a literal)."""
    path = services.config.data_dir / "settings.json"
    path.write_text(json.dumps({"hmac_key": "changeme", "audit": True}))


@defect(kills=("SEC-10",))
def password_in_the_log(services: Services) -> None:
    """The login logs its request, password and all."""
    genuine = web.login

    def login(services: Services, body: dict[str, Any]) -> dict[str, Any]:
        log.info("login", body=json.dumps(body))
        return genuine(services, body)

    web.login = login


@defect(kills=("SEC-10",), modes=("A", "B", "Ct", "Ca"), phase="install")
def stock_database_password(config: NodeConfig, connection: Any) -> None:
    """A database role for support has the password that the manual of every product has."""
    connection.execute("CREATE ROLE support LOGIN PASSWORD 'postgres'")
