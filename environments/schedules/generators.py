"""Schedules grown from a seed: the same generator, seed, duration, parameters and targets give the same events.

A generator is a function of its parameters; what it is called and takes is in GENERATORS and docs/schedules.md. The
weather of each link has a random sequence of its own, so that one more link changes nothing for the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from environments.schedules import storms
from environments.schedules.model import PRECISION, Event, Schedule, ScheduleError, Targets, in_order
from environments.schedules.patterns import PATTERNS, Round, rounds_of

MAX_EVENTS = 100_000  # more is a mistake in the parameters


def _span(value: Any) -> Any:
    """`3` is 3 to 3; `1..3` is what a shell takes easily; a list of two is YAML's way."""
    if isinstance(value, str) and ".." in value:
        low, _, high = value.partition("..")
        value = [float(low), float(high)]
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = [value, value]
    if isinstance(value, list | tuple) and len(value) == 2 and value[0] > value[1]:
        raise ValueError("the first of the two is the smaller one")
    return value


Span = Annotated[tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]], BeforeValidator(_span)]
Times = Annotated[Span, BeforeValidator(lambda value: _positive(_span(value)))]
Names = Annotated[list[str], BeforeValidator(lambda value: value.split(",") if isinstance(value, str) else value)]
Ways = Literal["both", "out", "in", "any"]


def _positive(value: Any) -> Any:
    if isinstance(value, list | tuple) and value and value[0] <= 0:
        raise ValueError("must be more than 0 seconds: an outage of length 0 is none")
    return value


