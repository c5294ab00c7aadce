"""What tried to leave a deployment, as a table and as lines for a pipe."""

from __future__ import annotations

import time
from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from reports.egress import Kind, Tried

TITLES: dict[Kind, str] = {
    "attempt": "tried to leave",
    "allowed": "allowed by the profile",
    "warning": "warnings: talk to neighbours, which no router would let out",
}


def tables(found: Iterable[Tried]) -> list[Table]:
    """One table of each kind that there is."""
    made = []
    rows = list(found)
    for kind, title in TITLES.items():
        chosen = [each for each in rows if each.kind == kind]
        if chosen:
            made.append(table(chosen, title))
    return made


def table(found: Iterable[Tried], title: str = "") -> Table:
    made = Table(box=None, header_style="bold", pad_edge=False, title=title or None, title_justify="left")
    for name in ("site", "process", "service", "destination", "port", "count", "phase", "first seen"):
        made.add_column(name, justify="right" if name in ("port", "count") else "left", overflow="fold")
    for each in found:
        trusted = Text(" trusted a stranger's certificate", "bold red") if each.trusted else Text()
        made.add_row(
            Text(each.site),
            Text(process(each)),
            Text(each.service),
            Text(each.destination) + trusted,
            "" if each.port is None else str(each.port),
            str(each.count),
            Text(each.phase),
            time.strftime("%H:%M:%S", time.localtime(each.first_s)),
        )
    return made


def lines(found: Iterable[Tried]) -> Iterable[str]:
    """One line per group, for a pipe; each begins with what it is."""
    for each in found:
        port = "" if each.port is None else f":{each.port}"
        trusted = " trusted-a-stranger" if each.trusted else ""
        phase = f" phase={each.phase}" if each.phase else ""
        yield (
            f"{each.kind} {each.site} {each.service} {each.destination}{port} count={each.count}{phase}"
            f" first={time.strftime('%H:%M:%S', time.localtime(each.first_s))}{trusted} by {process(each)}"
        )


def process(each: Tried) -> str:
    """Command line and pid; how many, if there were several."""
    if not each.pids:
        return each.process
    return f"{each.process} [{each.pids[0]}{f' and {len(each.pids) - 1} more' if len(each.pids) > 1 else ''}]"
