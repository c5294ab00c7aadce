"""Maestro: runs of several steps, each step's effect applied exactly once, whatever crashes in between.

A step's effect (an entity of kind `RunEffect`) and the note that the step is done are one transaction. The queue is in
the database: a run that was interrupted goes on after the restart. A step acts in the tenant of the queue's row, never
in one that the run's input names. Input `pause_s` (0 to 5) waits before each step, so that a crash can be placed, and
the step that input `fail_at` names cannot be done. A scheduled run stays in the queue until the node's clock shows its
time; one that was due while nothing ran is due at the start.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from environments.companyos import log, operations
from environments.companyos.errors import TRY_AGAIN, ApiError
from environments.companyos.services import Services
from environments.companyos.storage.base import Doc, Tx

RUNBOOKS: dict[str, tuple[str, ...]] = {"enrich": ("collect", "score", "publish")}
POLL_S = 1.0  # how long a run waits that nobody announced: left by a crash, or due by now


def pause_s(run: Doc) -> float:
    value = run["input"].get("pause_s", 0.02)
    return min(max(float(value), 0.0), 5.0) if isinstance(value, (int, float)) else 0.0


def aborted(run: Doc) -> Doc:
    """The run as it is when what is left of it will not be done."""
    steps = [{**step, "state": "ABORTED"} if step["state"] == "PENDING" else step for step in run["steps"]]
    return {**run, "state": "ABORTED", "steps": steps}


def effect(services: Services, tx: Tx, run: Doc, step: Doc) -> str:
    """Do what the step does; the id of what it made."""
    if run["input"].get("fail_at") == step["name"]:
        raise ApiError("INVALID", message="the step cannot be done")
    props: dict[str, Any] = {"run": run["id"], "step": step["name"]}
    doc = operations.new_entity(services, tx, run["createdBy"], "RunEffect", [run["runbook"]], props, None)
    return str(doc["id"])


def advance(services: Services, tenant: str, run_id: str) -> bool:
    """Do the run's next step in one transaction. True if steps remain."""
    with services.store.transaction(tenant) as tx:
        run = tx.lock_run(run_id)
        if run is None or run["state"] not in ("QUEUED", "RUNNING"):
            return False
        run["state"] = "RUNNING"
        step = next((step for step in run["steps"] if step["state"] == "PENDING"), None)
        if step is not None:
            step["effect"] = effect(services, tx, run, step)
            step["state"] = "SUCCEEDED"
        more = any(step["state"] == "PENDING" for step in run["steps"])
        if not more:
            run["state"] = "SUCCEEDED"
            operations.record(services, tx, run["createdBy"], "run.end", run_id)
        tx.put_run(run)
    return more


def fail(services: Services, tenant: str, run_id: str) -> None:
    """End a run whose step cannot be done."""
    with services.store.transaction(tenant) as tx:
        run = tx.lock_run(run_id)
        if run is not None and run["state"] in ("QUEUED", "RUNNING"):
            run["state"] = "FAILED"
            left = [step for step in run["steps"] if step["state"] == "PENDING"]
            for step in left:
                step["state"] = "FAILED" if step is left[0] else "ABORTED"
            tx.put_run(run)
            operations.record(services, tx, run["createdBy"], "run.end", run_id)


class Worker(threading.Thread):
    def __init__(self, services: Services) -> None:
        super().__init__(name="maestro", daemon=True)
        self.services = services
        self.announced = threading.Event()
        self.due: dict[tuple[str, str], float] = {}  # run -> monotonic time of its next step

    def run(self) -> None:
        while True:
            try:
                wait = self.round()
            except ApiError as error:
                log.warning("maestro waits", code=error.code)
                wait = POLL_S
            except Exception as error:
                log.crash("maestro", error)
                wait = POLL_S
            self.announced.wait(wait)
            self.announced.clear()

    def round(self) -> float:
        """One step of every run that is due; seconds until the next one is."""
        queued = self.services.store.queued_runs(self.services.clock.stamp())
        self.due = {key: at for key, at in self.due.items() if key in set(queued)}
        for key in queued:
            if key not in self.due:
                self.due[key] = time.monotonic() + self._pause(key)
            if self.due[key] <= time.monotonic():
                self._step(key)
        now = time.monotonic()
        return max(0.0, min([POLL_S, *(at - now for at in self.due.values())]))

    def _pause(self, key: tuple[str, str]) -> float:
        with self.services.store.transaction(key[0]) as tx:
            run = tx.get_run(key[1])
        return pause_s(run) if run else 0.0

    def _step(self, key: tuple[str, str]) -> None:
        try:
            more = advance(self.services, *key)
        except ApiError as error:
            if error.code in TRY_AGAIN:
                raise
            log.warning("run failed", code=error.code, run=key[1])
            fail(self.services, *key)
            more = False
        if more:
            self.due[key] = time.monotonic() + self._pause(key)
        else:
            self.due.pop(key, None)


def start(services: Services) -> None:
    worker = Worker(services)
    services.extra["maestro"] = worker
    worker.start()


def wake(services: Services) -> None:
    worker = services.extra.get("maestro")
    if worker is not None:
        worker.announced.set()
