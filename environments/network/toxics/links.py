"""Links as TCP streams, for machines where packets cannot be had: each service that another site uses stands behind a
proxy of that site's, and the state of a link is the toxics of its proxies.

What streams do: delay, jitter (uniform), rate, and cuts: silent (nothing passes, and no end of a connection either, as
on a dead link; at the heal the connection is closed, because what was sent meanwhile is lost) or refused. What they
cannot do is `untestable`, and never left out in silence.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from environments.contract import LinkCounters, LinkState, SuiteError, untestable
from environments.network.toxics.client import Toxiproxy, ToxiproxyError
from environments.network.toxics.kinds import Bandwidth, Latency, SlowClose, Timeout, Toxic

Pair = tuple[str, str]
_STREAMS_DO = {"up", "reject", "delay_s", "jitter_s", "rate_bps", "queue_s", "queue_bytes"}  # a full queue pushes back
_KB_S = 8000  # bit/s in Toxiproxy's unit of rate
_RATE_TOLERANCE = 0.02
_FOR_EVER_S = 1e6  # how long a silent cut holds back that a connection has ended
_PACKET_BITS = 12_000  # a queue is never shorter than one packet
_COUNTED = ("received_bytes", "sent_bytes", "received_chunks", "sent_chunks")
_AT_ONCE = 8  # proxies that are told of a change side by side


def as_stream(state: LinkState) -> tuple[LinkState, list[str]]:
    """What streams can do of a state, and what is lost, as `field=value`."""
    plain = LinkState()
    others = [each.name for each in fields(state) if each.name not in _STREAMS_DO]
    differ = [name for name in others if getattr(state, name) != getattr(plain, name)]
    lost = [_said(name, getattr(state, name)) for name in differ if name != "burst" or state.loss]
    state = replace(state, **{name: getattr(plain, name) for name in others})
    rate_bps = state.rate_bps
    if rate_bps:
        near = max(1, round(rate_bps / _KB_S)) * _KB_S
        if abs(near - rate_bps) > _RATE_TOLERANCE * rate_bps:
            lost.append(f"rate_bps={rate_bps:g} (streams have whole kB/s)")
        rate_bps = float(near)
        state = replace(state, queue_s=max(state.queue_s, _PACKET_BITS / rate_bps))
    delay_s, jitter_s = round(state.delay_s, 3), round(state.jitter_s, 3)
    return replace(state, delay_s=delay_s, jitter_s=jitter_s, rate_bps=rate_bps), lost


def _said(name: str, value: object) -> str:
    return f"{name}={value}" if isinstance(value, int | float | str) else name


def toxics_of(state: LinkState) -> dict[str, Toxic]:
    """By name, in the order of the chain. The latency is always there, so that it is always first."""
    toxics: dict[str, Toxic] = {"latency": Latency(state.delay_s, state.jitter_s)}
    if state.rate_bps:
        toxics["bandwidth"] = Bandwidth(state.rate_bps)
    if not state.up:
        # Data is dropped; before that, the end of a connection is held back: on a dead link nobody is told of it.
        toxics["slow_close"] = SlowClose(_FOR_EVER_S)
        toxics["timeout"] = Timeout(0)
    return toxics


@dataclass
class Way:
    """A proxy: how one site reaches one service of another. present: its toxics, by stream."""

    proxy: str
    origin: str
    target: str
    enabled: bool = True
    present: dict[str, dict[str, Toxic]] = field(default_factory=lambda: {"upstream": {}, "downstream": {}})


class StreamLinks:
    """The contract's Links; a change holds when the call returns."""

    def __init__(self, client: Toxiproxy, states: Mapping[Pair, LinkState], timeline: Path) -> None:
        """states: (a, b) -> state of a -> b, and of b -> a too unless (b, a) is given. What streams cannot do of
        them is left out, and told by `lacking`."""
        self._client, self._timeline, self._lock = client, timeline, threading.RLock()
        self._names: dict[Pair, str] = {}
        for a, b in states:
            self._names.setdefault((a, b), self._names.get((b, a), f"{a}--{b}"))
            self._names.setdefault((b, a), self._names[a, b])
        asked = {(b, a): state for (a, b), state in states.items()} | dict(states)
        self._initial: dict[Pair, LinkState] = {}
        self._lacking: dict[str, str] = {}
        for (a, b), state in asked.items():
            self._initial[a, b], lost = as_stream(state)
            if lost:
                self._lacking[f"{a}>{b}"] = ", ".join(lost)
        self._states = dict(self._initial)
        self._ways: list[Way] = []
        for pair in self._states:
            self._note(pair, "start")

    # -- the contract

    def names(self) -> Sequence[str]:
        return list(dict.fromkeys(self._names.values()))

    def get(self, a: str, b: str) -> LinkState:
        """What the stream does: what it cannot do of the profile's state is not in it."""
        self._known(a, b)
        return self._states[a, b]

    def set(self, a: str, b: str, state: LinkState, *, both: bool = True, reason: str = "set") -> None:
        """Untestable if the state has what only packets can do."""
        possible, lost = as_stream(state)
        if lost:
            untestable(f"packet-links: links are TCP streams here, which cannot do {', '.join(lost)}")
        self._change(dict.fromkeys(self._chosen(a, b, both), possible), reason)

    def cut(self, a: str, b: str, *, both: bool = True) -> None:
        """Nothing passes from now on; what was on its way is lost."""
        self._change({pair: replace(self.get(*pair), up=False) for pair in self._chosen(a, b, both)}, "cut")

    def heal(self, a: str | None = None, b: str | None = None, *, both: bool = True, reason: str = "heal") -> None:
        chosen = list(self._states) if a is None or b is None else self._chosen(a, b, both)
        self._change({pair: self._initial[pair] for pair in chosen}, reason)

    def counters(self, a: str, b: str) -> LinkCounters:
        """Bytes of the streams; `offered` and `delivered` count what was read and written at a time, no packets."""
        self._known(a, b)
        streams = {(way.proxy, "upstream" if way.origin == a else "downstream") for way in self._between(a, b)}
        counts: dict[str, int] = {}
        for family in text_string_to_metric_families(self._client.metrics()):
            for sample in family.samples:
                if (sample.labels.get("proxy"), sample.labels.get("direction")) in streams:
                    counts[family.name] = counts.get(family.name, 0) + int(sample.value)
        of = {name: counts.get(f"toxiproxy_proxy_{name}", 0) for name in _COUNTED}
        return LinkCounters(
            of["received_chunks"],
            of["sent_chunks"],
            {},
            bytes_offered=of["received_bytes"],
            bytes_delivered=of["sent_bytes"],
        )

    def lacking(self) -> Mapping[str, str]:
        """Direction a>b -> what the profile asks of it and streams cannot do."""
        return dict(self._lacking)

    # -- how it is done

    def open_way(self, origin: str, target: str, service: str, upstream: str) -> int:
        """A proxy on loopback by which `origin` reaches a service of `target` at host:port; its port.

        service: a name that is the same in every run; what is random on the way is seeded by it."""
        with self._lock:
            self._known(origin, target)
            name = _name(origin, target, service)
            made = self._client.create(name, upstream)
            way = Way(name, origin, target)
            self._ways.append(way)
            self._apply(way)
            return made.port

    @contextmanager
    def bare_way(self, upstream: str) -> Iterator[int]:
        """A proxy of no link, without toxics: what a proxy costs by itself."""
        made = self._client.create(f"bare {upstream}", upstream)
        try:
            yield made.port
        finally:
            self._client.delete(made.name)

    @contextmanager
    def temporary_way(self, origin: str, target: str, service: str, upstream: str) -> Iterator[int]:
        """One of a link, for a while: for measuring."""
        port = self.open_way(origin, target, service, upstream)
        try:
            yield port
        finally:
            with self._lock:
                [way] = [each for each in self._ways if each.proxy == _name(origin, target, service)]
                self._ways.remove(way)
                self._client.delete(way.proxy)

    def directions(self) -> list[tuple[Pair, LinkState]]:
        return list(self._states.items())

    def shown(self) -> list[dict[str, Any]]:
        """As the router shows its links."""
        return [
            {
                "link": self._names[a, b],
                "a": a,
                "b": b,
                "state": asdict(state),
                "asked": asdict(state),
                "as_asked": state == self._initial[a, b],
            }
            for (a, b), state in self._states.items()
        ]

    def _known(self, a: str, b: str) -> None:
        if (a, b) not in self._states:
            raise KeyError(f"no link {a}--{b}; links: {', '.join(self.names()) or 'none'}")

    def _chosen(self, a: str, b: str, both: bool) -> list[Pair]:
        self._known(a, b)
        return [(a, b), (b, a)] if both else [(a, b)]

    def _between(self, a: str, b: str) -> list[Way]:
        return [way for way in self._ways if {way.origin, way.target} == {a, b}]

    def _change(self, states: Mapping[Pair, LinkState], reason: str) -> None:
        with self._lock:
            changed = {pair: state for pair, state in states.items() if self._states[pair] != state}
            self._states.update(changed)
            touched = {id(way): way for pair in changed for way in self._between(*pair)}
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                list(pool.map(self._apply, touched.values()))
            for pair in states:
                self._note(pair, reason)

    def _apply(self, way: Way) -> None:
        """Make a proxy do what the states of its two directions say."""
        there, back = self._states[way.origin, way.target], self._states[way.target, way.origin]
        try:
            for stream, state in (("upstream", there), ("downstream", back)):
                self._apply_stream(way, stream, toxics_of(state))
            enabled = not any(not state.up and state.reject for state in (there, back))
            if enabled != way.enabled:
                self._client.update(way.proxy, enabled=enabled)
                way.enabled = enabled
        except ToxiproxyError as error:
            raise SuiteError(f"the toxics server failed, so what ran on its links proves nothing: {error}") from error

    def _apply_stream(self, way: Way, stream: str, wanted: Mapping[str, Toxic]) -> None:
        present = way.present[stream]
        for name in [each for each in reversed(present) if each not in wanted]:
            self._client.remove_toxic(way.proxy, f"{stream}_{name}")
            del present[name]
        for name, toxic in wanted.items():
            if name not in present:
                self._client.add(way.proxy, toxic, stream=stream, name=f"{stream}_{name}")
            elif present[name] != toxic:
                self._client.update_toxic(way.proxy, f"{stream}_{name}", toxic)
            present[name] = toxic

    def _note(self, pair: Pair, reason: str) -> None:
        """One line of the timeline, as the router writes it."""
        row = {
            "t_s": time.time(),
            "link": self._names[pair],
            "direction": f"{pair[0]}>{pair[1]}",
            "state": asdict(self._states[pair]),
            "reason": reason,
        }
        with self._timeline.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(row) + "\n")


def _name(origin: str, target: str, service: str) -> str:
    return f"{origin}>{target} {service}"
