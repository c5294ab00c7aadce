"""The report on a terminal: matrix and failures, in colour there and plain where it is piped."""

from __future__ import annotations

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from reports.model import Cell, Report
from reports.verdicts import Outcome, Verdict

SHOWN = 6  # lines of what a check observed
_STYLE = {
    Verdict.PASS: "green",
    Verdict.FAIL: "bold red",
    Verdict.VACUOUS: "bold yellow",
    Verdict.ERROR: "bold magenta",
    Verdict.UNTESTABLE: "cyan",
    Verdict.WAIVED: "blue",
}
_OUTCOME_STYLE = {
    Outcome.CONFORMANT: "bold green",
    Outcome.NON_CONFORMANT: "bold red",
    Outcome.NOT_FULLY_VERIFIED: "bold yellow",
    Outcome.SUITE_ERROR: "bold magenta",
    Outcome.OBSERVED: "bold cyan",
}


def show(report: Report, console: Console | None = None, *, everything: bool = False) -> None:
    """Print matrix, failures and outcome; `everything` lists the ids without a check, or asked of no profile, too."""
    console = console or Console()
    console.print(matrix(report, console.width, everything=everything))
    for cells in _problems(report):
        console.print(_failure(report, cells[0], len(cells) - 1))
    console.print(banner(report))


def banner(report: Report) -> RenderableType:
    """Outcome, reason and reach."""
    lines = Text.assemble(
        (report.outcome.value, _OUTCOME_STYLE[report.outcome]), ": ", report.reason, "\n", report.reach.sentence
    )
    for notice in report.notices:
        lines.append(f"\n{notice}", "yellow")
    if report.run.defects_on:
        lines.append(f"\ndefects switched on by hand: {', '.join(report.run.defects_on)}", "bold yellow")
    return lines


def matrix(report: Report, width: int = 80, *, everything: bool = False) -> RenderableType:
    """Requirements down, profiles across under a number, a glyph per cell; nine profiles fit into 80 columns."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    names = max((len(entry.id) for entry in report.requirements), default=0)
    glyphs = len(str(len(report.profiles)))
    promise = max(width - names - 2 - len(report.profiles) * (glyphs + 2), 20)
    table.add_column("", no_wrap=True, width=names)
    for number, _ in enumerate(report.profiles, start=1):
        table.add_column(str(number), justify="center", width=glyphs)
    table.add_column("promise", no_wrap=True, overflow="ellipsis", width=promise)
    numbered = enumerate(report.profiles, start=1)
    columns = Columns([Text(f"{number} {profile.id}") for number, profile in numbered], padding=(0, 2))
    cells = {(cell.requirement, cell.profile): cell for cell in report.cells}
    suite = ""
    asked = {cell.requirement for cell in report.cells if cell.verdict is not Verdict.NOT_APPLICABLE}
    shown = [entry for entry in report.requirements if everything or entry.id in asked.intersection(report.in_force)]
    for entry in shown:
        if entry.suite != suite:
            table.add_section()
            suite = entry.suite
        row = [_glyph(cells[entry.id, profile.id].verdict) for profile in report.profiles]
        table.add_row(Text(entry.id), *row, Text(entry.statement, "dim"))
    listed = [cells[entry.id, profile.id].verdict for entry in shown for profile in report.profiles]
    used = [verdict for verdict in Verdict if verdict in listed]
    legend = Columns([Text.assemble(_glyph(verdict), f" {verdict.value}") for verdict in used], padding=(0, 2))
    parts: list[RenderableType] = [columns, Text(), table, Text(), legend]
    if hidden := _hidden(report, asked) if not everything else "":
        parts.append(Text(f"not shown: {hidden}; report.json and report.html list them", "dim"))
    return Group(*parts, Text())


def _hidden(report: Report, asked: set[str]) -> str:
    """What the matrix leaves out, in words; empty if nothing."""
    without = sum(entry.id in asked and entry.id not in report.in_force for entry in report.requirements)
    elsewhere = sum(entry.id not in asked for entry in report.requirements)
    parts = [(without, "without a check yet"), (elsewhere, "asked of other profiles")]
    return ", ".join(f"{count} {why}" for count, why in parts if count)


def _glyph(verdict: Verdict) -> Text:
    return Text(verdict.glyph, _STYLE.get(verdict, "dim"))


def _problems(report: Report) -> list[list[Cell]]:
    """Red cells; errors of one profile with one reason are one problem (a deployment that did not come up)."""
    found: dict[tuple[str, ...], list[Cell]] = {}
    for cell in report.cells:
        if cell.verdict.red:
            alike = (cell.profile, cell.reason) if cell.verdict is Verdict.ERROR else (cell.profile, cell.requirement)
            found.setdefault((cell.verdict.value, *alike), []).append(cell)
    return list(found.values())


def _head(observed: str) -> str:
    """The first lines: the rest is in the report, beside the exchanges."""
    lines = observed.split("\n")
    rest = [f"… {len(lines) - SHOWN} more lines in the report"] if len(lines) > SHOWN + 1 else lines[SHOWN:]
    return "\n".join(lines[:SHOWN] + rest)


def _failure(report: Report, cell: Cell, alike: int) -> RenderableType:
    entry = next(entry for entry in report.requirements if entry.id == cell.requirement)
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    told = [check for check in cell.checks if check.verdict is cell.verdict]
    rows = [("promise", entry.statement), ("clause", entry.clause)]
    if not told or cell.verdict is not Verdict.FAIL:
        rows.append(("reason", cell.reason))
    for check in told:
        rows += [("", " "), ("check", check.check.rpartition("::")[2])] if len(told) > 1 else []
        rows += [("expected", check.expected), ("observed", _head(check.observed))]
    rows += [("again", again) for again in dict.fromkeys(check.repro for check in told)]
    for name, value in rows:
        if value:
            table.add_row(name, Text(value))
    more = f" and {alike} more" if alike else ""
    title = Text.assemble(_glyph(cell.verdict), f" {cell.requirement}{more} in {cell.profile}: {cell.verdict}")
    return Panel(table, title=title, title_align="left", border_style=_STYLE[cell.verdict])
