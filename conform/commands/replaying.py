"""conform replay: do a run again, from its journal and its schedule."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from conform.asked import Asked
from conform.commands.upping import progress, watch
from conform.console import say, shown_path
from conform.controlling import JOURNAL
from conform.found import BY_HAND
from conform.playing import WITHIN_S
from conform.settings import SCHEDULE, BadArguments, Settings
from conform.standing import Standing, stand
from environments.schedules.model import PRECISION, Event, Schedule
from environments.schedules.rules import possible
from reports import records
from reports.journal import Journal, read
from reports.records import Header, VerdictRecord
from reports.verdicts import Verdict

RUNS = Path("runs")
AFTER_S = 1.0  # how long it stands after the last change
REPEATED = (Verdict.FAIL, Verdict.VACUOUS, Verdict.ERROR)


def replay(
    run: Annotated[str, typer.Argument(help="A run: its id, or its folder.")],
    every: Annotated[bool, typer.Option("--all", help="Of a run of checks: repeat those that passed too.")] = False,
) -> None:
    """Do a run again.

    One of [bold]conform up[/bold] is stood up, and its link changes, by schedule and by hand, are made at the same
    times. Of one of [bold]conform run[/bold] the failed checks are repeated, under the same schedule.
    """
    folder = folder_of("replay", run)
    journal = read(folder / JOURNAL)
    head = records.header(journal)
    if not head.profile_names:
        raise BadArguments(f"replay: {folder} was written by an older suite, and does not say what was asked for.")
    if head.stood_up:
        _stand_again(folder, journal, head)
    else:
        _check_again(folder, journal, head, every)


def folder_of(who: str, run: str) -> Path:
    """The folder of a run by its id, or by the folder itself. `who`: the command, for its error line."""
    for folder in (Path(run), RUNS / run):
        if (folder / JOURNAL).is_file():
            return folder
    known = sorted((path.parent.name for path in RUNS.glob(f"*/{JOURNAL}")), reverse=True)[:5]
    newest = f"The newest: {', '.join(known)}." if known else "There are none in ./runs."
    raise BadArguments(f"{who}: there is no run {run!r} here. {newest}")


# a run of checks


def _check_again(folder: Path, journal: Journal, head: Header, every: bool) -> None:
    from conform.commands import running

    verdicts = records.records(journal, "verdict", VerdictRecord)
    chosen = [each for each in verdicts if every or each.verdict in REPEATED]
    if not chosen:
        raise BadArguments(f"replay: nothing failed in {folder}. With --all its checks are repeated all the same.")
    given = dict(zip((each.id for each in head.profiles), head.profile_names, strict=True))
    ids = list(dict.fromkeys(each.requirement for each in chosen))
    names = [given[name] for name in dict.fromkeys(each.profile for each in chosen)]
    say(f"again: {', '.join(ids)} in {', '.join(names)}, seed {head.seed}")
    running.run(
        profile=names,
        only=ids,
        defect=head.defects_on,
        seed=head.seed,
        link=head.link,
        driver=head.driver or "local",
        schedule=folder / SCHEDULE if head.schedule else None,
        suite=None,
        strict=False,
        workers=None,
        run_dir=None,
        junit=None,
        as_json=False,
        keep=False,
        everything=False,
    )


# a deployment that was watched


@dataclass(frozen=True)
class Past:
    """What can be done again of a run, in seconds from when its deployment was ready."""

    events: tuple[Event, ...]
    links: int  # changes of a link direction among them
    left_out: tuple[str, ...]  # what cannot, in words


def past(journal: Journal, schedule: Schedule | None) -> Past:
    """Every change of a link by its own record, whoever made it; what a schedule did to other things by its events."""
    zero_s, starts_s = 0.0, None
    for event in journal.of("event"):
        if not zero_s and str(event["what"]).startswith("ready after"):
            zero_s = float(event["t_s"])
        if event.get("schedule"):
            starts_s = float(event["t_s"])
    links = {
        (at_s, str(row["direction"])): Event(at_s, "link", str(row["direction"]), "state", dict(row["state"]))
        for row in journal.of("timeline")
        if (at_s := round(float(row["t_s"]) - zero_s, PRECISION)) >= 0
        and row["reason"] != "start"
        and not str(row["reason"]).endswith(" stopped")
    }
    others: list[Event] = []
    if schedule is not None and starts_s is not None:
        shift_s = starts_s - zero_s
        done_s = float(max((r["t_s"] for r in journal.records if r.get("t_s")), default=0.0)) - starts_s
        others = [
            replace(event, at_s=round(event.at_s + shift_s, PRECISION))
            for event in schedule.events
            if event.kind != "link" and event.at_s <= done_s
        ]
    events = possible([*links.values(), *others])
    left_out = ["requests made by hand, and what was done to processes and files by hand: no journal has them"]
    return Past(events, sum(event.kind == "link" for event in events), tuple(left_out))


def _stand_again(folder: Path, journal: Journal, head: Header) -> None:
    from conform import settings as options

    asked = Asked(list(head.profile_names), defect=head.defects_on, seed=head.seed, link=head.link)
    asked.driver = head.driver or "local"
    options.refuse_adapter(asked.driver, "conform replay")
    asked.run_id = BY_HAND + options.new_run_id()
    settings = options.settle(asked, Path.cwd())
    before = past(journal, _kept(folder, settings) if head.schedule else None)
    name = f"replay of {head.run_id}"
    last_s = before.events[-1].at_s if before.events else 0.0
    again = Schedule(name, before.events, last_s, {"replay_of": head.run_id})
    settings = replace(settings, schedule=again)
    say(
        f"{name}: {before.links} link changes, {len(before.events) - before.links} other events, {last_s:.1f} s", "bold"
    )
    for line in before.left_out:
        say(f"not replayed: {line}", "yellow")

    def use(standing: Standing) -> None:
        standing.play()
        began_s = time.monotonic() if standing.player is None else time.monotonic() - standing.player.elapsed_s()
        watch(standing.holder, began_s + last_s + AFTER_S - time.monotonic(), quiet=False)
        late = standing.lateness()
        near = sum(abs(each) <= WITHIN_S for each in late)
        worst = f", the worst {max(map(abs, late)) * 1e3:.1f} ms off" if late else ""
        line = f"{near} of {before.links} link changes within {WITHIN_S * 1e3:.0f} ms of their original offsets{worst}"
        standing.holder.event(line)
        say(line, "bold")

    code = stand(settings, use, progress)
    say(f"the run that was replayed: {shown_path(folder)}", "dim")
    if code:
        raise typer.Exit(code)


def _kept(folder: Path, settings: Settings) -> Schedule:
    from conform.settings import load_schedule

    return load_schedule(folder / SCHEDULE, settings.profiles[0])
