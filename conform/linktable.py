"""The links of a deployment as a table: states, counters, and what waits to be synced."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.table import Table
from rich.text import Text


def links_of(shown: Mapping[str, Any]) -> list[str]:
    """Names a--b of both directions, as the router's `show` gives them."""
    return [f"{each['a']}--{each['b']}" for each in shown.get("links", [])]


def table(shown: Mapping[str, Any], counters: Mapping[str, Mapping[str, Any]], title: str = "") -> Table:
    """A row per direction. `shown` and `counters` are the router's answers to `show` and `counters`."""
    made = Table(box=None, header_style="bold", pad_edge=False, title=title or None, title_justify="left")
    for name in ("link", "state", "delay", "jitter", "loss", "rate", "waits", "offered", "delivered", "dropped"):
        made.add_column(name, justify="left" if name in ("link", "state") else "right", no_wrap=True)
    for each in shown.get("links", []):
        state = each["state"]
        count = _counters(counters, each["a"], each["b"])
        dropped = count.get("dropped") or {}
        made.add_row(
            f"{each['a']} → {each['b']}",
            _condition(each),
            f"{state['delay_s'] * 1e3:g} ms",
            f"{state['jitter_s'] * 1e3:g} ms",
            f"{state['loss'] * 100:g} %",
            state.get("trace") or rate(state["rate_bps"]),
            _waits(count),
            str(count.get("offered", "")),
            str(count.get("delivered", "")),
            " ".join(f"{cause} {n}" for cause, n in dropped.items() if n) or "0",
        )
    return made


def _waits(count: Mapping[str, Any]) -> str:
    """How long a packet that enters now waits for the rate, and the longest so far."""
    most_s = count.get("most_queue_s") or 0.0
    return f"{count['queue_s'] * 1e3:.0f} ms, most {most_s * 1e3:.0f}" if most_s else "–"


def lines(shown: Mapping[str, Any]) -> Iterable[str]:
    """One line per direction, for a pipe."""
    for each in shown.get("links", []):
        state = each["state"]
        up = "up" if state["up"] else "REFUSES" if state["reject"] else "DOWN"
        yield (
            f"link {each['a']}>{each['b']} {up} delay={state['delay_s'] * 1e3:g}ms"
            f" jitter={state['jitter_s'] * 1e3:g}ms loss={state['loss'] * 100:g}% rate={rate(state['rate_bps'])}"
            f"{_more(each)}"
        )


def summary(state: Any) -> str:
    """A LinkState in few words."""
    if not state.up:
        return "refused" if state.reject else "down"
    parts = [f"{state.delay_s * 1e3:g} ms"]
    if state.jitter_s:
        parts[0] += f" ± {state.jitter_s * 1e3:g}"
    parts.append(f"trace {state.trace}" if state.trace else rate(state.rate_bps))
    if state.loss:
        parts.append(f"{state.loss * 100:g} %" + (f"/{state.burst:g}" if state.burst else ""))
    return ", ".join([*parts, *(each.name for each in state.episodes)])


def figure(measure: str, value: float) -> str:
    """A figure of a calibration row with its unit."""
    if measure == "rate_bps":
        return f"{value / 1e3:.4g} kbit/s" if value < 1e6 else f"{value / 1e6:.4g} Mbit/s"
    if measure == "loss":
        return f"{value * 100:.3g} %"
    return f"{value:.3g} packets" if measure == "burst" else f"{value * 1e3:.4g} ms"


def rate(bps: float | None) -> str:
    if bps is None:
        return "unlimited"
    for unit, size in (("Gbit/s", 1e9), ("Mbit/s", 1e6), ("kbit/s", 1e3)):
        if bps >= size:
            return f"{bps / size:g} {unit}"
    return f"{bps:g} bit/s"


def _condition(direction: Mapping[str, Any]) -> Text:
    if not direction["state"]["up"]:
        return Text("REFUSES" if direction["state"]["reject"] else "CUT", "bold red")
    if direction["state"]["half_open"]:
        return Text("HALF OPEN", "bold red")
    if direction.get("episodes"):
        return Text(", ".join(direction["episodes"]), "yellow")
    return Text("as asked", "green") if direction["as_asked"] else Text("changed", "yellow")


_SELDOM = ("duplicate", "reorder", "corrupt", "mtu_bytes", "mtu_blackhole", "queue_bytes", "trace", "half_open")


def _more(direction: Mapping[str, Any]) -> str:
    """What of a state is seldom set, where it is."""
    state = direction["state"]
    return "".join(f" {name}={state[name]}" for name in _SELDOM if state.get(name)) + "".join(
        f" ({name})" for name in direction.get("episodes") or ()
    )


def _counters(counters: Mapping[str, Mapping[str, Any]], a: str, b: str) -> Mapping[str, Any]:
    for name in (f"{a}>{b}", f"{a}--{b}", f"{a} -> {b}", f"{a}->{b}"):
        if name in counters:
            return counters[name]
    return {}
