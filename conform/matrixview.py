"""The kill matrix on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from conform.matrix import Fate, Matrix, publish

__all__ = ["publish", "show"]

_STYLE = {
    Fate.KILLED: "green",
    Fate.SURVIVED: "bold red",
    Fate.FALSE_ALARM: "bold yellow",
    Fate.ERROR: "bold magenta",
    Fate.UNTESTABLE: "yellow",
    Fate.HOMELESS: "bold magenta",
}
_CLEAN = {"untestable": ("not tried ", "yellow")}
_VERDICT = {"pass": "green", "fail": "bold red", "untestable": "yellow"}


def show(matrix: Matrix, console: Console) -> None:
    """A row per defect, then what survived and why."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("defect", "fate", "must fail", "stays green", "profile", "s"):
        table.add_column(name, no_wrap=name in ("defect", "fate"), justify="right" if name == "s" else "left")
    for row in matrix.rows:
        fate = Text(row.fate.value, _STYLE[row.fate])
        profiles = " ".join(row.profiles)
        table.add_row(row.defect, fate, _verdicts(row.claimed), _verdicts(row.sample), profiles, f"{row.seconds:.0f}")
    console.print(table)
    for row in matrix.rows:
        if row.fate is not Fate.KILLED:
            text = Text.assemble((f"{row.fate} ", _STYLE[row.fate]), (row.defect, "bold"), f": {row.reason}")
            console.print(text, soft_wrap=True)
            if row.log:
                console.print(Text(f"  log: {row.log}", "dim"), soft_wrap=True)
    for requirement, verdict in matrix.clean.items():
        if verdict != "pass":
            why = matrix.clean_reasons.get(requirement, "")
            line = Text.assemble(
                _CLEAN.get(verdict, ("not clean ", "bold red")),
                (requirement, "bold"),
                f": {verdict} without defects. {why}",
            )
            console.print(line, soft_wrap=True)
    if matrix.without_defect:
        console.print(Text(f"no defect kills: {' '.join(matrix.without_defect)}", "bold red"), soft_wrap=True)
    counts = " · ".join(f"{n} {fate}" for fate in Fate if (n := sum(row.fate is fate for row in matrix.rows)))
    holds = Text("the matrix holds", "bold green") if matrix.ok else Text("the matrix does not hold", "bold red")
    console.print(
        Text.assemble(holds, f": {counts or 'no defect'} in {matrix.seconds:.0f} s; digest {matrix.digest[:16]}")
    )


def _verdicts(verdicts: dict[str, str]) -> Text:
    text = Text()
    for requirement, verdict in verdicts.items():
        text.append(f"{requirement} ")
        text.append(f"{verdict}  ", _VERDICT.get(verdict, "bold magenta"))
    return text
