"""What the commands print with: errors to stderr, results to stdout, JSON where asked."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

EXIT_BAD_ARGUMENTS = 254
EXIT_SUITE_ERROR = 255

PIPE_WIDTH = 160  # a pipe has no width of its own, and folded tables are hard to search


def _width() -> int | None:
    return None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPE_WIDTH


out = Console(highlight=False, width=_width())
err = Console(stderr=True, highlight=False)


def fail(line: str, code: int) -> int:
    """Print one error line; returns the exit code."""
    err.print(Text.assemble(("conform: ", "bold red"), line), soft_wrap=True)
    return code


def say(line: str, style: str = "") -> None:
    """One line, never folded: a pipe and a copy want it whole."""
    out.print(Text(line, style), soft_wrap=True)


def shown_path(path: Path) -> str:
    """Relative to here, if it is below."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def print_json(document: Any) -> None:
    sys.stdout.write(json.dumps(document, indent=1, ensure_ascii=False, default=str) + "\n")


def completes(names: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """A completion function over names; silent when they cannot be had."""

    def complete(incomplete: str) -> list[str]:
        try:
            return [name for name in names() if name.lower().startswith(incomplete.lower())]
        except Exception:
            return []

    return complete


def _drivers() -> Iterable[str]:
    from environments import DRIVERS

    return DRIVERS


def _profiles() -> Iterable[str]:
    import profiles

    return profiles.ids()


def _requirements() -> Iterable[str]:
    from conform.catalogue import catalogue

    return catalogue()


def _suites() -> Iterable[str]:
    from conform.catalogue import catalogue, suites

    return suites(catalogue().values())


def _defects() -> Iterable[str]:
    from conform.defects import known

    return known()


complete_profile = completes(_profiles)
complete_requirement = completes(_requirements)
complete_suite = completes(_suites)
complete_defect = completes(_defects)

DriverOption = Annotated[
    str,
    typer.Option(
        "--driver",
        help="How a profile becomes real: local (processes), containers (docs/containers.md), or an adapter, "
        "package.module:Name (docs/writing-an-adapter.md).",
        autocompletion=completes(_drivers),
    ),
]
