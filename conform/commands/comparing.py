"""conform parity"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from conform.commands.replaying import folder_of
from conform.console import out, print_json, say
from conform.controlling import JOURNAL
from conform.settings import BadArguments

if TYPE_CHECKING:
    from reports.model import Report
    from reports.parity import Parity, Row


def parity(
    first: Annotated[str, typer.Argument(help="A run by one driver: its id, or its folder.")],
    second: Annotated[str, typer.Argument(help="A run by another.")],
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Compare the verdicts of two drivers, per profile and requirement.

    A difference is a capability that one of them declares it lacks, or a bug. Exit 1 if there is a bug, or if nothing
    could be compared. Example: [bold]conform parity runs/local runs/containers[/bold]
    """
    from reports.parity import NotComparable, compare

    try:
        found = compare(_report(first), _report(second))
    except NotComparable as refusal:
        raise BadArguments(f"parity: {refusal}.") from None
    if as_json:
        print_json({**found.model_dump(mode="json"), "holds": found.holds})
    else:
        _show(found)
    raise typer.Exit(0 if found.holds else 1)


def _report(run: str) -> Report:
    from reports.journal import read
    from reports.model import from_journal

    return from_journal(read(Path(folder_of("parity", run)) / JOURNAL))


def _show(found: Parity) -> None:
    from reports.parity import Likeness

    counts = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("profile", "same", "declared", "bugs", "not compared"):
        counts.add_column(name, justify="left" if name == "profile" else "right")
    kinds = (Likeness.SAME, Likeness.DECLARED, Likeness.BUG, Likeness.ASIDE)
    for profile in found.profiles:
        counts.add_row(profile, *(str(found.count(kind, profile)) for kind in kinds))
    out.print(counts)
    differing = [row for row in found.rows if row.likeness in (Likeness.DECLARED, Likeness.BUG)]
    if differing:
        out.print(_table(found, differing))
    (driver, run), (other_driver, other_run) = found.first, found.second
    say(f"{driver}: {run}, {other_driver}: {other_run}")
    if found.holds:
        say("the drivers agree: every difference is a capability that one of them lacks", "bold green")
    elif found.count(Likeness.BUG):
        say(f"differences without a reason, which are bugs: {found.count(Likeness.BUG)}", "bold red")
    else:
        say("nothing was compared, which shows nothing", "bold red")


def _table(found: Parity, rows: list[Row]) -> Table:
    from reports.parity import Likeness

    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("requirement", "profile", found.first[0], found.second[0], "", "why"):
        table.add_column(name, no_wrap=name != "why", overflow="fold")
    for row in rows:
        style = "bold red" if row.likeness is Likeness.BUG else "cyan"
        one, other = row.verdicts
        table.add_row(row.requirement, row.profile, one.value, other.value, Text(row.likeness.value, style), row.why)
    return table