class Parameters(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    links: Names | None = None  # a--b; default: every link of the profile
    ways: Ways = "both"  # out: from the first site of the link to the second; any: drawn for each outage


class Flapping(Parameters):
    up_s: Times = (1.0, 5.0)
    down_s: Times = (0.5, 3.0)


class Outages(Parameters):
    every_s: Times = (20.0, 60.0)  # from the start of one to the start of the next
    lasts_s: Times = (1.0, 10.0)
    state: dict[str, Any] | None = None  # what the link is like meanwhile; default: cut


class Degrade(Parameters):
    every_s: Times = (2.0, 5.0)  # between two steps of the walk
    delay_s: Span | None = (0.02, 0.6)
    loss: Span | None = (0.0, 0.1)
    rate_bps: Span | None = (64e3, 4e6)
    stride: float = Field(default=0.25, gt=0, le=1)  # the longest step, as a part of the range


class Storm(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    every_s: Times = (2.0, 8.0)  # between the starts of two faults, of whatever kind
    lasts_s: Times = (0.5, 5.0)
    kinds: Names | None = None  # of link, process, clock, disk, dependency; default: all that have a target here
    links: Names | None = None
    processes: Names | None = None
    nodes: Names | None = None  # for clocks and disks
    dependencies: Names | None = None


class Pattern(Parameters):
    scale: float = Field(default=1.0, gt=0)  # all times are divided by this


@dataclass(frozen=True)
class Generator:
    name: str
    says: str  # what it makes, and where its figures come from
    parameters: type[BaseModel]
    grow: Callable[[Any, Random, float, Targets], Iterator[Event]]
    natural_s: Callable[[Any], float | None] = lambda _: None  # how long it is by itself; None: as long as asked


def generate(
    name: str,
    *,
    seed: int,
    duration_s: float | None,
    targets: Targets,
    parameters: Mapping[str, Any] | None = None,
    where: str = "",
) -> Schedule:
    """The schedule of that generator. Raises ScheduleError: no such generator, parameter or target."""
    if name not in GENERATORS:
        raise ScheduleError(where, "generator", f"no generator {name!r}; known: {', '.join(GENERATORS)}")
    generator = GENERATORS[name]
    try:
        given = generator.parameters.model_validate(dict(parameters or {}))
    except ValidationError as error:
        raise _refusal(where, generator, error) from None
    duration_s = generator.natural_s(given) if duration_s is None else duration_s
    if duration_s is None or not 0 < duration_s < 1e8:
        raise ScheduleError(where, "duration_s", f"{name} needs a duration in seconds, more than 0")
    events: list[Event] = []
    for event in generator.grow(given, Random(f"{seed}/{name}"), duration_s, targets):
        events.append(event)
        if len(events) > MAX_EVENTS:
            raise ScheduleError(
                where, "duration_s", f"more than {MAX_EVENTS} events; ask for less, or for longer times"
            )
    if not events:
        raise ScheduleError(where, "duration_s", f"nothing happens within {duration_s:g} s; ask for longer")
    plain = given.model_dump(mode="json", exclude_defaults=True)
    grown = {"generator": name, "seed": seed, **({"parameters": plain} if plain else {})}
    return Schedule(name, in_order(events), duration_s, grown)


def _refusal(where: str, generator: Generator, error: ValidationError) -> ScheduleError:
    first = error.errors()[0]
    key = str(first["loc"][0]) if first["loc"] else "parameters"
    if first["type"] == "extra_forbidden":
        return ScheduleError(
            where, key, f"{generator.name} has no such parameter; it has {', '.join(generator.parameters.model_fields)}"
        )
    return ScheduleError(where, key, first["msg"].removeprefix("Value error, "))


def _links(given: Parameters, targets: Targets) -> list[str]:
    chosen = given.links if given.links is not None else list(targets.links)
    if not chosen:
        raise ScheduleError("", "links", "no link to act on: name links, or the profile that has some")
    return chosen


def _each_link(given: Parameters, rng: Random, targets: Targets) -> Iterator[tuple[str, Random]]:
    base = rng.random()
    for link in _links(given, targets):
        yield link, Random(f"{base}/{link}")


def _way(link: str, ways: Ways, rng: Random) -> str:
    a, _, b = link.partition("--")
    chosen = rng.choice(("both", "out", "in")) if ways == "any" else ways
    return {"both": link, "out": f"{a}>{b}", "in": f"{b}>{a}"}[chosen]


def ms(value_s: float) -> float:
    return round(value_s, PRECISION)


def outage(at_s: float, until_s: float, duration_s: float, target: str, state: Mapping[str, Any] | None) -> list[Event]:
    """A break and its mend, cut off at the end of the schedule; nothing if it would have no length."""
    begin, end = ms(at_s), ms(min(until_s, duration_s))
    if end - begin < 10**-PRECISION:
        return []
    first = Event(begin, "link", target, "cut") if state is None else Event(begin, "link", target, "state", dict(state))
    return [first, Event(end, "link", target, "heal")]


def _rounds(
    rounds: list[Round], given: Parameters, rng: Random, duration_s: float, targets: Targets, scale: float = 1.0
) -> Iterator[Event]:
    for link, own in _each_link(given, rng, targets):
        at_s = 0.0
        for up, down, state, down_first in rounds_of(rounds):
            up_s, down_s = own.uniform(*up) / scale, own.uniform(*down) / scale
            begin = at_s if down_first else at_s + up_s
            yield from outage(begin, begin + down_s, duration_s, _way(link, given.ways, own), state)
            at_s += up_s + down_s
            if at_s >= duration_s:
                break


def flapping(given: Flapping, rng: Random, duration_s: float, targets: Targets) -> Iterator[Event]:
    return _rounds([Round(up_s=given.up_s, down_s=given.down_s)], given, rng, duration_s, targets)


def outages(given: Outages, rng: Random, duration_s: float, targets: Targets) -> Iterator[Event]:
    for link, own in _each_link(given, rng, targets):
        begin = own.uniform(*given.every_s)
        while begin < duration_s:
            following = begin + own.uniform(*given.every_s)
            until = min(begin + own.uniform(*given.lasts_s), following - 2 * 10**-PRECISION)
            yield from outage(begin, until, duration_s, _way(link, given.ways, own), given.state)
            begin = following


def degrade(given: Degrade, rng: Random, duration_s: float, targets: Targets) -> Iterator[Event]:
    """Each measure wanders through its range: a step is at most `stride` of it, and turns back at its ends."""
    ranges = {name: span for name in ("delay_s", "loss", "rate_bps") if (span := getattr(given, name)) is not None}
    for link, own in _each_link(given, rng, targets):
        target, at_s = _way(link, given.ways, own), 0.0
        places = {name: own.random() for name in ranges}
        while at_s < duration_s:
            state = {name: _at(name, span, places[name]) for name, span in ranges.items()}
            yield Event(ms(at_s), "link", target, "state", state)
            at_s += max(own.uniform(*given.every_s), 0.002)
            places = {name: _bounded(place + own.uniform(-1, 1) * given.stride) for name, place in places.items()}
        yield Event(ms(duration_s), "link", target, "heal")


def _bounded(place: float) -> float:
    return abs(place) if place < 1 else 2 - place


def _at(name: str, span: tuple[float, float], place: float) -> float:
    """A rate changes by factors, the others by amounts."""
    low, high = span
    if name == "rate_bps" and low > 0:
        return float(round(low * (high / low) ** place))
    return round(low + (high - low) * place, 5)


def storm(given: Storm, rng: Random, duration_s: float, targets: Targets) -> Iterator[Event]:
    chosen = storms.chosen(given.model_dump(), targets)
    busy: dict[str, float] = {}  # target -> until when
    at_s = rng.uniform(*given.every_s)
    while at_s < duration_s:
        until_s = min(at_s + rng.uniform(*given.lasts_s), duration_s)
        free = [each for each in chosen if busy.get(each[1], -1.0) < at_s - 10**-PRECISION]
        if free and ms(until_s) > ms(at_s):
            kind, target = rng.choice(free)
            yield from storms.fault(kind, target, ms(at_s), ms(until_s), rng)
            busy[target] = until_s
        at_s += rng.uniform(*given.every_s)


def _pattern(name: str) -> Generator:
    pattern = PATTERNS[name]

    def grow(given: Pattern, rng: Random, duration_s: float, targets: Targets) -> Iterator[Event]:
        return _rounds(list(pattern.rounds), given, rng, duration_s, targets, given.scale)

    def natural_s(given: Pattern) -> float | None:
        return None if pattern.natural_s is None else pattern.natural_s / given.scale

    return Generator(name, pattern.says, Pattern, grow, natural_s)


GENERATORS: Mapping[str, Generator] = {
    each.name: each
    for each in (
        Generator("flapping", "a link that comes and goes: up_s and down_s are drawn in turn", Flapping, flapping),
        Generator("outages", "an outage of lasts_s every every_s, or a state instead of a cut", Outages, outages),
        Generator("degrade", "delay, loss and rate wander through their ranges", Degrade, degrade),
        Generator("storm", "faults of several kinds on several targets, each mended after lasts_s", Storm, storm),
        *map(_pattern, PATTERNS),
    )
}
