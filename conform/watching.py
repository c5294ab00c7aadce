"""A running deployment as somebody watches it: its links, its backlog, what tries to leave, what happened."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from conform.holder import Holder
from conform.linktable import lines, table

LAST_ATTEMPTS = 5


class Changes:
    """What happens in it, each change once. What the router does not log itself goes to the journal."""

    def __init__(self, holder: Holder) -> None:
        self._holder, self._deployment = holder, holder.get()
        self._backlog = Backlog(self._deployment)
        self._egress = Egress(self._ask)
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
        return found + attempts  # the ledger itself is kept with the evidence

    def picture(self, last: Iterable[str]) -> Group:
        counters = self._ask("counters").get("counters", {})
        links = table(self._shown, counters) if self._shown.get("links") else Text("no links", "dim")
        parts: list[RenderableType] = [Text(), links]
        parts += [Text(line, "bold") for line in self._below]
        parts += [Text(line, "yellow") for line in self._egress.picture()]
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
    """Attempts to leave the sealed sites, as the router's ledger has them."""

    def __init__(self, ask: Callable[..., dict[str, Any]]) -> None:
        self._ask = ask
        self._since_s = 0.0
        self._seen: set[str] = set()  # rows of the newest time, which the next look brings again
        self._counts: dict[str, int] = {}
        self._last: deque[str] = deque(maxlen=LAST_ATTEMPTS)

    def look(self) -> list[str]:
        """New attempts as lines; many at once as a number and the last few."""
        rows = [
            row for row in self._ask("ledger", since_s=self._since_s).get("rows", []) if repr(row) not in self._seen
        ]
        if not rows:
            return []
        self._since_s = max(float(row["t_s"]) for row in rows)
        self._seen = {repr(row) for row in rows if row["t_s"] == self._since_s} | {
            row for row in self._seen if f"'t_s': {self._since_s!r}" in row
        }
        for row in rows:
            self._counts[row["site"]] = self._counts.get(row["site"], 0) + 1
            self._last.append(_attempt(row))
        more = len(rows) - LAST_ATTEMPTS
        head = [f"egress: {more} more attempts"] if more > 0 else []
        return head + [_attempt(row) for row in rows[-LAST_ATTEMPTS:]]

    def picture(self) -> list[str]:
        if not self._counts:
            return []
        counts = ", ".join(f"{site} {count}" for site, count in sorted(self._counts.items()))
        return [f"attempts to leave: {counts}", *(f"  {line}" for line in self._last)]


def _attempt(row: Mapping[str, Any]) -> str:
    port = f":{row['port']}" if row.get("port") is not None else ""
    name = f" {row['name']}" if row.get("name") else ""
    process = f" by {row['process']}" if row.get("process") else ""
    return f"egress {row['site']}: {row['protocol']} {row['destination']}{port}{name}{process}"


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
