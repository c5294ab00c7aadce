"""The plugin, seen from outside: what it writes to the journal for what a check does."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reports.journal import JournalError, read

Suites = Callable[..., Any]  # the fixture of that name, which returns conftest.Ran
SAAS = ("--profile", "saas")
EVERY_OUTCOME = """
@requirement("ISO-01")
def test_passes(deployment, evidence):
    evidence.add("rows", 3)
    evidence.observed = "3 rows"

@requirement("ISO-02")
def test_fails(deployment, evidence):
    '''The rows of one tenant, and no others.'''
    assert 1 == 2, "two rows of globex"

@requirement("ISO-06")
def test_sees_nothing(deployment):
    vacuous("no write was acknowledged")

@requirement("ISO-08")
def test_cannot(deployment):
    untestable("sql-audit: no session of a superuser")

@requirement("ISO-09")
def test_suite_at_fault(deployment):
    raise SuiteError("the router died")

@requirement("ISO-10")
def test_bug(deployment):
    {}["missing"]

@requirement("FUN-11")
def test_no_answer(deployment):
    raise TransportError("reset", "connection reset")

@requirement("SEC-10", needs=(Capability.CLOCK_CONTROL,))
def test_needs_a_clock(deployment):
    raise AssertionError("must not run")

@requirement("SEC-03")
def test_skips(deployment):
    pytest.skip("not today")

@requirement("OPS-01")
def test_not_ready(deployment):
    raise TimeoutError("data was not ready after 30 s")
"""


def test_every_outcome_becomes_its_verdict(suites: Suites) -> None:
    ran = suites(EVERY_OUTCOME, *SAAS, "--seed", "7")
    assert ran.said() == {
        "test_passes": "pass",
        "test_fails": "fail",
        "test_sees_nothing": "vacuous",
        "test_cannot": "untestable",
        "test_suite_at_fault": "error",
        "test_bug": "error",
        "test_no_answer": "fail",
        "test_needs_a_clock": "untestable",
        "test_skips": "error",
        "test_not_ready": "fail",
    }
    records = {record["requirement"]: record for record in ran.verdicts()}
    assert records["ISO-01"]["evidence"] == {"rows": 3}
    assert records["ISO-01"]["observed"] == "3 rows"
    assert records["ISO-02"]["expected"] == "The rows of one tenant, and no others."
    assert "two rows of globex" in records["ISO-02"]["observed"]
    assert records["ISO-08"]["needs"] == "sql-audit"
    assert records["SEC-10"]["needs"] == "clock-control"
    assert "Use the local driver" in records["SEC-10"]["reason"]
    assert "KeyError" in records["ISO-10"]["reason"]
    assert shlex.split(records["ISO-02"]["repro"]) == shlex.split("conform run --profile saas --only ISO-02 --seed 7")
    assert ran.code == 1
    assert ran.log == ["made saas", "closed saas"]


def test_the_header_says_what_applies_and_what_has_a_check(suites: Suites) -> None:
    ran = suites("@requirement('ISO-01')\ndef test_it(deployment): pass\n", *SAAS, "--profile", "edge-dil")
    header = ran.journal.header
    assert len(header["catalogue"]) >= 174
    assert header["in_force"] == ["ISO-01"]
    assert header["selected"] is None
    assert [profile["id"] for profile in header["profiles"]] == ["saas", "edge-dil"]
    for profile in header["profiles"]:
        assert set(profile["applies"]) == {entry["id"] for entry in header["catalogue"]}
        assert all(each["applies"] or each["reason"] for each in profile["applies"].values())
    assert {record["kind"] for record in ran.journal.records} >= {"deployment", "calibration", "timeline", "verdict"}
    assert ran.code == 0
    assert "conformant" in ran.output
    report = json.loads((ran.folder / "report.json").read_text())
    assert len(report["cells"]) == 2 * len(header["catalogue"])


def test_a_check_runs_in_the_profiles_it_applies_to_alone(suites: Suites) -> None:
    checks = """
@requirement("SYN-01")
def test_edge(deployment): pass

@requirement("MIG-01")
def test_path(deployment): pass

@requirement("META-07")
def test_everywhere(deployment): pass

@requirement("META-02", only=("saas",))
def test_one_host(): pass

