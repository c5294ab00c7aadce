"""The clock of a node: what is written for the knob and for libfaketime, the honour test, and both on a real node."""

import math
import struct
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import profiles
from environments import provision
from environments.companyos.clock import read
from environments.contract import Capability, Deployment, Untestable
from environments.drivers.local import faketime
from environments.drivers.local.clock import Knob, Line, NoClock, SiteClock
from suites.meta import clock as meta

SECONDS = st.floats(1e9, 5e9).map(lambda value: round(value, 6))
RATES = st.one_of(st.just(0.0), st.just(1.0), st.just(1.0002), st.floats(0.01, 1000))


def shown(text: str, started_s: float, real_s: float) -> float:
    """What libfaketime shows by this text in a process that started then (its README, "+offset xrate")."""
    if not text.startswith(("+", "-")):
        return float(text)
    offset, rate = text.split()
    return started_s + float(offset) + float(rate.removeprefix("x")) * (real_s - started_s)


@given(SECONDS, SECONDS, RATES, st.floats(-1e5, 1e5), st.floats(0, 1e5))
def test_product_and_libfaketime_are_told_of_the_same_clock(
    at_s: float, real_s: float, rate: float, started_after_s: float, later_s: float
) -> None:
    line, now_s = Line(at_s, real_s, rate), real_s + later_s
    started_s = real_s + started_after_s
    expected = line.at(now_s)
    assert math.isclose(shown(faketime.spoken(line, started_s), started_s, now_s), expected, abs_tol=0.01)


@settings(deadline=None)  # it writes files
@given(SECONDS, st.floats(-1e6, 1e6), RATES.filter(bool))
def test_the_knob_shows_what_was_set(
    tmp_path_factory: pytest.TempPathFactory, at_s: float, offset_s: float, rate: float
) -> None:
    file = tmp_path_factory.getbasetemp() / "knob"
    clock = SiteClock({"one": Knob(file)})
    clock.freeze("one", at_s)
    assert read(file.read_text(), time.time()) == at_s
    clock.rate("one", rate)  # from where it stands
    assert at_s - 1e-3 <= read(file.read_text(), time.time()) <= at_s + 60 * rate
    before_s = time.time()
    clock.step("one", offset_s)
    assert math.isclose(read(file.read_text(), before_s), before_s + offset_s, abs_tol=0.01)
    clock.release("one")
    assert not file.exists()
    before_s = time.time()
    clock.rate("one", rate)  # from real time, and not from what was set before
    assert before_s - 1e-3 <= read(file.read_text(), time.time())
    clock.release_all()
    assert not file.exists()


def test_a_clock_does_not_run_backwards(tmp_path: Path) -> None:
    for factor in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="rate above 0"):
            SiteClock({"one": Knob(tmp_path / "clock")}).rate("one", factor)


def elf(interpreter: bytes | None) -> bytes:
    """A 64-bit ELF header with one program header, of a loader or of none."""
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 2, 62, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    length = len(interpreter or b"")
    return (
        header
        + struct.pack("<IIQQQQQQ", 3 if interpreter else 1, 4, 120, 0, 0, length, length, 1)
        + (interpreter or b"")
    )


def test_programs_that_nothing_can_be_preloaded_into_are_named(tmp_path: Path) -> None:
    program = tmp_path / "program"
    for image, mode, said in (
        (elf(None), 0o755, "linked statically"),
        (elf(b"/lib/ld-musl-x86_64.so.1\0"), 0o755, "musl"),
        (elf(b"/lib64/ld-linux-x86-64.so.2\0"), 0o4755, "setuid"),
        (elf(b"/lib64/ld-linux-x86-64.so.2\0"), 0o755, ""),
    ):
        program.write_bytes(image)
        program.chmod(mode)
        why = faketime.unable_to_preload(program)
        assert said in why
        assert bool(why) == bool(said)
    assert faketime.unable_to_preload(Path(sys.executable)) == ""


