"""A schedule as lines of text: its events, and a small picture of what is broken when."""

from __future__ import annotations

from collections.abc import Iterable

from rich.text import Text

from environments.schedules.model import Event, Schedule, lanes
from environments.schedules.rules import Conditions

WIDTH = 60  # characters for the whole duration
GLYPHS = {"cut": "█", "kill": "█", "stop": "█", "full": "█", "read_only": "▓", "freeze": "█", "pause": "▒"}
OTHER, CLEAR, MOMENT = "▒", "·", "│"


def events(schedule: Schedule) -> Iterable[str]:
    width = max((len(f"{event.at_s:g}") for event in schedule.events), default=1)
    for event in schedule.events:
        yield f"{event.at_s:>{width}g} s  {event.kind:<10} {event}"


def picture(schedule: Schedule, width: int = WIDTH) -> Iterable[Text]:
    """A line per target: █ cut or down, ▒ degraded or paused, │ an event that mends itself."""
    rows = sorted({lane for event in schedule.events for lane in lanes(event)})
    label = max((len(row) for row in rows), default=0)
    whole_s = schedule.duration_s or 1.0
    for row in rows:
        yield Text(f"{row:<{label}}  ") + Text(_strip(schedule, row, whole_s, width))
    if rows:
        last = f"{schedule.duration_s:g} s"
        yield Text(f"{'':<{label}}  0{last:>{width - 1}}", "dim")


def _strip(schedule: Schedule, row: str, whole_s: float, width: int) -> str:
    strip = [CLEAR] * width
    own = [event for event in schedule.events if row in lanes(event)]

    def column(at_s: float) -> int:
        return min(int(at_s / whole_s * width), width - 1)

    conditions = Conditions()
    for event, until_s in zip(own, [*(each.at_s for each in own[1:]), whole_s], strict=True):
        conditions.apply(event)
        begin, end = column(event.at_s), column(until_s)
        if conditions.mends():
            for place in range(begin, max(end, begin + 1)):
                strip[place] = _glyph(event)
        elif not event.mends:
            strip[begin] = MOMENT
    return "".join(strip)


def _glyph(event: Event) -> str:
    return GLYPHS.get(event.action, OTHER)
