"""What is forked from a zygote cannot be told from what is started, and does not outlive who has the zygote."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from environments.network.site import REPOSITORY
from environments.network.zygote import forkable
from tests.network.test_sites import until
from tests.network.zygote_owner import NAME

pytestmark = pytest.mark.usefixtures("namespaces")


@contextlib.contextmanager
def owner(how: str, folder: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A process that has a site; what it says of it."""
    folder.mkdir()
    with subprocess.Popen(
        [sys.executable, "-m", NAME, how, str(folder)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "it ended instead"
        yield process, json.loads(line)


def gone(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True


def test_it_sees_what_a_new_interpreter_sees(tmp_path: Path) -> None:
    seen, parents = {}, {}
    for how in ("forked", "started"):
        with owner(how, tmp_path / how) as (process, said):
            assert said["codes"] == [3, 1]
            parents[how] = psutil.Process(said["agent"]).ppid() == process.pid
        text = (tmp_path / how / "looks").read_text()
        seen[how] = json.loads(text.replace(str(tmp_path / how), "").replace(f"test-{process.pid}", "test"))
        assert (tmp_path / how / "fails").read_text().rstrip().endswith("ValueError: as it was asked")
    assert parents == {"forked": False, "started": True}
    assert seen["forked"] == seen["started"]
    assert seen["forked"]["labelled"]


@pytest.mark.parametrize("ends", ["its site is stopped", "it is killed"])
def test_it_ends_with_who_has_the_zygote(tmp_path: Path, ends: str) -> None:
    with owner("forked", tmp_path / "home") as (process, said):
        pids = [*(each.pid for each in psutil.Process(process.pid).children(recursive=True))]
        assert {said["agent"], said["sleeps"]} < set(pids)  # and the zygote
        if ends == "it is killed":
            process.kill()
        assert process.stdin is not None
        process.stdin.close()
        assert until(lambda: all(gone(pid) for pid in pids))


def test_nothing_is_forked_where_there_is_no_zygote() -> None:
    assert not forkable([sys.executable, "-m", "environments.companyos.serve"], os.environ)


def test_it_is_waited_for_and_killed_as_what_is_started(tmp_path: Path) -> None:
    with owner("forked", tmp_path / "home") as (process, said):
        os.kill(said["agent"], signal.SIGKILL)
        assert process.stdin is not None
        process.stdin.write("ask")
        process.stdin.close()
        assert process.stdout is not None
        assert process.stdout.read() == f"{-signal.SIGKILL} {-signal.SIGKILL}\n"
