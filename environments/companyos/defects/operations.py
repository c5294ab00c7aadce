"""Known-bad behaviours of health and readiness."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from typing import Any

from environments.companyos import health, operations
from environments.companyos.defects import defect
from environments.companyos.services import Services


@defect(kills=("OPS-01",))
def always_ready(services: Services) -> None:
    """Readiness is hard-coded (the public product's /health/deployment says true whatever is broken)."""

    genuine = health.checks

    def checks(services: Services) -> dict[str, dict[str, Any]]:
        return {name: {**check, "ok": True} for name, check in genuine(services).items()}

    health.checks = checks


@defect(kills=("OPS-01",))
def readiness_without_a_name(services: Services) -> None:
    """Not ready says 503 and not what is broken: whoever is on call looks everywhere."""
    genuine = health.checks

    def checks(services: Services) -> dict[str, dict[str, Any]]:
        ok = all(check["ok"] for check in genuine(services).values())
        return {"self": {"ok": ok, "detail": ""}}

    health.checks = checks


@defect(kills=("OPS-01",))
def readiness_asks_the_internet(services: Services) -> None:
    """Readiness looks for updates on the way: it waits where packets are dropped, and tells the world of each node."""
    genuine = health.checks

    def checks(services: Services) -> dict[str, dict[str, Any]]:
        with suppress(OSError):
            socket.create_connection(("198.51.100.7", 443), timeout=1.5).close()
        return genuine(services)

    health.checks = checks


@defect(kills=("OPS-04",), modes=("D",), drivers=("containers",))
def leaks_while_offline(services: Services) -> None:
    """With each write the page of the outbox that it is on is kept in memory, for when the link is back."""
    genuine = operations.record
    pending: list[bytes] = services.extra.setdefault("pending", [])

    def record(*arguments: Any) -> None:
        genuine(*arguments)
        pending.append(repr(arguments[-1]).encode().ljust(48 << 10))

    operations.record = record  # type: ignore[assignment]


@defect(kills=("OPS-04",), modes=("D",), drivers=("containers",))
def debug_log_without_end(services: Services) -> None:
    """Each operation leaves a line in a debug log on the data disk, which nobody rotates."""
    path = services.config.data_dir / "debug.log"
    genuine = operations.record

    def record(*arguments: Any) -> None:
        genuine(*arguments)
        with path.open("a") as file:
            file.write(f"{time.time()} {arguments[3]} {arguments[4]}\n")

    operations.record = record  # type: ignore[assignment]
