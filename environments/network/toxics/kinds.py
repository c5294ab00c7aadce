"""The toxics, in our units. Toxiproxy counts whole milliseconds, microseconds and kB/s: what it cannot count exactly is
refused here rather than rounded in silence.

`down`, the eighth of Toxiproxy's list, is no toxic there but a proxy that is disabled: `Toxiproxy.disable`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

_MS, _US, _KB_S = ("ms", 1e3), ("µs", 1e6), ("kB/s", 1 / 8000)
_BYTES = ("bytes", 1.0)


def _counted(wire: str, unit: tuple[str, float], *, least: float = 0, **options: Any) -> Any:
    """A field that Toxiproxy calls `wire` and counts in whole units."""
    return field(metadata={"wire": wire, "unit": unit, "least": least}, **options)


@dataclass(frozen=True)
class Latency:
    """Each piece of data arrives later, by delay_s plus or minus at most jitter_s; none overtakes another."""

    kind: ClassVar[str] = "latency"
    delay_s: float = _counted("latency", _MS)
    jitter_s: float = _counted("jitter", _MS, default=0.0)


@dataclass(frozen=True)
class Bandwidth:
    """Data leaves at most at this rate, per connection; whole kB/s of 1000 bytes, so 8000 bit/s at least."""

    kind: ClassVar[str] = "bandwidth"
    rate_bps: float = _counted("rate", _KB_S, least=1)


@dataclass(frozen=True)
class SlowClose:
    """The end of a stream is passed on so much later."""

    kind: ClassVar[str] = "slow_close"
    delay_s: float = _counted("delay", _MS)


@dataclass(frozen=True)
class Timeout:
    """Data is dropped, and the connection closed when none came for after_s; 0: closed only when this is removed."""

    kind: ClassVar[str] = "timeout"
    after_s: float = _counted("timeout", _MS)


@dataclass(frozen=True)
class ResetPeer:
    """The first data is dropped, and after_s later the connection is reset (RST)."""

    kind: ClassVar[str] = "reset_peer"
    after_s: float = _counted("timeout", _MS)


@dataclass(frozen=True)
class Slicer:
    """Data is cut into pieces of about average_bytes, give or take variation_bytes, with delay_s after each."""

    kind: ClassVar[str] = "slicer"
    average_bytes: int = _counted("average_size", _BYTES, least=1)
    variation_bytes: int = _counted("size_variation", _BYTES, default=0)
    delay_s: float = _counted("delay", _US, default=0.0)

    def __post_init__(self) -> None:
        if self.variation_bytes >= self.average_bytes:
            raise ValueError(f"slicer: variation_bytes must be less than average_bytes, {self.average_bytes}")


@dataclass(frozen=True)
class LimitData:
    """Exactly limit_bytes pass, then the connection is closed."""

    kind: ClassVar[str] = "limit_data"
    limit_bytes: int = _counted("bytes", _BYTES)


Toxic = Latency | Bandwidth | SlowClose | Timeout | ResetPeer | Slicer | LimitData
KINDS: Mapping[str, type[Toxic]] = {
    each.kind: each for each in (Latency, Bandwidth, SlowClose, Timeout, ResetPeer, Slicer, LimitData)
}


def made(kind: str, **values: Any) -> Toxic:
    """A toxic by name. ValueError names what is unknown or missing, and what there is."""
    if kind not in KINDS:
        raise ValueError(f"no toxic {kind!r}; toxics: {', '.join(KINDS)} (and down: disable the proxy)")
    known = [each.name for each in fields(KINDS[kind])]
    try:
        return KINDS[kind](**values)
    except TypeError:
        raise ValueError(f"{kind} has {', '.join(known)}, not {', '.join(values) or 'nothing'}") from None


def attributes(toxic: Toxic) -> dict[str, int]:
    """As Toxiproxy has them. ValueError for a value that it cannot count exactly."""
    return {
        each.metadata["wire"]: _whole(f"{toxic.kind}: {each.name}", getattr(toxic, each.name), each.metadata)
        for each in fields(toxic)
    }


def from_attributes(kind: str, given: Mapping[str, Any]) -> Toxic:
    """What a server says that it does; the opposite of `attributes`."""
    values: dict[str, Any] = {}
    for each in fields(KINDS[kind]):
        scale = each.metadata["unit"][1]
        count = given.get(each.metadata["wire"], 0)
        values[each.name] = count if scale == 1 else count / scale
    return KINDS[kind](**values)


def _whole(name: str, value: float, metadata: Mapping[str, Any]) -> int:
    unit, scale = metadata["unit"]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} must be a number, not {value!r}")
    exact = value * scale
    nearest: int = round(exact)
    if exact < 0 or abs(exact - nearest) > 1e-6 or nearest < metadata["least"]:
        near = max(nearest, metadata["least"]) / scale
        raise ValueError(f"{name}={value!r}: Toxiproxy counts whole {unit}; the nearest it can do is {near:g}")
    return nearest
