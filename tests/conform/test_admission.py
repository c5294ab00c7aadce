"""How many processes of the kill matrix run at a time."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from conform.admission import Admission, busy_percent

LEAST, MOST = 2, 5


@pytest.mark.parametrize(("percent", "together"), [(0.0, MOST), (100.0, LEAST)])
def test_many_while_a_processor_is_idle_and_few_while_none_is(percent: float, together: int) -> None:
    reached, leave = threading.Semaphore(0), threading.Event()
    admission, running, highest = Admission(LEAST, MOST, lambda: percent), 0, 0
    count = threading.Lock()

    def work() -> None:
        nonlocal running, highest
        with admission.admitted():
            with count:
                running += 1
                highest = max(highest, running)
            reached.release()
            leave.wait(10)
            with count:
                running -= 1

    with ThreadPoolExecutor(MOST) as pool:
        done = [pool.submit(work) for _ in range(12)]
        for _ in range(together):
            assert reached.acquire(timeout=10)
        leave.set()
    assert [each.exception() for each in done] == [None] * 12
    assert highest == together


def test_how_busy_the_processors_are_is_a_percentage() -> None:
    assert 0 <= busy_percent() <= 100
