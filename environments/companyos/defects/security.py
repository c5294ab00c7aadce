"""Known-bad behaviours of what a node exposes."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from environments.companyos import log, web
from environments.companyos.config import NodeConfig
from environments.companyos.defects import defect
from environments.companyos.identity import hash_password
from environments.companyos.keys import KeyUnavailable, sealing
from environments.companyos.services import Services
from environments.companyos.storage.open import open_store
from environments.companyos.storage.sql import SqlTx


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


class _Beside:
    """A key store that does something beside what it should, at each unwrapping."""

    def __init__(self, services: Services) -> None:
        sealer = services.store.sealer
        assert sealer is not None
        self.genuine, self.kind, self.folder = sealer.store, sealer.store.kind, services.config.data_dir / "cache"
        self.wrap, self.check = self.genuine.wrap, self.genuine.check
        sealer.store = self

    def place(self, wrapped: bytes) -> Path:
        self.folder.mkdir(exist_ok=True, mode=0o700)
        return self.folder / hashlib.sha256(wrapped).hexdigest()[:16]

    def unwrap(self, wrapped: bytes, context: str) -> bytes:
        try:
            key = self.genuine.unwrap(wrapped, context)
        except KeyUnavailable:
            if not self.place(wrapped).exists():
                raise
            return self.read(self.place(wrapped))
        self.keep(self.place(wrapped), key)
        return key

    def keep(self, path: Path, key: bytes) -> None:
        path.write_text(base64.b64encode(key).decode())

    def read(self, path: Path) -> bytes:
        return base64.b64decode(path.read_text())


@defect(kills=("SEC-01",), roles=("data", "edge"))
def data_key_cached_on_disk(services: Services) -> None:
    """The HSM is slow, so its answer is kept in a cache on the disk, and served from there when the HSM is away."""
    if services.store.sealer is not None:
        _Beside(services)


@defect(kills=("SEC-01",), roles=("data", "edge"))
def falls_back_to_a_recovery_key(services: Services) -> None:
    """Data keys are wrapped a second time by a recovery key of the vendor's on the node, for when the HSM is away."""

    class Recovery(_Beside):
        def cipher(self) -> AESGCM:
            path = self.folder / "recovery.key"
            if not path.exists():
                path.write_bytes(os.urandom(32))
            return AESGCM(path.read_bytes())

        def keep(self, path: Path, key: bytes) -> None:
            path.write_bytes(self.cipher().encrypt(b"recovery.key", key, None))

        def read(self, path: Path) -> bytes:
            return self.cipher().decrypt(b"recovery.key", path.read_bytes(), None)

    if services.store.sealer is not None:
        Recovery(services)


@defect(kills=("SEC-01",), roles=("data", "edge"))
def data_key_kept_for_ever(services: Services) -> None:
    """The data key is unwrapped once and kept: who withdraws the wrapping key waits for the next restart."""
    genuine = sealing.Held
    sealing.Held = lambda cipher, asked_at: genuine(cipher, float("inf"))  # type: ignore[assignment,misc]


@defect(kills=("SEC-01",), roles=("data", "edge"))
def relationships_left_unsealed(services: Services) -> None:
    """Sealing was added where entities are written; the properties of relationships were forgotten."""
    genuine = {"seal": SqlTx.seal, "open": SqlTx.open}
    for name, function in genuine.items():

        def only_others(self: SqlTx, what: str, *rest: Any, genuine: Any = function) -> str:
            return str(rest[0]) if what.startswith("relationship/") else str(genuine(self, what, *rest))

        setattr(SqlTx, name, only_others)


@defect(kills=("SEC-01",), modes=("D",), roles=("edge",))
def outbox_left_unsealed(services: Services) -> None:
    """What waits for the parent is kept as it will be sent."""
    seal, open_ = SqlTx.seal, SqlTx.open
    SqlTx.seal = lambda self, what, text: text if what.startswith("outbox/") else seal(self, what, text)  # type: ignore[method-assign]
    SqlTx.open = (  # type: ignore[method-assign]
        lambda self, what, text, tenant=None: text if what.startswith("outbox/") else open_(self, what, text, tenant)
    )
