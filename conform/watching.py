"""A running deployment as somebody watches it: its links, its backlog, what tries to leave, what happened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from conform import egresstable
from conform.holder import Holder
from conform.linktable import lines, table
from reports.egress import grouped

LINES = 8  # told of one look; all are in the table and in the ledger
LEARNT_S = 2.0  # process and name of an attempt may be learnt this much later


class Changes:
    """What happens in it, each change once. What the router does not log itself goes to the journal."""

    def __init__(self, holder: Holder) -> None:
        self._holder, self._deployment = holder, holder.get()
        self._backlog = Backlog(self._deployment)
        self._egress = Egress(self._deployment.workdir)
        self._shown: dict[str, Any] = {}
        self._below: list[str] = []
        self._crashes: list[str] = []  # each is told once by the deployment, and stays on the screen
        self._told: set[str] = set()

    def look(self) -> list[str]:
        """Lines that were not true at the last look."""
        self._shown = self._ask("show")
        self._crashes += self._deployment.crashed()  # type: ignore[attr-defined]
        self._below = [*self._backlog.lines(), *self._crashes]
        links = list(lines(self._shown))
        found = [line for line in (*links, *self._below) if line not in self._told]
        attempts = self._egress.look()
        for line in found:
            if line not in links:
                self._holder.event(line)
        self._told = {*links, *self._below}
        return found + attempts  # the ledger itself is kept with the run

    def picture(self, last: Iterable[str]) -> Group:
        counters = self._ask("counters").get("counters", {})
        links = table(self._shown, counters) if self._shown.get("links") else Text("no links", "dim")
        parts: list[RenderableType] = [Text(), links]
        parts += [Text(line, "bold") for line in self._below]
        parts += self._egress.picture()
        parts += [Text(), *(Text(line, "dim") for line in last), Text()]
        parts.append(Text("Ctrl-C tears down; `conform link` in another shell changes links", "dim"))
        return Group(*parts)

    def _ask(self, name: str, **fields: Any) -> dict[str, Any]:
        from environments.network.client import command

        try:
            return dict(command(self._deployment.workdir, {"command": name, **fields}))
        except OSError:
            return {}


class Egress:
    """Attempts to leave the sealed sites, from the ledger of a deployment."""

    def __init__(self, workdir: Path) -> None:
        self._workdir = workdir
        self._rows: dict[int, Mapping[str, Any]] = {}  # by number of the attempt
        self._since_s = 0.0

    def look(self) -> list[str]:
        """New attempts, a line for those that say the same."""
        from environments.network import ledger

        recent = ledger.read(self._workdir, None, max(0.0, self._since_s - LEARNT_S))
        rows = {row["flow"]: row for row in recent if row["phase"] != ledger.CANARY}
        fresh = [row for flow, row in rows.items() if flow not in self._rows]
        self._rows |= rows
        self._since_s = max((float(row["t_s"]) for row in rows.values()), default=self._since_s)
        told = [f"egress: {line}" for line in egresstable.lines(grouped(fresh))]
        return told if len(told) <= LINES else [*told[:LINES], f"egress: {len(told) - LINES} more"]

    def picture(self) -> list[RenderableType]:
        return list(egresstable.tables(grouped(self._rows.values())))


class Backlog:
    """What each edge node has not yet synced, as the node reports it."""

    def __init__(self, deployment: Any) -> None:
        self._nodes = [node for node in deployment.nodes.values() if str(node.mode) == "D"]
        self._clients: dict[str, Any] = {}

    def lines(self) -> list[str]:
        return [line for node in self._nodes if (line := self._line(node))]

    def _line(self, node: Any) -> str:
        from environments.contract import TransportError

        try:
            if node.name not in self._clients:
                self._clients[node.name] = node.login(node.user("operator"))
            answer = self._clients[node.name].admin("GET", "/v1/sync", timeout_s=1.0)
            if answer.status == 401:  # the token has expired
                self._clients.pop(node.name)
                return self._line(node)
            status = answer.json()
        except (TransportError, ValueError, AssertionError) as refusal:
            return f"sync {node.name}: no answer ({refusal})"
        error = f" last_error={status['last_error']}" if status.get("last_error") else ""
        return f"sync {node.name}: backlog={status.get('backlog')} acked_seq={status.get('acked_seq')}{error}"
