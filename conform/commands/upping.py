"""conform up"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from conform.commands.links import BY_HAND
from conform.console import EXIT_SUITE_ERROR, complete_defect, complete_profile, fail, out, print_json, say
from conform.linktable import lines, table

REFRESH_S = 0.5


def up(
    profile: Annotated[str, typer.Argument(help="Profile id or YAML file.", autocompletion=complete_profile)],
    link: Annotated[str | None, typer.Option(help="Preset of links.yaml for every link.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the links' losses and jitter.")] = 0,
    defect: Annotated[
        list[str] | None,
        typer.Option("--defect", help="Switch on a known-bad behaviour; repeatable.", autocompletion=complete_defect),
    ] = None,
    seconds: Annotated[float | None, typer.Option("--for", help="Tear down after so many seconds.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep its files (logs, databases) afterwards.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print URLs and credentials as JSON once, then keep running.")
    ] = False,
) -> None:
    """Stand a profile up and keep it running until Ctrl-C, with a live table of its links and the sync backlog.

    Links are changed from another shell: [bold]conform link cut edge-1--saas[/bold]
    """
    import environments
    from conform import settings as options

    loaded = options.load_profile(profile, link)
    service, network = options.split_defects(defect or [])
    stop = threading.Event()
    deployment: Any = None
    with _stops(stop):
        try:
            deployment = environments.provision(
                loaded,
                run_id=BY_HAND + options.new_run_id(),
                seed=seed,
                defects=list(service),
                network_defects=list(network),
                progress=(lambda _: None) if as_json else (lambda what: say(f"  {what}", "dim")),
            )
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
        except Exception as error:
            raise typer.Exit(fail(f"{loaded.id} did not get ready: {error}", EXIT_SUITE_ERROR)) from None
        try:
            document = deployment.describe()
            if as_json:
                print_json(document)
            else:
                _show(document)
            _watch(deployment, stop, None if seconds is None else time.monotonic() + seconds, quiet=as_json)
        except KeyboardInterrupt:
            pass
        finally:
            _deaf()
            deployment.close(keep_files=keep)
            if not as_json:
                kept = f"; files kept in {deployment.workdir}" if keep else ""
                with contextlib.suppress(OSError):  # the terminal may be gone
                    say(f"{loaded.id} torn down{kept}")


@contextmanager
def _stops(stop: threading.Event) -> Iterator[None]:
    """SIGTERM and SIGHUP end it as Ctrl-C does."""

    def raised(number: int, frame: FrameType | None) -> None:
        stop.set()
        raise KeyboardInterrupt

    before: dict[int, Any] = {number: signal.signal(number, raised) for number in (signal.SIGTERM, signal.SIGHUP)}
    before[signal.SIGINT] = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _deaf() -> None:
    """A second Ctrl-C must not leave half of it running."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


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


def _watch(deployment: Any, stop: threading.Event, until: float | None, quiet: bool) -> None:
    """The live table on a terminal; on a pipe a line whenever something changed."""
    router = _router(deployment)
    backlog = Backlog(deployment)
    crashes: list[str] = []  # each is told once by the deployment, and stays on the screen

    def picture() -> Group:
        crashes.extend(deployment.crashed())
        return _picture(router, [*backlog.lines(), *crashes])

    def over() -> bool:
        return stop.is_set() or (until is not None and time.monotonic() >= until)

    if out.is_terminal and not quiet:
        with Live(picture(), console=out, auto_refresh=False) as live:
            while not over():
                live.update(picture(), refresh=True)
                stop.wait(REFRESH_S)  # the refresh interval of the table
        return
    told: set[str] = set()
    while not over():
        crashes.extend(deployment.crashed())
        current = {*lines(router("show")), *backlog.lines(), *crashes}
        if not quiet:
            for line in sorted(current - told):
                say(f"{time.strftime('%H:%M:%S')} {line}")
            told = current
        stop.wait(REFRESH_S)


def _router(deployment: Any) -> Callable[[str], dict[str, Any]]:
    from environments.network.client import command

    def ask(name: str) -> dict[str, Any]:
        try:
            return dict(command(deployment.workdir, {"command": name}))
        except OSError:
            return {}

    return ask


def _picture(router: Callable[[str], dict[str, Any]], below: list[str]) -> Group:
    shown, counters = router("show"), router("counters").get("counters", {})
    parts: list[Any] = [Text(), table(shown, counters) if shown.get("links") else Text("no links", "dim")]
    parts += [Text(line, "bold") for line in below]
    parts.append(Text("Ctrl-C tears down; `conform link` in another shell changes links", "dim"))
    return Group(*parts)


class Backlog:
    """What each edge node has not yet synced, as the node reports it."""

    def __init__(self, deployment: Any) -> None:
        self._nodes = [node for node in deployment.nodes.values() if str(node.mode) == "D"]
        self._clients: dict[str, Any] = {}

    def lines(self) -> list[str]:
        return [line for node in self._nodes if (line := self._line(node))]

    def _line(self, node: Any) -> str:
        from environments.contract import TransportError

        try:
            if node.name not in self._clients:
                self._clients[node.name] = node.login(node.user("operator"))
            answer = self._clients[node.name].admin("GET", "/v1/sync", timeout_s=1.0)
            if answer.status == 401:  # the token has expired
                self._clients.pop(node.name)
                return self._line(node)
            status = answer.json()
        except (TransportError, ValueError, AssertionError) as refusal:
            return f"sync {node.name}: no answer ({refusal})"
        error = f" last_error={status['last_error']}" if status.get("last_error") else ""
        return f"sync {node.name}: backlog={status.get('backlog')} acked_seq={status.get('acked_seq')}{error}"
