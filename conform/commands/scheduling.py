"""conform schedule: look at schedules, grow them from a seed, replay a failing one, shrink it."""

from __future__ import annotations

import platform
import re
import shlex
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml
from rich.table import Table

from conform.asked import Asked
from conform.console import (
    EXIT_SUITE_ERROR,
    complete_defect,
    complete_profile,
    complete_requirement,
    completes,
    fail,
    out,
    print_json,
    say,
    shown_path,
)
from conform.settings import BadArguments, load_profile, load_schedule

if TYPE_CHECKING:
    from conform.settings import Settings
    from environments.schedules import Schedule

app = typer.Typer(
    help="Schedules: what happens to a deployment, and when. Format and generators: docs/schedules.md.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


def _generators() -> list[str]:
    from environments.schedules import GENERATORS

    return list(GENERATORS)


FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="A schedule file.")]
ProfileOption = Annotated[
    str, typer.Option("--profile", "-p", help="Profile id or YAML file.", autocompletion=complete_profile)
]
MaybeProfile = Annotated[
    str | None,
    typer.Option("--profile", "-p", help="Profile whose targets are meant.", autocompletion=complete_profile),
]
OnlyOption = Annotated[
    list[str], typer.Option("--only", help="Requirement id; repeatable.", autocompletion=complete_requirement)
]
DefectOption = Annotated[
    list[str] | None,
    typer.Option("--defect", help="Switch on a known-bad behaviour; repeatable.", autocompletion=complete_defect),
]
CheckOption = Annotated[str, typer.Option("--check", help="Only checks with this in their name.")]
TimesOption = Annotated[int, typer.Option("--times", min=1, help="How often each try is made.")]
SeedOption = Annotated[int, typer.Option(help="Seed of the links and the workload.")]
LinkOption = Annotated[str | None, typer.Option(help="Preset of links.yaml for every link.")]
OutOption = Annotated[Path | None, typer.Option("-o", "--out", help="Write it to this file.")]
AsJson = Annotated[bool, typer.Option("--json", help="For scripts.")]


@app.command("show")
def show(file: FileArgument, profile: MaybeProfile = None, as_json: AsJson = False) -> None:
    """The flat list of events of a schedule, and a picture of it."""
    schedule = _read(file, profile)
    if as_json:
        print_json(schedule.document())
    else:
        _show(schedule)


@app.command("generators")
def generators() -> None:
    """What can be grown from a seed, and its parameters."""
    from environments.schedules import GENERATORS

    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("generator", "what it makes", "parameters"):
        table.add_column(name)
    for each in GENERATORS.values():
        fields = each.parameters.model_fields.items()
        table.add_row(each.name, each.says, "  ".join(f"{name}={_shown(field.default)}" for name, field in fields))
    out.print(table)


@app.command("generate")
def generate(
    generator: Annotated[
        str, typer.Argument(help="Its name; see `generators`.", autocompletion=completes(_generators))
    ],
    parameters: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME=VALUE]...", help="Its parameters, e.g. down_s=1..3")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same schedule.")] = 0,
    duration: Annotated[str | None, typer.Option("--for", help="How long, e.g. 600s or 10m.")] = None,
    profile: MaybeProfile = None,
    to: OutOption = None,
    as_json: AsJson = False,
) -> None:
    """Grow a schedule from a seed.

    Example: [bold]conform schedule generate flapping --seed 7 --for 2m --profile edge-dil -o flap.yaml[/bold]
    """
    from environments.schedules import ScheduleError, Targets, written
    from environments.schedules import generate as grow
    from environments.schedules.reader import compiled
    from environments.schedules.targets import of_profile

    targets = of_profile(load_profile(profile)) if profile else None
    try:
        grown = grow(
            generator,
            seed=seed,
            duration_s=_seconds("--for", duration) if duration else None,
            targets=targets or Targets(),
            parameters=dict(_parameter(each) for each in parameters or []),
        )
        text = written(grown if to is None else replace(grown, name=to.name))
        schedule = compiled(
            text, to or Path(f"{generator}.yaml"), targets
        )  # refuses what the parameters made impossible
    except ScheduleError as error:
        raise BadArguments(f"schedule generate: {error}") from None
    if to is not None:
        _write(to, text)
    if as_json:
        print_json(schedule.document())
    elif to is not None:
        _show(schedule)
        say(f"written: {to}")
    else:
        out.file.write(text)


@app.command("replay")
def replay(
    file: FileArgument,
    profile: ProfileOption,
    only: OnlyOption,
    check: CheckOption = "",
    times: TimesOption = 5,
    defect: DefectOption = None,
    seed: SeedOption = 0,
    link: LinkOption = None,
    as_json: AsJson = False,
) -> None:
    """Run a check several times under a schedule: does it fail each time? Exit code 1 if it failed at all."""
    from conform import shrinking

    asked, settings, schedule = _asked(file, profile, only, defect, seed, link)
    tell = _quiet if as_json else _progress
    found = _benched(asked, lambda bench: shrinking.replay(bench, schedule, times, tell), check)
    failed = any(each.failed for each in found)
    if as_json:
        checks = [
            {"check": e.check, "failed": e.failed, "of": len(e.tries), "without": e.alone.verdict.value} for e in found
        ]
        print_json({**_circumstances(settings), "schedule": schedule.document(), "checks": checks})
    else:
        for each in found:
            say(each.sentence(schedule), "bold red" if each.failed else "bold green")
        say(_sentence(settings), "dim")
    raise typer.Exit(1 if failed else 0)