def test_a_library_that_does_nothing_is_not_honoured(tmp_path: Path) -> None:
    library = tmp_path / "libfaketimeMT.so.1"
    library.write_bytes(b"not a library")  # the loader says so and goes on: the time is the real one
    assert "a probe" in faketime.unhonoured(library, Path(sys.executable))


def test_without_a_library_the_capability_is_missing_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faketime, "candidates", list)
    with provision(profiles.load("edge-airgap"), calibrate=False, clocks="faketime") as deployment:
        assert "libfaketime is not on this host" in deployment.missing[Capability.CLOCK_CONTROL]
        assert isinstance(deployment.clock, NoClock)
        with pytest.raises(Untestable, match=r"clock-control: .*Install the package libfaketime"):
            deployment.clock.freeze("edge-1", 0.0)
        deployment.heal()


def test_a_rate_counts_from_when_libfaketime_began_and_not_from_the_fork(tmp_path: Path) -> None:
    library, why = faketime.choose()
    if library is None:
        pytest.skip(why)
    running: dict[str, int] = {}
    hand = faketime.Faketime(library, tmp_path, lambda: running)
    with subprocess.Popen(
        [sys.executable, "-c", "import sys, time\nfor _ in sys.stdin: print(time.time(), flush=True)"],
        env=hand.environment("one"),
        preexec_fn=lambda: time.sleep(0.5),  # as a loaded machine holds a process up
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        asked, answered = process.stdin, process.stdout
        assert asked is not None
        assert answered is not None

        def shown_s() -> float:
            asked.write("\n")
            asked.flush()
            return float(answered.readline())

        assert abs(shown_s() - time.time()) < 5
        running["one"] = process.pid
        first_s = time.time()
        SiteClock({"one": hand}).rate("one", 60.0)
        last_s = time.time()
        low_s = last_s + (time.time() - last_s) * 60
        seen_s = shown_s()
        assert low_s - 3 <= seen_s <= first_s + (time.time() - first_s) * 60 + 3  # 0.05 s of real time; the fork: 30 s
        asked.close()


def judged(deployment: Deployment) -> list[str]:
    """What META-06 finds."""
    moments: list[meta.Moment] = []
    lapses: list[meta.Lapse] = []
    try:
        for node in deployment.nodes.values():
            seen, ends = meta.tried(deployment, node)
            moments += seen
            lapses += ends
    except AssertionError as failed:  # parts of a node that are at different times refuse each other's tokens
        return [str(failed)]
    return meta.judge_moments(moments) + meta.judge_lapses(lapses)


@pytest.mark.timeout(300)
def test_libfaketime_turns_the_clock_of_every_service_and_outlives_a_restart() -> None:
    library, why = faketime.choose()
    if library is None:
        pytest.skip(why)
    with provision(profiles.load("saas"), calibrate=False, clocks="faketime") as deployment:
        assert Capability.CLOCK_CONTROL in deployment.capabilities, deployment.missing
        assert judged(deployment) == []
        node = deployment.locals["saas"]
        deployment.clock.step("saas", 1800.0)
        node.kill("data")
        node.start("data")
        node.wait_ready()
        client = node.login(node.user("admin"))
        made = client.graphql('mutation { createEntity(input: {kind: "a"}) { createdAt } }').json()
        stamp = made["data"]["createEntity"]["createdAt"]
        low, high = (time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + 1800 + each)) for each in (-60, 60))
        assert low <= stamp <= high


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("defect", "said"),
    [
        ("ignores_the_clock_knob", "a token is issued at"),
        ("keeps_the_faked_time", "released, and a token"),
        ("half_of_it_is_faked", ""),  # META-06 looks further than the honour test
    ],
)
def test_a_node_that_does_not_honour_its_clock_is_found_when_it_is_made(defect: str, said: str) -> None:
    with provision(profiles.load("edge-airgap"), calibrate=False, defects=[defect]) as deployment:
        honoured: Mapping[str, str] = {name: deployment.clock.honoured(name) for name in deployment.nodes}
        assert (Capability.CLOCK_CONTROL in deployment.missing) == bool(said)
        assert all(said in why and bool(why) == bool(said) for why in honoured.values())
        assert judged(deployment) != []
