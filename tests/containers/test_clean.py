"""What a killed run leaves on the engine, `conform clean` removes; nothing of anybody else."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping

import pytest
from container_kit import of_run, started, until
from hypothesis import given
from hypothesis import strategies as st

from environments import clean
from environments.drivers import provisioning
from environments.drivers.containers import labels
from environments.drivers.local.running import labelled_processes
from environments.images import engine
from environments.images.manifest import Built

pytestmark = pytest.mark.timeout(180)
PROVISION = """
import os, profiles, signal
from environments import provision
def told(what): print(what, flush=True)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
with provision(profiles.load("edge-dil"), driver="containers", run_id=os.environ["RUN_ID"], calibrate=False,
               progress=told):
    print("up", flush=True)
    signal.pause()
"""


@pytest.fixture
def stranger(images: Mapping[str, Built]) -> Iterator[str]:
    """A container that somebody else runs here, of the same image, and with labels that resemble ours."""
    client = engine()
    made = client.containers.run(
        images["pause"].image_id,
        detach=True,
        network_mode="none",
        labels={"companyos-conform": "mine", labels.OWNER: "x 1 2 3"},
    )
    yield str(made.id)
    made.remove(force=True)
    client.close()


@pytest.mark.parametrize("containers_there", [1, 3, 6])
def test_kill_minus_nine_leaves_nothing_that_clean_does_not_remove(stranger: str, containers_there: int) -> None:
    """At moments of provisioning: when the first containers are there, in the middle of it, and when all are."""
    run_id = f"test-{os.getpid()}-killed-{containers_there}"
    owner = started(run_id, PROVISION)
    assert until(lambda: len(of_run(run_id)) >= containers_there or owner.poll() is not None, 90)
    assert owner.poll() is None
    assert not any(run_id in line for line in clean.sweep(dry_run=True)), "a living run is left alone"
    os.killpg(owner.pid, signal.SIGKILL)
    owner.wait()
    told = clean.sweep()
    assert any("container" in line and run_id in line for line in told)
    assert of_run(run_id) == []
    assert not (provisioning.ROOT / run_id).exists()
    assert until(lambda: run_id not in labelled_processes(), 10)
    client = engine()
    assert client.containers.get(stranger).status == "running"
    client.close()
    assert not any(run_id in line for line in clean.sweep()), "nothing is left for a second sweep"


def test_two_runs_on_one_host_do_not_meet(containers_driver: None) -> None:
    runs = [f"test-{os.getpid()}-beside-{index}" for index in range(2)]
    owners = [started(run_id, PROVISION) for run_id in runs]
    try:
        for owner in owners:
            assert owner.stdout is not None
            said = b""
            while not said.endswith(b"up\n") and (line := owner.stdout.readline()):
                said += line
            assert said.endswith(b"up\n"), said
        first, second = (of_run(run_id) for run_id in runs)
        assert len(first) == len(second) >= 6
        assert not set(first) & set(second)
        owners[0].send_signal(signal.SIGINT)
        owners[0].wait(60)
        assert of_run(runs[0]) == []
        assert of_run(runs[1]) == second, "the end of one run takes nothing of the other"
    finally:
        for owner in owners:
            if owner.poll() is None:
                owner.send_signal(signal.SIGINT)
                owner.wait(60)
    assert of_run(runs[1]) == []


def test_an_owner_is_gone_when_its_process_its_number_or_its_machine_is() -> None:
    mine = labels.Owner.this_process()
    assert not mine.gone()
    there = labels.Owner(mine.boot_id, mine.pid_namespace, 2**22 + 1, time.time())
    assert there.gone(), "no such process"
    assert labels.Owner(mine.boot_id, mine.pid_namespace, mine.pid, mine.started_at_s - 3600).gone(), "a later process"
    assert labels.Owner("another-boot", mine.pid_namespace, mine.pid, mine.started_at_s).gone()
    elsewhere = labels.Owner(mine.boot_id, mine.pid_namespace + 1, 2**22 + 1, time.time())
    assert not elsewhere.gone(), "a process in another PID namespace may live"


@given(st.dictionaries(st.sampled_from([labels.RUN, labels.OWNER, "other"]), st.text()))
def test_labels_that_name_no_dead_owner_of_ours_are_never_taken_for_it(found: Mapping[str, Built]) -> None:
    assert not labels.orphaned(found)


@given(st.uuids(), st.integers(1, 2**32), st.integers(1, 2**22), st.floats(0, 2e9))
def test_an_owner_is_read_as_it_was_written(boot: object, namespace: int, pid: int, at_s: float) -> None:
    owner = labels.Owner(str(boot), namespace, pid, round(at_s, 2))
    assert labels.Owner.read(owner.written()) == owner
