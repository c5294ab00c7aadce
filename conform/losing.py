"""A check whose deployment is lost under it (its router died) ends at once: an error of the suite, no failure."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from environments.contract import SuiteError


class Loss:
    """What ends the check that runs. Signals reach the main thread alone, which is where checks run."""

    def __init__(self) -> None:
        self.why: str | None = None
        self._checking = False

    def report(self, why: str) -> None:
        """From any thread."""
        self.why = why
        if self._checking:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    @contextmanager
    def ends_the_check(self) -> Iterator[None]:
        """Within it, a reported loss is raised as SuiteError in the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGUSR1, self._raise)
        self._checking = True
        try:
            if self.why is not None:
                raise SuiteError(self.why)
            yield
        finally:
            self._checking = False
            signal.signal(signal.SIGUSR1, before)

    def _raise(self, number: int, frame: FrameType | None) -> None:
        if self._checking:
            raise SuiteError(self.why or "the deployment is lost")