def test_bound_to_nothing(): raise AssertionError("must not run")
"""
    names = ("saas", "edge-dil", "saas-to-dedicated")
    ran = suites(checks, *(part for name in names for part in ("--profile", name)), "--no-report")
    found = {(record["requirement"], record["profile"]) for record in ran.verdicts()}
    everywhere = {("META-07", name) for name in names}
    assert found == {("SYN-01", "edge-dil"), ("MIG-01", "saas-to-dedicated"), ("META-02", "saas")} | everywhere


def test_only_and_suite_select(suites: Suites) -> None:
    checks = "".join(
        f"@requirement('{name}')\ndef test_{number}(deployment): pass\n"
        for number, name in enumerate(("ISO-01", "ISO-02", "FUN-11"))
    )
    ran = suites(checks, *SAAS, "--only", "ISO-02")
    assert [record["requirement"] for record in ran.verdicts()] == ["ISO-02"]
    assert ran.journal.header["selected"] == ["ISO-02"]
    assert ran.code == 0


def test_a_part_selected_by_keyword_leaves_the_rest_unselected(suites: Suites) -> None:
    checks = (
        "@requirement('ISO-01')\ndef test_a(deployment): pass\n@requirement('ISO-02')\ndef test_b(deployment): pass\n"
    )
    ran = suites(checks, *SAAS, "-k", "test_b")
    assert ran.journal.header["selected"] == ["ISO-02"]
    assert ran.code == 0


@pytest.mark.parametrize(
    ("options", "near"),
    [
        (("--profile", "edge-dill"), "edge-dil"),
        (("--profile", "saas", "--only", "iso-08"), "ISO-08"),
        (("--profile", "saas", "--suite", "isolaton"), "isolation"),
        (("--profile", "saas", "--defect", "sentinel_is_daef"), "sentinel_is_deaf"),
        (("--profile", "edge-dil", "--link", "geo-vsta"), "geo-vsat"),
    ],
)
def test_a_misspelt_name_is_told_with_the_nearest(suites: Suites, options: tuple[str, ...], near: str) -> None:
    ran = suites("", *options)
    assert ran.code == pytest.ExitCode.USAGE_ERROR
    assert near in ran.output
    assert "Traceback" not in ran.output


def test_a_service_that_fell_makes_the_check_fail_and_says_so(suites: Suites) -> None:
    checks = """
@requirement("ISO-01")
def test_falls(deployment):
    deployment.fallen.append("service data of node saas ended by itself (exit -11)")

@requirement("ISO-02")
def test_next(deployment): pass
"""
    ran = suites(checks, *SAAS, "--no-report")
    assert ran.said() == {"test_falls": "fail", "test_next": "pass"}
    reason = ran.verdicts()[0]["reason"]
    assert reason == "service data of node saas ended by itself (exit -11) during the check"
    assert reason.removesuffix(" during the check") in ran.events()


def test_a_deployment_is_healed_after_each_check_and_made_anew_if_it_cannot_be(suites: Suites) -> None:
    checks = """
@requirement("ISO-01")
def test_breaks(deployment):
    assert deployment.healed == 0
    deployment.sick = True

@requirement("ISO-02")
def test_next(deployment):
    assert deployment.healed == 0

@requirement("ISO-06")
def test_third(deployment):
    assert deployment.healed == 1
"""
    ran = suites(checks, *SAAS, "--no-report")
    assert ran.said() == {"test_breaks": "error", "test_next": "pass", "test_third": "pass"}
    assert "edge stays down" in ran.verdicts()[0]["reason"]
    assert ran.log == ["made saas", "closed saas"] * 2


def test_a_deployment_that_never_gets_ready_is_an_error_of_every_check(suites: Suites) -> None:
    checks = (
        "@requirement('ISO-01')\ndef test_a(deployment): pass\n@requirement('ISO-02')\ndef test_b(deployment): pass\n"
    )
    why = "saas: control was not ready after 15 s. Last lines of its log:\n    no database"
    ran = suites(checks, *SAAS, BREAKS=why)
    assert ran.said() == {"test_a": "error", "test_b": "error"}
    assert "control was not ready" in ran.verdicts()[1]["reason"]
    assert "no database" in ran.verdicts()[1]["reason"]
    assert ran.code == 255


@pytest.mark.parametrize(("switch", "word"), [("CALIBRATED", "not calibrated"), ("CANARIES", "canaries")])
def test_no_check_counts_on_a_network_that_is_not_proven(suites: Suites, switch: str, word: str) -> None:
    checks = """
@requirement("ISO-01")
def test_product(deployment): pass

@requirement("META-04")
def test_proof(deployment): pass
"""
    ran = suites(checks, *SAAS, "--no-report", **{switch: False})
    assert ran.said() == {"test_product": "error", "test_proof": "pass"}
    assert word in ran.verdicts()[0]["reason"]


def test_a_suite_that_cannot_be_imported_is_an_error_of_its_requirements(suites: Suites) -> None:
    checks = "import no_such_module\n@requirement('ISO-01')\ndef test_it(deployment): pass\n"
    ran = suites(checks, *SAAS)
    assert ran.code == 255
    assert any("not collected" in event for event in ran.events())
    cell = next(
        cell
        for cell in json.loads((ran.folder / "report.json").read_text())["cells"]
        if cell["requirement"] == "ISO-01"
    )
    assert cell["verdict"] == "error"


def test_a_cleanup_that_fails_takes_the_pass_back(suites: Suites) -> None:
    checks = """
