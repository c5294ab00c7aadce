"""The egress ledger as a reader wants it: rows that say the same, as one line with a count. For views of a run and of
a deployment that runs; rows are mappings with the fields of the contract's EgressAttempt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

UNKNOWN = "unknown (it had ended)"
Kind = Literal["attempt", "allowed", "warning"]


@dataclass(frozen=True)
class Tried:
    """Attempts of one process at one destination, in one phase of the run."""

    site: str
    process: str  # command line, shortened
    pids: tuple[int, ...]
    service: str  # the protocol, where no service was recognised
    destination: str  # name, where one is known
    addresses: tuple[str, ...]
    port: int | None
    phase: str
    kind: Kind
    trusted: bool  # it took a stranger's certificate
    count: int
    first_s: float  # seconds since the epoch
    last_s: float


def grouped(rows: Iterable[Mapping[str, Any]]) -> list[Tried]:
    """Attempts first, then what is allowed, then warnings; each by when it was first seen. Canaries are left out."""
    found: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["phase"] != "canary":
            found.setdefault(_key(row), []).append(row)
    order: list[Kind] = ["attempt", "allowed", "warning"]
    return sorted((_tried(each) for each in found.values()), key=lambda it: (order.index(it.kind), it.first_s))


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    destination = row.get("name") or row["destination"]
    trusted = bool(row.get("trusted"))
    return (
        row["site"],
        row.get("command"),
        _service(row),
        destination,
        row.get("port"),
        row["phase"],
        _kind(row),
        trusted,
    )


def _tried(rows: list[Mapping[str, Any]]) -> Tried:
    first, times = rows[0], [float(row["t_s"]) for row in rows]
    kind = _kind(first)
    return Tried(
        site=first["site"],
        process=first.get("command") or UNKNOWN,
        pids=tuple(sorted({row["pid"] for row in rows if row.get("pid")})),
        service=_service(first),
        destination=first.get("name") or first["destination"],
        addresses=tuple(dict.fromkeys(row["destination"] for row in rows)),
        port=first.get("port"),
        phase="" if kind == "allowed" else first["phase"],
        kind=kind,
        trusted=bool(first.get("trusted")),
        count=len(rows),
        first_s=min(times),
        last_s=max(times),
    )


def _service(row: Mapping[str, Any]) -> str:
    return str(row.get("service") or row["protocol"])


def _kind(row: Mapping[str, Any]) -> Kind:
    if row.get("warning"):
        return "warning"
    return "allowed" if row["phase"] == "allowed" else "attempt"
