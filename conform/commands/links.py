"""conform link: look at and change the links of a deployment that runs in another shell."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from conform import catalogue
from conform.commands import presets as _presets
from conform.console import completes, out, print_json, say
from conform.found import ask, find, running
from conform.linktable import links_of, table
from conform.settings import BadArguments, refuse

if TYPE_CHECKING:
    from environments.drivers.local.running import Running

app = typer.Typer(
    help="Show and change the links of a running deployment ([bold]conform up[/bold]), from another shell.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}


def _link_names() -> list[str]:
    return [name for each in running() for name in links_of(each.command(command="show"))]


LinkArgument = Annotated[
    str,
    typer.Argument(
        metavar="LINK", help="a--b, as `conform link show` names it.", autocompletion=completes(_link_names)
    ),
]
RunOption = Annotated[
    str | None,
    typer.Option("--run", help="Run id, where several deployments run. Default: the newest of `conform up`."),
]
OneWay = Annotated[bool, typer.Option("--one-way", help="From a to b only; the way back stays as it is.")]


@app.command("show")
def show(run: RunOption = None, as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False) -> None:
    """States and counters of every link."""
    deployment = find(run, "link")
    shown, counters = _ask(deployment, command="show"), _ask(deployment, command="counters")
    if as_json:
        print_json({"run_id": deployment.run_id, "profile": deployment.profile, **shown, **counters})
        return
    say(f"{deployment.profile}  run {deployment.run_id}")
    out.print(table(shown, counters.get("counters", {})))


@app.command("set")
def set_(
    link: LinkArgument,
    delay: Annotated[str | None, typer.Option(help="One-way delay, e.g. 300ms.")] = None,
    jitter: Annotated[str | None, typer.Option(help="Jitter, e.g. 20ms.")] = None,
    loss: Annotated[str | None, typer.Option(help="Fraction of packets lost, e.g. 2% or 0.02.")] = None,
    burst: Annotated[float | None, typer.Option(help="Mean length of a run of losses, packets.")] = None,
    rate: Annotated[str | None, typer.Option(help="Bits per second, e.g. 512k, 2M; `none` for unlimited.")] = None,
    queue: Annotated[str | None, typer.Option(help="Longest wait for the rate, e.g. 1s.")] = None,
    queue_bytes: Annotated[int | None, typer.Option(help="Most bytes that wait for the rate.")] = None,
    shape: Annotated[str | None, typer.Option("--jitter-shape", help="uniform or normal.")] = None,
    duplicate: Annotated[str | None, typer.Option(help="Fraction of packets doubled, e.g. 1%.")] = None,
    reorder: Annotated[str | None, typer.Option(help="Fraction of packets that overtake, e.g. 5%.")] = None,
    corrupt: Annotated[str | None, typer.Option(help="Fraction of packets with a turned bit, e.g. 0.1%.")] = None,
    mtu: Annotated[int | None, typer.Option(help="Largest packet that passes, bytes.")] = None,
    trace: Annotated[str | None, typer.Option(help="Mahimahi trace, name or path, instead of a rate.")] = None,
    preset: Annotated[str | None, typer.Option(help="A preset of links.yaml, both ways.")] = None,
    one_way: OneWay = False,
    run: RunOption = None,
) -> None:
    """Change a link; what is not named stays as it is.

    Example: [bold]conform link set edge-1--saas --delay 300ms --loss 2%[/bold]
    """
    state: dict[str, Any] = {"up": True}
    if delay is not None:
        state["delay_s"] = _seconds("--delay", delay)
    if jitter is not None:
        state["jitter_s"] = _seconds("--jitter", jitter)
    for name, share in (("loss", loss), ("duplicate", duplicate), ("reorder", reorder), ("corrupt", corrupt)):
        if share is not None:
            state[name] = _fraction(name, share)
    if burst is not None:
        state["burst"] = burst
    if rate is not None:
        state["rate_bps"] = _rate(rate)
    if queue is not None:
        state["queue_s"] = _seconds("--queue", queue)
    if trace is not None:
        state |= {"trace": str(Path(trace).absolute()) if "/" in trace else trace, "rate_bps": None}
    plain = {"queue_bytes": queue_bytes, "jitter_shape": shape, "mtu_bytes": mtu}
    state |= {name: value for name, value in plain.items() if value is not None}
    if preset is None:
        if len(state) == 1:
            raise BadArguments(
                "link set: nothing to set. Name at least one of --delay --jitter --loss --rate --preset (see --help)."
            )
        _change(link, run, one_way, "set", state=state, reason="by hand")
        return
    from profiles.load import preset as states
    from profiles.load import presets

    refuse(catalogue.unknown("preset", [preset], presets()))
    forward, back = states(preset, "--preset")
    a, b = _ends(link)
    deployment = _find(run)
    for source, target, way in ((a, b, forward), (b, a, back)):
        chosen = {**asdict(way), **state}
        _ask(deployment, command="set", a=source, b=target, both=False, state=chosen, reason=f"by hand: {preset}")
    say(f"{link}: {preset}")


app.command("presets")(_presets.presets)
app.command("calibrate")(_presets.calibrate)


@app.command("cut")
def cut(
    link: LinkArgument,
    one_way: OneWay = False,
    reject: Annotated[bool, typer.Option("--reject", help="Refuse at once (RST, ICMP), not in silence.")] = False,
    half_open: Annotated[
        bool, typer.Option("--half-open", help="Only connections that are open now hear nothing more.")
    ] = False,
    run: RunOption = None,
) -> None:
    """Cut a link: nothing passes until it is healed."""
    if reject and half_open:
        raise BadArguments("link cut: --reject and --half-open exclude each other. Name one.")
    _change(link, run, one_way, "cut", reason="cut by hand", reject=reject, half_open=half_open)


@app.command("heal")
def heal(
    link: Annotated[str | None, typer.Argument(metavar="[LINK]", help="Default: every link.")] = None,
    one_way: OneWay = False,
    run: RunOption = None,
) -> None:
    """Back to the state of the profile."""
    if link is None:
        _ask(_find(run), command="heal", reason="healed by hand")
        say("every link healed")
    else:
        _change(link, run, one_way, "heal", reason="healed by hand")


def _change(link: str, run: str | None, one_way: bool, command: str, **fields: Any) -> None:
    a, b = _ends(link)
    deployment = _find(run)
    known = links_of(_ask(deployment, command="show"))
    if link not in known:
        raise BadArguments(f"link: {deployment.profile} has no link {link!r}. {catalogue.nearest(link, known)}")
    _ask(deployment, command=command, a=a, b=b, both=not one_way, **fields)
    say(f"{link}: {command}{' one way' if one_way else ''}")


def _find(run: str | None) -> Running:
    return find(run, "link", to_change=True)


def _ask(deployment: Running, **fields: Any) -> dict[str, Any]:
    return ask(deployment, "link", **fields)


def _ends(link: str) -> tuple[str, str]:
    a, separator, b = link.partition("--")
    if not separator or not a or not b:
        raise BadArguments(f"link: {link!r} is not a link. Write it as a--b, e.g. edge-1--saas.")
    return a, b


def _seconds(option: str, text: str) -> float:
    match = re.fullmatch(r"([0-9.]+)\s*(ms|s|us|)", text.strip())
    try:
        if match is None:
            raise ValueError
        return float(match[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1.0, "": 1.0}[match[2]]
    except ValueError:
        raise BadArguments(f"{option}: {text!r} is not a time. Write 300ms or 0.3s.") from None


def _fraction(name: str, text: str) -> float:
    try:
        value = float(text.rstrip("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise BadArguments(f"--{name}: {text!r} is not a fraction below 1. Write 2% or 0.02.")
    return value


def _rate(text: str) -> float | None:
    if text == "none":
        return None
    match = re.fullmatch(r"([0-9.]+)\s*([kmg]?)(bps|bit/s)?", text.strip().lower())
    try:
        if match is None:
            raise ValueError
        return float(match[1]) * _UNITS[match[2]]
    except ValueError:
        raise BadArguments(f"--rate: {text!r} is not a rate. Write 512k, 2M or none.") from None
