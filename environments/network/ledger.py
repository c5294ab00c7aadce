"""The egress ledger as a file: JSON lines, one the moment an attempt is seen, one for whatever is learned of it later.

Lines of one attempt bear the same `flow`; whoever reads merges them, later fields winning. Some fields are for readers
alone: `quic` (the first datagrams, base64, whose SNI takes a cipher to read), `source` (the site's address), `during`
(the run's phase, where `phase` says allowed). Flow 0 is no attempt: it bears the allow-list.
"""

from __future__ import annotations

import base64
import ipaddress
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from environments import jsonlines

FILE, ANSWERED = "egress.jsonl", "answered.jsonl"
CANARY, ALLOWED = "canary", "allowed"
_FOR_READERS = ("quic", "source", "during")
Row = dict[str, Any]


class AllowList:
    """Destinations that a profile declares: CIDRs or addresses, and host names (with their subdomains)."""

    def __init__(self, entries: Iterable[str]) -> None:
        self.entries = list(entries)
        self._networks, self._names = [], []
        for entry in self.entries:
            try:
                self._networks.append(ipaddress.ip_network(entry, strict=False))
            except ValueError:
                self._names.append(entry.lower().rstrip("."))

    def covers(self, name: str | None, destination: str, *, question: bool = False) -> bool:
        """Of a DNS question only the name counts: asking a listed server for any name would be a way out."""
        if name is not None and any(name == each or name.endswith("." + each) for each in self._names):
            return True
        return not question and any(ipaddress.ip_address(destination) in network for network in self._networks)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A row of the ledger; field for field the contract's EgressAttempt. t_s: seconds since the epoch."""

    t_s: float
    site: str
    protocol: str
    destination: str
    port: int | None
    name: str | None = None
    ip_version: int = 4
    phase: str = ""
    service: str = ""
    warning: bool = False
    pid: int | None = None
    command: str | None = None
    flow: int = 0
    source_port: int | None = None
    trusted: bool = False
    said: str | None = None


class Ledger:
    """The writing side, in the router."""

    def __init__(self, path: Path, allow: AllowList) -> None:
        self.flows = max((row.get("flow", 0) for row in jsonlines.read(path)), default=0)
        self._file = path.open("a", buffering=1, encoding="utf-8")
        if allow.entries:
            self.learn(0, allow=allow.entries)

    def write(self, attempt: Attempt, **for_readers: Any) -> None:
        """A new row; its flow is one above the last."""
        row = {key: value for key, value in asdict(attempt).items() if value or key in _ALWAYS}
        self._file.write(json.dumps(row | for_readers) + "\n")
        self.flows = attempt.flow

    def learn(self, flow: int, **fields: Any) -> None:
        """Something more about a row."""
        self._file.write(json.dumps({"flow": flow, **fields}) + "\n")

    def learn_datagram(self, flow: int, data: bytes) -> None:
        self.learn(flow, quic=base64.b64encode(data).decode("ascii"))


_ALWAYS = frozenset({"t_s", "site", "protocol", "destination", "port", "name", "ip_version", "phase", "flow"})


def merge(found: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Lines of one flow as one row, in the order of the attempts; `quic` becomes the list of all datagrams."""
    rows: dict[int, Row] = {}
    for line in found:
        row = rows.setdefault(int(line.get("flow", 0)), {})
        row.update({key: value for key, value in line.items() if key != "quic"})
        if "quic" in line:
            row.setdefault("quic", []).append(line["quic"])
    return [row for row in rows.values() if "t_s" in row]


def select(rows: Iterable[Row], site: str | None, since_s: float) -> list[Row]:
    return [row for row in rows if site in (None, row["site"]) and row["t_s"] >= since_s]


def read(workdir: Path, site: str | None = None, since_s: float = 0.0) -> list[Row]:
    """Rows of a deployment's ledger as the contract has them, with all that is known by now, canaries included.

    Not for the router: names inside QUIC are deciphered here, and what was said to the answering sentinel is added.
    """
    found = jsonlines.read(workdir / FILE)
    allow = AllowList(next((line["allow"] for line in found if "allow" in line), ()))
    rows = select(merge(found), site, since_s)
    answered = jsonlines.read(workdir / ANSWERED)
    said = {_conversation(line, line["client"]): line for line in answered if "client" in line}
    return [_finished(row, said, allow) for row in rows]


def _conversation(row: Mapping[str, Any], client: str | None) -> tuple[Any, ...]:
    return client, row.get("source_port"), row["destination"], row["port"]


def _finished(row: Row, said: Mapping[tuple[Any, ...], Row], allow: AllowList) -> Row:
    if "quic" in row:
        _decipher(row, allow)
    heard = said.get(_conversation(row, row.get("source"))) if row["protocol"] == "tcp" else None
    if heard:
        row |= {key: heard[key] for key in ("said", "trusted") if heard.get(key)}
        if heard.get("service"):
            row["service"] = heard["service"]
        row["name"] = row.get("name") or heard.get("name")
    return {key: value for key, value in row.items() if key not in _FOR_READERS}


def _decipher(row: Row, allow: AllowList) -> None:
    """The name inside QUIC counts as any other SNI, for the allow-list too."""
    from environments.network.quic import server_name
    from environments.network.services import is_doh_host

    name = server_name([base64.b64decode(each) for each in row["quic"]])
    if name is None:
        return
    row["name"] = name
    row["service"] = "doh" if is_doh_host(name) else row["service"]
    if row["phase"] != CANARY:
        listed = allow.covers(name, row["destination"])
        row["phase"] = ALLOWED if listed else row.get("during", row["phase"])
