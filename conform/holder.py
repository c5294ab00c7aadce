"""The deployment of one profile in one process: made when first asked for, healed after each check."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from typing import Any, Protocol

from conform.settings import Settings
from environments import adapters
from environments.contract import Deployment, SuiteError
from profiles import Profile

REMAKES = 2  # deployments that may be lost to failed healing before the rest of the profile is an error


class Recorder(Protocol):
    """What writes the journal (reports.journal.JournalWriter)."""

    def write(self, kind: str, **fields: Any) -> None: ...


class NotProvisioned(SuiteError):
    """The deployment did not come up: which service, its last log lines."""


class Holder:
    def __init__(
        self,
        profile: Profile,
        settings: Settings,
        recorder: Recorder,
        worker: str,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.profile, self._progress = profile, progress
        self._settings, self._recorder, self._worker = settings, recorder, worker
        self._deployment: Any = None
        self._failure: str | None = None
        self._made = 0
        self.on_loss: Callable[[str], None] | None = None

    @property
    def label(self) -> str:
        return f"{self.profile.id}@{self._worker}" + (f"#{self._made}" if self._made > 1 else "")

    def get(self) -> Deployment:
        """The deployment, provisioned on the first call. NotProvisioned, on every call, once that has failed."""
        if self._failure is not None:
            raise NotProvisioned(self._failure)
        if self._deployment is None:
            self._make()
        deployment: Deployment = self._deployment
        return deployment

    def _make(self) -> None:
        self._made += 1
        if self._made > REMAKES + 1:
            self._failure = f"{self._made - 1} deployments of {self.profile.id} could not be healed after a check"
            raise NotProvisioned(self._failure)
        began = time.monotonic()
        try:
            self._deployment = self._provision()
        except Exception as error:
            self._failure = f"{self.profile.id} did not get ready: {str(error).strip() or type(error).__name__}"
            self.event(self._failure)
            raise NotProvisioned(self._failure) from error
        self.event(f"ready after {time.monotonic() - began:.1f} s")
        watch = getattr(self._deployment, "watch", None)  # beyond the contract: an attached deployment has none
        if watch is not None:
            watch(self._lose)
        self._record_start()

    def _provision(self) -> Any:
        import environments

        asked = self._settings
        if adapters.is_adapter(asked.driver):
            return adapters.make(asked.driver, self.profile, run_id=asked.run_id, seed=asked.seed)
        return environments.provision(
            self.profile,
            driver=asked.driver,
            run_id=asked.run_id,
            seed=asked.seed,
            defects=list(asked.service_defects),
            network_defects=list(asked.network_defects),
            calibrate=asked.calibrate,
            clocks=asked.clocks,
            progress=self._progress,
            **self._faults(environments.provision),
        )

    def _lose(self, why: str) -> None:
        """From a thread: what the deployment stands on is gone."""
        self.event(why)
        if self.on_loss is not None:
            self.on_loss(why)

    def _faults(self, provision: Callable[..., Any]) -> dict[str, Any]:
        """What has to be prepared for the schedule's faults. A driver that knows no such option cannot break these,
        and the schedule is refused by what its deployment lacks."""
        kinds = self._settings.schedule.kinds() if self._settings.schedule else frozenset()
        wanted = {"disks": "disk" in kinds, "dependencies": "dependency" in kinds}
        known = inspect.signature(provision).parameters
        return {option: True for option, needed in wanted.items() if needed and option in known}

    def _record_start(self) -> None:
        it, common = self._deployment, {"profile": self.profile.id, "deployment": self.label}
        self._recorder.write(
            "deployment",
            **common,
            sites=list(self.profile.sites),
            nodes={name: str(mode) for name, mode in it.modes.items()},
            ready_s=dict(it.ready_s),
            ready_limit_s=dict(it.ready_limit_s),
            capabilities=sorted(each.value for each in it.capabilities),
            missing={each.value: why for each, why in it.missing.items()},
            canaries={site: dict(seen) for site, seen in it.canaries.items()},
            congestion_control=dict(getattr(it, "congestion_control", {})),  # an attached deployment's is not known
        )
        for row in it.calibration:
            self._recorder.write(
                "calibration",
                **common,
                link=row.link,
                measure=row.measure,
                asked=row.asked,
                measured=row.measured,
                tolerance=row.tolerance,
                ok=row.ok,
                samples=row.samples,
                low=row.low,
                high=row.high,
                cached_at=row.cached_at,
            )

    def after_check(self) -> tuple[list[str], str | None]:
        """(services that ended by themselves, why healing failed). A deployment that does not heal is torn down."""
        if self._deployment is None:
            return [], None
        crashes = self._crashes()
        try:
            self._deployment.heal()
        except Exception as error:
            problem = str(error).strip() or type(error).__name__
            self.event(f"not healed, torn down: {problem}")
            self.close()
            return crashes, problem
        return crashes, None

    def _crashes(self) -> list[str]:
        crashed = getattr(self._deployment, "crashed", None)  # beyond the contract: an attached deployment has none
        found = [str(line) for line in crashed()] if crashed else []
        for line in found:
            self.event(line)
        return found

    def close(self) -> None:
        """Record the link timeline and tear down. Never raises: what goes wrong here is an event of the journal."""
        deployment, self._deployment = self._deployment, None
        if deployment is None:
            return
        timeline = getattr(deployment, "timeline", None)
        try:
            for row in timeline() if timeline else ():
                self._recorder.write("timeline", profile=self.profile.id, deployment=self.label, **row)
        except Exception as error:
            self.event(f"the link timeline could not be read: {error}")
        try:
            deployment.close(**({"keep_files": True} if self._settings.keep else {}))
        except Exception as error:
            self.event(f"not torn down: {error}. `conform clean` removes what is left")

    def event(self, what: str, **more: Any) -> None:
        fields = {"profile": self.profile.id, "deployment": self.label, "t_s": time.time(), "what": what, **more}
        self._recorder.write("event", **fields)
