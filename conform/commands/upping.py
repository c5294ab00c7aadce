"""conform up"""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.table import Table

from conform.asked import Asked
from conform.console import DriverOption, complete_defect, complete_profile, out, print_json, say
from conform.found import BY_HAND
from conform.holder import Holder
from conform.standing import Standing, stand
from conform.watching import Changes

REFRESH_S = 0.5
LAST_EVENTS = 10  # lines below the live table; all of them are in the report


def up(
    profile: Annotated[str, typer.Argument(help="Profile id or YAML file.", autocompletion=complete_profile)],
    link: Annotated[str | None, typer.Option(help="Preset of links.yaml for every link.")] = None,
    schedule: Annotated[
        Path | None, typer.Option(help="Schedule file, played once all is ready; see docs/schedules.md.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the links' losses and jitter.")] = 0,
    defect: Annotated[
        list[str] | None,
        typer.Option("--defect", help="Switch on a known-bad behaviour; repeatable.", autocompletion=complete_defect),
    ] = None,
    clocks: Annotated[
        str, typer.Option(help="How clocks of nodes are set: knob (the product's own) or faketime (libfaketime).")
    ] = "knob",
    driver: DriverOption = "local",
    capture: Annotated[bool, typer.Option("--capture", help="Keep a pcap of every site in the run's folder.")] = False,
    seconds: Annotated[float | None, typer.Option("--for", help="Tear down after so many seconds.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep its files (logs, databases) afterwards.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print URLs and credentials as JSON once, then keep running.")
    ] = False,
) -> None:
    """Stand a profile up and keep it running until Ctrl-C, with a live view: links, sync backlog, egress, events.

    Links are changed from another shell: [bold]conform link cut edge-1--saas[/bold]. What happened, and when, is kept
    in runs/<run id>/ as journal and report, and done again by [bold]conform replay <run id>[/bold].
    """
    from conform import settings as options

    run_id = BY_HAND + options.new_run_id()
    asked = Asked([profile], defect=defect or [], seed=seed, link=link, run_id=run_id, keep=keep)
    asked.schedule, asked.clocks, asked.driver = schedule, clocks, driver
    options.refuse_adapter(asked.driver, "conform up")
    settings = options.settle(asked, Path.cwd())

    def use(standing: Standing) -> None:
        document = standing.deployment.describe()
        if as_json:
            print_json(document)
        else:
            _show(document)
        problem = standing.capture() if capture else ""
        if problem:
            say(problem, "yellow")
        standing.play()
        watch(standing.holder, seconds, quiet=as_json)

    code = stand(settings, use, _quiet if as_json else progress, quiet=as_json)
    if code:
        raise typer.Exit(code)


def _quiet(what: str) -> None:
    """With --json only the document is printed."""


def progress(what: str) -> None:
    say(f"  {what}", "dim")


def _show(document: dict[str, Any]) -> None:
    say(f"{document['profile']} is up: run {document['run_id']}, files in {document['workdir']}", "bold")
    for why in document.get("missing", {}).items():
        say(f"limited: {why[0]}: {why[1]}", "yellow")
    for name, node in document["nodes"].items():
        ready = f", ready in {node['ready_s']:.1f} s" if node.get("ready_s") else ""
        say(f"{name}: mode {node['mode']} ({node['variant']}) at site {node['site']}{ready}", "bold")
        for role, url in node["urls"].items():
            say(f"  {role:9} {url}")
        users = Table(box=None, header_style="bold", pad_edge=False)
        for column in ("  tenant", "username", "password", "roles"):
            users.add_column(column, no_wrap=True)
        for user in node["users"]:
            users.add_row(f"  {user['tenant']}", user["username"], user["password"], " ".join(user["roles"]))
        out.print(users)
    site = next(iter(document["nodes"].values()))["site"]
    pid = next((pid for node in document["nodes"].values() for pid in node["pids"].values() if pid), None)
    if pid is not None:
        enter = "nsenter -n" if os.geteuid() == 0 else "nsenter --preserve-credentials -U -n"
        say(f"the addresses are inside the sites; a shell in {site}: {enter} -t {pid}", "dim")


def watch(holder: Holder, seconds: float | None, quiet: bool) -> None:
    """A live table, and below it what happened last; on a pipe a line whenever something changed."""
    changes = Changes(holder)
    until = math.inf if seconds is None else time.monotonic() + seconds

    def ticks() -> Iterator[list[str]]:
        while time.monotonic() < until:
            yield [f"{time.strftime('%H:%M:%S')} {line}" for line in changes.look()]
            time.sleep(REFRESH_S)  # the refresh interval of the table

    if out.is_terminal and not quiet:
        last: deque[str] = deque(maxlen=LAST_EVENTS)
        with Live(console=out, auto_refresh=False) as live:
            for lines_ in ticks():
                last.extend(lines_)
                live.update(changes.picture(last), refresh=True)
        return
    for lines_ in ticks():
        for line in lines_ if not quiet else ():
            say(line)
