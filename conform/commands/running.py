"""conform run"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from conform.asked import Asked
from conform.console import (
    EXIT_BAD_ARGUMENTS,
    EXIT_SUITE_ERROR,
    DriverOption,
    complete_defect,
    complete_profile,
    complete_requirement,
    complete_suite,
    err,
    out,
    print_json,
    say,
    shown_path,
)

ProfileOption = Annotated[
    list[str] | None,
    typer.Option(
        "--profile", "-p", help="Profile id or YAML file; repeatable. Default: all.", autocompletion=complete_profile
    ),
]


def run(
    profile: ProfileOption = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="Requirement id; repeatable.", autocompletion=complete_requirement),
    ] = None,
    suite: Annotated[
        list[str] | None, typer.Option("--suite", help="Suite; repeatable.", autocompletion=complete_suite)
    ] = None,
    defect: Annotated[
        list[str] | None,
        typer.Option("--defect", help="Switch on a known-bad behaviour; repeatable.", autocompletion=complete_defect),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random. Default: a fresh one, recorded.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Held to all that applies, verifiable here or not.")] = False,
    link: Annotated[str | None, typer.Option(help="Preset of links.yaml for every link of the profiles.")] = None,
    schedule: Annotated[
        Path | None, typer.Option(help="Play this schedule from the start of each check; see docs/schedules.md.")
    ] = None,
    clocks: Annotated[
        str, typer.Option(help="How clocks of nodes are set: knob (the product's own) or faketime (libfaketime).")
    ] = "knob",
    driver: DriverOption = "local",
    soak: Annotated[float, typer.Option(help="Seconds that an edge node is soaked for.")] = 20.0,
    workers: Annotated[
        str | None, typer.Option("-n", help="Parallel workers: a number or auto. Default: as fits the run.")
    ] = None,
    run_dir: Annotated[Path | None, typer.Option(help="Where to put the run. Default: runs/<run id>.")] = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML here too.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print report.json instead of the tables.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the deployments' files (logs, databases).")] = False,
    everything: Annotated[bool, typer.Option("--all", help="List requirements without a check too.")] = False,
) -> None:
    """Stand the profiles up, run the checks that apply, write the report.

    Example: [bold]conform run --profile saas --profile edge-dil --junit out.xml[/bold]
    """
    from conform import settings as options

    names = list(dict.fromkeys(profile or _all_profiles()))
    run_id = options.new_run_id()
    folder = (run_dir or Path("runs", run_id)).absolute()
    asked = Asked(
        profile=names,
        only=only or [],
        suite=suite or [],
        defect=defect or [],
        seed=seed,
        conform_strict=strict,
        link=link,
        schedule=schedule.absolute() if schedule is not None else None,
        clocks=clocks,
        driver=driver,
        soak=soak,
        run_dir=folder,
        run_id=run_id,
        keep=keep,
    )
    options.settle(asked, Path.cwd())  # refuses bad names before anything is started
    if (folder / "journal.jsonl").exists() or (folder / "parts").exists():
        raise options.BadArguments(f"--run-dir: {folder} holds a run already. Name a new folder.")
    count = _workers(workers, names, only, driver)
    code, controller = _pytest(asked, count, quiet=as_json)
    _finish(code, controller, folder, junit, as_json, everything)


def _all_profiles() -> list[str]:
    import profiles

    return profiles.ids()


def _workers(asked: str | None, names: list[str], only: list[str] | None, driver: str) -> int:
    """Two deployments per core, since checks mostly wait; three on two of containers, whose databases take one to
    start; of deployments that exist, one per profile. 0: no workers."""
    from conform.settings import BadArguments
    from environments.adapters import is_adapter

    cores = len(os.sched_getaffinity(0))
    if asked is None:
        if (only or is_adapter(driver)) and len(names) == 1:
            return 0
        most = cores + cores // 2 if driver == "containers" else 2 * cores
        return max(2, min(most, len(names)))
    if asked == "auto":
        return cores
    if not asked.isdecimal():
        raise BadArguments(f"-n: expected a number or auto, not {asked!r}.")
    return int(asked)


def _pytest(asked: Asked, workers: int, quiet: bool) -> tuple[int, Any]:
    """Run pytest on the suites in this process; (its exit code, the controller plugin or None)."""
    import pytest

    from conform.progress import Progress

    progress = Progress(err if quiet else out)
    arguments = pytest_arguments(asked, workers)
    with progress:
        code = int(pytest.main(arguments, plugins=[progress]))
    return code, progress.controller


def pytest_arguments(asked: Asked, workers: int) -> list[str]:
    """For pytest.main in this process, which is readied for it: other plugins off, workers able to import."""
    from conform.catalogue import SUITES

    root = SUITES.parent
    ini = root / "pyproject.toml"
    arguments = [str(SUITES), "--rootdir", str(root), "-c", str(ini) if ini.is_file() else os.devnull]
    arguments += ["-o", "addopts=", "-p", "conform.plugin", "-p", "no:terminal", "-p", "no:cacheprovider"]
    arguments += ["-p", "pytest_timeout", "-p", "xdist.plugin"]
    arguments += ["--import-mode=importlib", *asked.arguments()]
    if workers:
        arguments += ["-n", str(workers)]
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # other plugins of the host cost time and can change verdicts
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(root), *filter(None, [before])])  # for the workers
    return arguments


def _finish(code: int, controller: Any, folder: Path, junit: Path | None, as_json: bool, everything: bool) -> None:
    report = getattr(controller, "report", None)
    if report is None:
        problem = getattr(controller, "problem", "") or "pytest ended before there was anything to report"
        err.print(f"conform: {problem}", style="red", soft_wrap=True, markup=False)
        raise typer.Exit(EXIT_BAD_ARGUMENTS if code == 4 else EXIT_SUITE_ERROR)
    if junit is not None:
        junit.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / "junit.xml", junit)
    if as_json:
        import json

        print_json(json.loads((folder / "report.json").read_text(encoding="utf-8")))
    else:
        from reports import console

        console.show(report if everything else _selected(report), out, everything=everything)
        if report.partial:
            say(f"cut short: {shown_path(folder / 'journal.jsonl')} is marked partial", "bold yellow")
        say(f"report: {shown_path(folder / 'report.html')}")
    raise typer.Exit(code)


def _selected(report: Any) -> Any:
    """The report without the requirements that the run was asked to leave out; a matrix of dashes tells nothing."""
    from reports.verdicts import Verdict

    left_out = {cell.requirement for cell in report.cells if cell.verdict is Verdict.NOT_SELECTED}
    if not left_out:
        return report
    judged = {cell.requirement for cell in report.cells if cell.checks}
    cells = [cell for cell in report.cells if cell.requirement in judged]
    requirements = [entry for entry in report.requirements if entry.id in judged]
    return report.model_copy(update={"requirements": requirements, "cells": cells})
