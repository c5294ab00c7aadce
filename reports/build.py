"""From a journal to every view of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from reports import junit
from reports.html import render
from reports.journal import read
from reports.model import Report, from_journal


def build(journal_path: Path | str, out_dir: Path | str, *, strict: bool | None = None) -> Report:
    """Write report.json, report.html and junit.xml into `out_dir` and return the report.

    `strict` judges the same findings by the other measure; None keeps that of the run. JournalError: not whole.
    Each file is replaced in one step, so a reader never sees half of it.
    """
    report = from_journal(read(journal_path))
    if strict is not None:
        report = report.with_strict(strict)
    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    _replace(out / "report.json", lambda path: _text(path, report.model_dump_json(indent=1) + "\n"))
    _replace(out / "report.html", lambda path: _text(path, render(report)))
    _replace(out / "junit.xml", lambda path: junit.write(report, path))
    return report


def _text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", errors="backslashreplace")


def _replace(path: Path, write: Callable[[Path], None]) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
