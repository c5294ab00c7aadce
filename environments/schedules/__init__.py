"""Schedules: what happens to a deployment, and when. Data from a file or grown from a seed; played, kept, shrunk."""

from environments.schedules.generators import GENERATORS, generate
from environments.schedules.model import Event, Schedule, ScheduleError, Targets
from environments.schedules.reader import compiled, read, written

__all__ = [
    "GENERATORS",
    "Event",
    "Schedule",
    "ScheduleError",
    "Targets",
    "compiled",
    "generate",
    "read",
    "written",
]
