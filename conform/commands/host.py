"""conform doctor, conform clean"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.text import Text

from conform.console import out, print_json, say


def doctor(as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False) -> None:
    """Look at this machine: what it can do, and what to do about what it can't. Exit 1 if a run would not work."""
    from environments.doctor import findings

    found = findings()
    bad = [each for each in found if each.required and not each.ok]
    if as_json:
        print_json([asdict(each) for each in found])
        raise typer.Exit(1 if bad else 0)
    width = max(len(each.name) for each in found)
    for each in found:
        mark, style = (
            ("ok", "green") if each.ok else ("MISSING", "bold red") if each.required else ("limited", "yellow")
        )
        out.print(Text.assemble((f"{mark:8}", style), (f"{each.name:{width}}  ", "bold"), each.detail), soft_wrap=True)
        if not each.ok and each.remedy:
            out.print(Text(f"{'':8}{'':{width}}  remedy: {each.remedy}"), soft_wrap=True)
    raise typer.Exit(1 if bad else 0)


def clean(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed; remove nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Remove what killed runs left on this machine: their processes and folders, and nothing else."""
    from environments.clean import sweep

    lines = sweep(dry_run=dry_run)
    if as_json:
        print_json(lines)
        return
    for line in lines:
        say(("would remove " if dry_run else "removed ") + line)
    if not lines:
        say("nothing was left")
