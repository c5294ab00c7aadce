"""The command line. Every error is one line that says what to do; a traceback only ever goes to a log file."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

import typer

from conform.commands import (
    comparing,
    egress,
    explain,
    host,
    images,
    killing,
    links,
    listing,
    replaying,
    reporting,
    running,
    scheduling,
    upping,
)
from conform.console import EXIT_BAD_ARGUMENTS, EXIT_SUITE_ERROR, fail
from conform.settings import BadArguments

EPILOG = (
    "Exit codes: 0 conformant, 1 non-conformant, 2 not fully verified (--strict, or cut short), "
    "254 bad arguments or profile, 255 the suite's own error."
)

app = typer.Typer(
    name="conform",
    help="CompanyOS portability and conformance suite: stands a deployment up, breaks it on purpose, says what held.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run", epilog=EPILOG)(running.run)
app.command("list")(listing.list_)
app.command("explain")(explain.explain)
app.command("up")(upping.up)
app.command("replay")(replaying.replay)
app.add_typer(links.app, name="link")
app.command("egress")(egress.egress)
app.add_typer(scheduling.app, name="schedule")
app.add_typer(images.app, name="images")
app.command("doctor")(host.doctor)
app.command("clean")(host.clean)
app.command("kill-matrix")(killing.kill_matrix)
app.command("report")(reporting.report)
app.command("parity")(comparing.parity)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    from environments.images.errors import ImagesError
    from profiles import ProfileError
    from reports.journal import JournalError

    argv = list(sys.argv[1:] if arguments is None else arguments)
    try:
        result = app(argv, prog_name="conform", standalone_mode=False)
    except (BadArguments, ProfileError, JournalError, ImagesError) as error:
        return fail(str(error), EXIT_BAD_ARGUMENTS)
    except typer.Abort:
        return fail("stopped", 130)
    except (KeyboardInterrupt, BrokenPipeError):
        return 130
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else EXIT_SUITE_ERROR
    except Exception as error:
        if hasattr(error, "format_message"):  # click's way of refusing arguments, whichever click typer carries
            return fail(_usage(error), EXIT_BAD_ARGUMENTS)
        return fail(f"unexpected {type(error).__name__}: {error}. The details are in {_log()}", EXIT_SUITE_ERROR)
    return result if isinstance(result, int) else 0


def _usage(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    path = getattr(context, "command_path", "conform")
    message = str(error.format_message()).strip()  # type: ignore[attr-defined]
    return f"{message} (see {path} --help)" if message else f"see {path} --help"


def _log() -> Path:
    handle, name = tempfile.mkstemp(prefix="conform-error-", suffix=".log")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        traceback.print_exc(file=file)
    return Path(name)


def entry() -> None:
    sys.exit(main())


if __name__ == "__main__":
    entry()
