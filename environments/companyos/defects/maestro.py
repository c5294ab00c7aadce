"""Known-bad behaviours of Maestro: runs across crashes, and schedules across cuts."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

from environments.companyos import clock, maestro, operations, sync
from environments.companyos.defects import defect
from environments.companyos.services import Services
from environments.companyos.storage.base import Doc, Tx
from environments.companyos.storage.postgres import Postgres
from environments.companyos.storage.rows import start_at

ROLES = ("data", "edge")


def _at_start(services: Services, change: Callable[[Tx, Doc], None]) -> None:
    """Do this to every run, before Maestro starts."""
    genuine = maestro.start

    def start(services: Services) -> None:
        for tenant in services.store.tenants():
            with services.store.transaction(tenant) as tx:
                for run in tx.list_runs():
                    change(tx, run)
        genuine(services)

    maestro.start = start


def _forget(tx: Tx, run: Doc) -> None:
    """Out of the queue, and nothing else: what a queue in memory would have lost."""
    tx.put_run({**run, "state": "ABORTED"})
    tx.db.run("UPDATE runs SET state = :state WHERE id = :id", {"state": run["state"], "id": run["id"]})  # type: ignore[attr-defined]


@defect(kills=("FUN-15",), roles=ROLES)
def lease_is_never_released(services: Services) -> None:
    """A worker leases a run and dies; the lease names a worker that is no more, and the run is RUNNING for ever."""
    _at_start(services, lambda tx, run: _forget(tx, run) if run["state"] == "RUNNING" else None)


@defect(kills=("FUN-15",), roles=ROLES)
def step_is_noted_after_its_effect(services: Services) -> None:
    """A step's effect is committed at once, the note of it with the next step: a crash between the two does the step
    again (the window of every orchestrator that calls this at-least-once)."""
    genuine = maestro.advance
    done: dict[str, str] = {}  # run -> effect of its step that is not noted yet

    def advance(services: Services, tenant: str, run_id: str) -> bool:
        with services.store.transaction(tenant) as tx:
            run = tx.lock_run(run_id)
            if run is None or run["state"] not in ("QUEUED", "RUNNING"):
                return False
            left = [step for step in run["steps"] if step["state"] == "PENDING"]
            if run_id in done:
                left.pop(0).update(effect=done.pop(run_id), state="SUCCEEDED")
            tx.put_run({**run, "state": "RUNNING"})
        if len(left) == 1:
            return genuine(services, tenant, run_id)
        with services.store.transaction(tenant) as tx:
            done[run_id] = maestro.effect(services, tx, run, left[0])
        return True

    maestro.advance = advance


@defect(kills=("FUN-15",), roles=ROLES)
def step_is_acknowledged_early(services: Services) -> None:
    """A step is noted as done when it is taken and takes effect with the one after it (as Celery acknowledges a task
    before it runs): a crash between the two loses the effect."""
    taken: dict[str, tuple[str, Doc]] = {}  # run -> id and props of the effect that is due

    def effect(services: Services, tx: Tx, run: Doc, step: Doc) -> str:
        mine = str(uuid.uuid4()), {"run": run["id"], "step": step["name"]}
        due = [*([taken.pop(run["id"])] if run["id"] in taken else []), mine]
        if step is not run["steps"][-1]:
            taken[run["id"]] = due.pop()
        for id_, props in due:
            operations.new_entity(services, tx, run["createdBy"], "RunEffect", [run["runbook"]], props, id_)
        return mine[0]

    maestro.effect = effect


@defect(kills=("FUN-15",), roles=ROLES)
def recovery_ends_runs_again(services: Services) -> None:
    """At the start the journal is replayed to be sure, and every run that had ended is told to have ended again."""

    def again(tx: Tx, run: Doc) -> None:
        if run["state"] == "SUCCEEDED":
            operations.record(services, tx, run["createdBy"], "run.end", run["id"])

    _at_start(services, again)


@defect(kills=("FUN-15",), roles=ROLES)
def failed_runs_are_tried_again(services: Services) -> None:
    """A start looks for runs without all their steps and takes them up again, those that have failed or were aborted
    too: a state that was told to be final changes."""

    def again(tx: Tx, run: Doc) -> None:
        if run["state"] in ("FAILED", "ABORTED"):
            undone = [s if s["state"] == "SUCCEEDED" else {**s, "state": "PENDING"} for s in run["steps"]]
            tx.put_run({**run, "state": "QUEUED", "steps": undone})

    _at_start(services, again)


@defect(kills=("FUN-15",), roles=ROLES)
def run_starts_over_after_a_crash(services: Services) -> None:
    """No step is remembered, only the run: after a crash it begins at its first step (a CI job that is retried)."""

    def over(tx: Tx, run: Doc) -> None:
        if run["state"] == "RUNNING":
            steps = [{**step, "state": "PENDING", "effect": None} for step in run["steps"]]
            tx.put_run({**run, "steps": steps})

    _at_start(services, over)


@defect(kills=("FUN-15",), modes=("A", "B", "Ct", "Ca"), roles=("data",))
def two_workers_without_a_lock(services: Services) -> None:
    """A second worker was started to keep up, and the row is read without FOR UPDATE: both do the same step."""
    Postgres.for_update = ""
    genuine_start, genuine_effect = maestro.start, maestro.effect

    def start(services: Services) -> None:
        genuine_start(services)
        second = maestro.Worker(services)
        second.announced = services.extra["maestro"].announced
        second.start()

    def effect(services: Services, tx: Tx, run: Doc, step: Doc) -> str:
        time.sleep(0.1)  # what a step does takes its time
        return genuine_effect(services, tx, run, step)

    maestro.start, maestro.effect = start, effect


# schedules


@defect(kills=("FUN-08",), modes=("D",), roles=("edge",))
def jobs_run_again_after_reconnect(services: Services) -> None:
    """The report that a job is done did not get through; at the first contact after an outage it is done again."""
    genuine = sync.push
    again: set[str] = set()

    def push(services: Services, *channels: Any) -> bool:
        was_away = sync.state(services).failures > 0
        sent = genuine(services, *channels)
        for tenant in services.store.tenants() if was_away and sent else ():
            with services.store.transaction(tenant) as tx:
                for run in tx.list_runs():
                    if start_at(run) and run["state"] == "SUCCEEDED" and run["id"] not in again:
                        again.add(run["id"])
                        maestro.effect(services, tx, run, run["steps"][0])
        return sent

    sync.push = push  # type: ignore[assignment]


@defect(kills=("FUN-08",), modes=("D",), roles=("edge",))
def schedule_waits_for_the_parent(services: Services) -> None:
    """The agent asks its parent whether a job may start, and an agent that is cut off starts none."""
    genuine = services.store.queued_runs

    def queued_runs(now: str, limit: int = 50) -> list[tuple[str, str]]:
        return [] if sync.state(services).last_error else genuine(now, limit)

    services.store.queued_runs = queued_runs  # type: ignore[method-assign]


@defect(kills=("FUN-08",), modes=("D",), roles=("edge",))
def missed_schedules_are_dropped(services: Services) -> None:
    """What was due while the agent was down is not made up for, as with cron, and with a Kubernetes CronJob beyond its
    startingDeadlineSeconds."""
    now = services.clock.stamp()

    def drop(tx: Tx, run: Doc) -> None:
        if run["state"] == "QUEUED" and (start_at(run) or now) < now:
            _forget(tx, run)

    _at_start(services, drop)


@defect(kills=("FUN-08",), modes=("D",), roles=("edge",))
def schedule_is_kept_in_memory(services: Services) -> None:
    """Timers are set when a run is scheduled, and nobody sets them again after a restart."""
    _at_start(services, lambda tx, run: _forget(tx, run) if start_at(run) and run["state"] == "QUEUED" else None)


@defect(kills=("FUN-08",), modes=("D",), roles=("edge",))
def schedule_without_its_offset(services: Services) -> None:
    """The offset of a time is cut off: jobs run hours early or late."""

    def utc(text: Any) -> str:
        return datetime.fromisoformat(str(text).upper()).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"

    clock.utc = utc
