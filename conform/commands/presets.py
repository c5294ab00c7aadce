"""conform link presets, conform link calibrate: what links there are by name, and whether they hold on this host."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from conform import catalogue
from conform.console import EXIT_SUITE_ERROR, completes, fail, out, print_json, say
from conform.linktable import figure, summary
from conform.settings import refuse

if TYPE_CHECKING:
    from environments.contract import Calibration


def _names() -> list[str]:
    from profiles.load import presets

    return list(presets())


def presets(as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False) -> None:
    """The links of profiles/links.yaml by name, with where their figures come from."""
    from profiles.load import presets as named

    known = named()
    if as_json:
        print_json({name: each.model_dump(mode="json") for name, each in known.items()})
        return
    made = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("preset", "what", "up", "down"):
        made.add_column(column, no_wrap=column == "preset")
    for name, each in known.items():
        up, down = each.states
        made.add_row(name, each.title, summary(up), "as up" if down == up else summary(down))
    out.print(made)
    say("sources, what is measured and what estimated: conform link presets --json, docs/links.md", "dim")


def calibrate(
    preset: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PRESET]...", help="Default: all.", autocompletion=completes(_names)),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="As a run does, in about a second.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Measure presets on this host: delay, jitter, rate, loss and its runs, outages; asked against measured.

    Thorough measuring takes a minute for a fast link and several for one of some kbit/s. Exit code 255 if one does not
    hold here.
    """
    from environments.network import NamespacesUnavailable
    from environments.network.calibration import FULL, QUICK
    from environments.network.proving import prove
    from profiles.load import presets as named

    known = named()
    refuse(catalogue.unknown("preset", preset or [], known))
    found: dict[str, list[Calibration]] = {}
    for name in preset or known:
        with out.status(f"measuring {name}: {known[name].title}"):
            try:
                found[name] = prove(*known[name].states, QUICK if quick else FULL)
            except NamespacesUnavailable as refusal:
                raise typer.Exit(fail(f"untestable: packet-links: {refusal}", EXIT_SUITE_ERROR)) from None
        if not as_json:
            _show(name, found[name])
    if as_json:
        print_json({name: [asdict(row) for row in rows] for name, rows in found.items()})
    bad = [name for name, rows in found.items() if not all(row.ok for row in rows)]
    if bad:
        raise typer.Exit(fail(f"not as asked on this host: {', '.join(bad)}", EXIT_SUITE_ERROR))


def _show(name: str, rows: list[Calibration]) -> None:
    made = Table(box=None, header_style="bold", pad_edge=False, title=name, title_justify="left")
    for column in ("link", "measure", "asked", "measured", "99 % interval", "tolerance", "samples", ""):
        made.add_column(column, no_wrap=True, justify="left" if column in ("link", "measure", "") else "right")
    for row in rows:
        between = ""
        if row.low is not None and row.high is not None:
            between = f"{figure(row.measure, row.low)} to {figure(row.measure, row.high)}"
        shown = [figure(row.measure, value) for value in (row.asked, row.measured)]
        tolerance = figure(row.measure, row.tolerance)
        made.add_row(row.link, row.measure, *shown, between, tolerance, str(row.samples), "ok" if row.ok else "OFF")
    out.print(made)
