"""conform report"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from conform.console import out, print_json, say

JOURNAL = "journal.jsonl"
PARTS = "parts"


def report(
    journal: Annotated[Path, typer.Argument(help="A journal.jsonl, or the folder of a run.")],
    to: Annotated[Path | None, typer.Option("--to", help="Folder for the views. Default: beside the journal.")] = None,
    strict: Annotated[
        bool | None, typer.Option("--strict/--not-strict", help="Judge by the other measure. Default: as the run was.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML here too.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print report.json instead of the tables.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="List requirements without a check too.")] = False,
) -> None:
    """Rebuild report.json, report.html and junit.xml from a journal; the exit code is that of the run.

    The folder of a run that was killed gives a partial journal of what its workers had written.
    """
    from reports import console
    from reports.build import build

    path = _journal_of(journal)
    folder = to or path.parent
    built = build(path, folder, strict=strict)
    if junit is not None:
        junit.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / "junit.xml", junit)
    if as_json:
        print_json(json.loads((folder / "report.json").read_text(encoding="utf-8")))
    else:
        console.show(built, out, everything=everything)
        say(f"report: {folder / 'report.html'}")
    raise typer.Exit(int(built.exit_code))


def _journal_of(path: Path) -> Path:
    """The journal; for a folder of a killed run, one merged from its parts."""
    from reports.journal import merge

    if not path.is_dir():
        return path
    found = path / JOURNAL
    parts = sorted((path / PARTS).glob("*.jsonl"))
    if not found.exists() and parts:
        with tempfile.TemporaryDirectory(dir=path) as scratch:
            merge(parts, Path(scratch) / JOURNAL, partial=True)
            (Path(scratch) / JOURNAL).replace(found)
    return found
