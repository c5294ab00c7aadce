"""Ctrl-C, SIGTERM, SIGHUP: the first one ends the run, and no further one ends the tearing down."""

from __future__ import annotations

import contextlib
import signal
import threading
from types import FrameType

import psutil

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def first_only() -> None:
    """From now on the first of these signals is a KeyboardInterrupt, and those after it are ignored."""
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            signal.signal(number, _raise)


def ignore() -> None:
    """From now on none of them is heeded: what is torn down is torn down whole."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _raise(number: int, frame: FrameType | None) -> None:
    ignore()
    raise KeyboardInterrupt


def forward() -> None:
    """Interrupt the children of this process, which a signal to it alone does not reach."""
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):  # it has ended meanwhile
            child.send_signal(signal.SIGINT)