@app.command("shrink")
def shrink(
    file: FileArgument,
    profile: ProfileOption,
    only: OnlyOption,
    to: Annotated[Path, typer.Option("-o", "--out", help="Where the shortest schedule goes.")],
    check: CheckOption = "",
    times: TimesOption = 5,
    runs: Annotated[int, typer.Option("--runs", min=1, help="At most so many runs of the check.")] = 200,
    defect: DefectOption = None,
    seed: SeedOption = 0,
    link: LinkOption = None,
    as_json: AsJson = False,
) -> None:
    """The shortest schedule under which a check still fails, every time of --times. Ctrl-C keeps the best so far."""
    from conform import shrinking
    from environments.schedules import written

    asked, settings, schedule = _asked(file, profile, only, defect, seed, link)
    tell = _quiet if as_json else _progress
    result = _benched(asked, lambda bench: shrinking.shortest(bench, schedule, times, runs, tell), check)
    result = replace(result, after=replace(result.after, name=to.name))
    _write(to, written(result.after))
    again = f"conform schedule replay {to} --profile {profile} --seed {seed} " + " ".join(
        [f"--only {each}" for each in only]
        + [f"--defect {each}" for each in defect or []]
        + ([f"--link {link}"] if link else [])
        + [f"--check {shlex.quote(result.check.rpartition('::')[2])}"]
    )
    if as_json:
        print_json(
            {
                **_circumstances(settings),
                "check": result.check,
                "from": result.before.size,
                "to": result.after.size,
                "failed": result.failed,
                "of": result.times,
                "runs": result.runs,
                "complete": result.complete,
                "schedule": result.after.document(),
            }
        )
        return
    say(result.sentence, "bold")
    _show(result.after)
    say(f"{result.check}: {result.reason[:300]}")
    say(f"written: {to}; again: {again}")
    say(_sentence(settings), "dim")


def _read(file: Path, profile: str | None) -> Schedule:
    from environments.schedules import ScheduleError, read

    if profile is not None:
        return load_schedule(file, load_profile(profile))
    try:
        return read(file)
    except OSError as error:
        raise BadArguments(f"{file}: {error.strerror or error}") from None
    except ScheduleError as error:
        raise BadArguments(str(error)) from None


def _asked(
    file: Path, profile: str, only: list[str], defect: list[str] | None, seed: int, link: str | None
) -> tuple[Asked, Settings, Schedule]:
    from conform import settings as options

    run_id = options.new_run_id()
    asked = Asked([profile], only=only, defect=defect or [], seed=seed, link=link, run_id=run_id)
    asked.schedule = file.absolute()
    asked.run_dir = Path("runs", run_id).absolute()
    asked.no_report = True
    settings = options.settle(asked, Path.cwd())  # refuses bad names before anything is started
    assert settings.schedule is not None
    return asked, settings, settings.schedule


def _benched(asked: Asked, work: Any, part: str) -> Any:
    from conform.trials import NothingFound, NoTrial, bench

    try:
        return bench(asked, work, part)
    except NothingFound as error:
        raise typer.Exit(fail(str(error), 1)) from None
    except NoTrial as error:
        raise typer.Exit(fail(str(error), EXIT_SUITE_ERROR)) from None


def _circumstances(settings: Settings) -> dict[str, Any]:
    try:
        version = metadata.version("companyos-conform")
    except metadata.PackageNotFoundError:
        version = "not installed"
    return {
        "profile": settings.profiles[0].id,
        "seed": settings.seed,
        "link": settings.link,
        "defects": list(settings.defects),
        "suite_version": version,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "run_dir": str(settings.run_dir),
    }


def _sentence(settings: Settings) -> str:
    facts = _circumstances(settings)
    parts = [f"{facts['profile']}, seed {facts['seed']}"]
    parts += [f"link {facts['link']}"] if facts["link"] else []
    parts += [f"defect {name}" for name in facts["defects"]]
    parts += [f"suite {facts['suite_version']}, Python {facts['python']}, Linux {facts['kernel']}"]
    return ", ".join([*parts, f"journal {shown_path(settings.run_dir / 'journal.jsonl')}"])


def _show(schedule: Schedule) -> None:
    from conform.picturing import events, picture

    say(f"{schedule.name}: {schedule.size}", "bold")
    for line in events(schedule):
        say(line)
    for strip in picture(schedule):
        out.print(strip, soft_wrap=True)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadArguments(f"-o: {path}: {error.strerror or error}") from None


def _parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise BadArguments(f"{text!r} is no parameter. Write name=value, e.g. down_s=1..3.")
    try:
        return name, yaml.safe_load(value)
    except yaml.YAMLError:
        raise BadArguments(f"{name}: {value!r} is not a value. Write a number, low..high or {{a: b}}.") from None


def _seconds(option: str, text: str) -> float:
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(s|m|h|)", text.strip())
    if match is None:
        raise BadArguments(f"{option}: {text!r} is not a time. Write 600s, 10m or 2h.")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return "..".join(f"{each:g}" for each in value)
    return "-" if value is None else str(value)


def _progress(line: str) -> None:
    say(f"  {line}", "dim")


def _quiet(line: str) -> None:
    """With --json only the document is printed."""