@pytest.fixture
def thing():
    yield
    raise ValueError("left behind")

@requirement("ISO-01")
def test_it(deployment, thing): pass
"""
    ran = suites(checks, *SAAS, "--no-report")
    assert ran.said() == {"test_it": "error"}
    assert "left behind" in ran.verdicts()[0]["reason"]


def test_workers_hold_one_deployment_at_a_time_and_leave_one_journal(suites: Suites) -> None:
    checks = """
@requirement("FUN-11")
@pytest.mark.parametrize("n", range(4))
def test_it(deployment, n): pass
"""
    names = ("saas", "dedicated", "edge-dil")
    ran = suites(checks, "-n", "2", *(part for name in names for part in ("--profile", name)))
    assert len(ran.verdicts()) == 12
    assert sorted(ran.log) == sorted(f"{what} {name}" for name in names for what in ("made", "closed"))
    assert ran.code == 0
    assert not (ran.folder / "parts").exists()
    assert len({record["check"] for record in ran.verdicts()}) == 12
    assert not any("@" in record["check"] for record in ran.verdicts())


def test_one_profile_on_two_workers_has_a_deployment_each(suites: Suites) -> None:
    checks = """
import time
@requirement("FUN-11")
@pytest.mark.parametrize("n", range(8))
def test_it(deployment, n): time.sleep(0.1)  # long enough for the second worker to take part
"""
    ran = suites(checks, "-n", "2", *SAAS)
    assert ran.log.count("made saas") == 2
    assert ran.log.count("closed saas") == 2
    assert {record["deployment"] for record in ran.verdicts()} == {"saas@gw0", "saas@gw1"}


def test_ctrl_c_keeps_what_there_is_marked_partial(suites: Suites) -> None:
    checks = """
@requirement("ISO-01")
def test_first(deployment): pass

@requirement("ISO-02")
def test_stopped(deployment): raise KeyboardInterrupt
"""
    ran = suites(checks, *SAAS)
    assert ran.journal.footer["partial"] is True
    assert ran.verdicts()[0]["verdict"] == "pass"
    assert ran.log == ["made saas", "closed saas"]
    assert ran.code != 0


def test_a_signal_to_the_run_alone_ends_its_workers_and_tears_down(suites: Suites) -> None:
    checks = """
import os, signal, time
@requirement("ISO-01")
def test_first(deployment): pass

@requirement("ISO-02")
def test_long(deployment):
    os.kill(os.getppid(), signal.SIGTERM)
    time.sleep(60)

@requirement("ISO-08")
def test_never(deployment): pass
"""
    ran = suites(checks, *SAAS, "-n", "1")
    assert ran.journal.footer["interrupted"] is True
    assert [record["requirement"] for record in ran.verdicts()] == ["ISO-01"]
    assert ran.log == ["made saas", "closed saas"]
    assert ran.code == 2


def test_until_red_leaves_an_id_at_its_first_failure(suites: Suites) -> None:
    checks = """
@requirement("ISO-01")
@pytest.mark.parametrize("n", range(5))
def test_it(deployment, n): print(f"ran {n}."); assert n < 1

@requirement("ISO-02")
def test_next(deployment): pass
"""
    ran = suites(checks, *SAAS, "--no-report", "--until-red", "-s")
    assert [record["verdict"] for record in ran.verdicts()] == ["pass", "fail", "pass"]
    assert "ran 1." in ran.output
    assert "ran 2." not in ran.output


def test_a_run_is_never_written_over(suites: Suites) -> None:
    checks = "@requirement('ISO-01')\ndef test_it(deployment): pass\n"
    assert suites(checks, *SAAS).code == 0
    again = suites(checks, *SAAS)
    assert again.code == pytest.ExitCode.USAGE_ERROR
    assert "holds a run already" in again.output


def test_outside_the_suites_the_plugin_does_nothing(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    pytester.makeini("[pytest]\n")
    pytester.makepyfile("def test_it(): pass\n")
    done = pytester.runpytest_subprocess("-p", "conform.plugin")
    done.assert_outcomes(passed=1)
    assert not (pytester.path / "runs").exists()


def test_a_killed_worker_leaves_an_error_not_silence(suites: Suites) -> None:
    checks = """
import os
@requirement("ISO-01")
def test_it(deployment): os._exit(9)

@requirement("ISO-02")
def test_next(deployment): pass
"""
    ran = suites(checks, *SAAS, "-n", "1", "--max-worker-restart", "1")
    assert ran.code == 255
    assert ran.journal.footer["partial"] is True
    with pytest.raises(JournalError):
        read(ran.folder / "no-such-journal")
