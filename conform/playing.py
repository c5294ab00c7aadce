"""A schedule played on the deployment of a holder, and told to the journal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from conform.holder import Holder
from environments.contract import Capability
from environments.schedules.model import Schedule
from environments.schedules.player import Played, Player

WITHIN_S = 0.010  # how close to the time asked for a change is, for it to have landed


def start(holder: Holder, deployment: Any, schedule: Schedule) -> Player:
    """Play it from now on. Raises ScheduleError, before anything happens, for a target that the deployment lacks."""

    def tell(played: Played) -> None:
        more = f" ({played.problem or played.note})" if played.problem or played.note else ""
        holder.event(
            f"{schedule.name} at {played.event.at_s:g} s: {played.event}{more}",
            t_s=played.t_s,
            event=played.event.document(),
            actual_s=played.actual_s,
        )

    player = Player(deployment, schedule, tell)
    if schedule.of("link") and Capability.PACKET_LINKS in deployment.capabilities:
        deployment.network.ask("reset")  # the same losses for the same packets, whatever ran before
    before_heal = getattr(deployment, "before_heal", None)
    if before_heal is not None:
        before_heal(player.stop)
    holder.event(f"schedule {schedule.name} starts: {schedule.size}", schedule=schedule.name)
    player.start()
    return player


def landed(rows: Iterable[Mapping[str, Any]], name: str, started_at_s: float) -> list[float]:
    """How late each link change of a schedule was, seconds, one per direction: `rows` are the router's timeline."""
    reason = re.compile(re.escape(name) + r" at ([0-9.e+-]+) s")
    found: dict[tuple[str, str], float] = {}  # one per change of a direction
    for row in rows:
        match = reason.fullmatch(str(row.get("reason", "")))
        if match and row["t_s"] >= started_at_s - 1:
            found.setdefault((match[1], str(row.get("direction"))), row["t_s"] - started_at_s - float(match[1]))
    return list(found.values())
