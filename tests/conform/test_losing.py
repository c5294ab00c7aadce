"""A deployment that is lost under a check: the check ends at once, as an error."""

from __future__ import annotations

import threading
import time

import pytest

from conform import judge
from conform.judge import Judged
from conform.losing import Loss
from environments.contract import SuiteError
from reports.verdicts import Verdict


def test_a_check_that_waits_is_ended_at_once() -> None:
    loss = Loss()
    began_s = time.monotonic()
    threading.Timer(0.1, loss.report, ["the router died"]).start()
    with pytest.raises(SuiteError, match="the router died"), loss.ends_the_check():
        time.sleep(60)  # what the loss must cut short
    assert time.monotonic() - began_s < 30


def test_a_check_does_not_begin_on_what_is_lost_already() -> None:
    loss = Loss()
    loss.report("the router died")
    with pytest.raises(SuiteError, match="the router died"), loss.ends_the_check():
        raise AssertionError("must not be reached")


def test_outside_a_check_a_loss_only_is_remembered() -> None:
    loss = Loss()
    with loss.ends_the_check():
        pass
    loss.report("the router died")
    assert loss.why == "the router died"


@pytest.mark.parametrize("verdict", [Verdict.PASS, Verdict.FAIL, Verdict.VACUOUS, Verdict.UNTESTABLE])
def test_whatever_the_check_said_it_is_an_error(verdict: Verdict) -> None:
    judged = judge.with_loss(Judged(verdict, "it said so"), "the router died")
    assert judged.verdict is Verdict.ERROR
    assert judged.reason.startswith("the router died")
    assert judge.with_loss(Judged(verdict, "it said so"), None).verdict is verdict
