"""libfaketime, for services that have no clock knob: found, tried on a process of the same kind, then preloaded.

Facts that this rests on, seen with the 0.9.10 of Debian 12 and the one in the package libfaketime 3.0.1 of the index:
an offset that carries a rate counts from when the library begins in a process, a rate stays until another is given,
and 0.9.10 breaks time.sleep of Python 3.11 (EINVAL; https://github.com/wolfcw/libfaketime/issues/426). The probe finds
the last.
"""

from __future__ import annotations

import importlib.util
import os
import stat
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from environments.drivers.local.clock import Hand, Knob, Line, NoClock, SiteClock, replace
from environments.drivers.local.node import LocalNode

PLACES = (
    "usr/lib/*/faketime/libfaketimeMT.so.1",  # Debian: libfaketime
    "usr/lib/faketime/libfaketimeMT.so.1",
    "usr/lib64/faketime/libfaketimeMT.so.1",
    "usr/local/lib/faketime/libfaketimeMT.so.1",
)
NAMED = "CONFORM_FAKETIME"  # path of a library that lies elsewhere
REMEDY = "Install the package libfaketime, 0.9.11 or newer (pip install libfaketime builds one)"
PROBE_S = 1_893_456_000  # 2030-01-01
PROBE = (
    "import time; t = time.time(); m = time.monotonic(); time.sleep(0.05); print(t, time.time(), time.monotonic() - m)"
)
SHARED = Path("/dev/shm/faketime_shm_{pid}")  # named by the library
LIMIT_S = 10.0
_REAL = "+0 x1\n"


def candidates() -> list[Path]:
    """Libraries on this host, the one that the environment names first."""
    found = [Path(os.environ[NAMED])] if os.environ.get(NAMED) else []
    found += [path for place in PLACES for path in sorted(Path("/").glob(place))]
    spec = importlib.util.find_spec("libfaketime")
    if spec is not None and spec.origin is not None:
        found += sorted(Path(spec.origin).parent.glob("vendor/libfaketime/src/libfaketime*.so.1"))
    return [path for path in found if path.is_file()]


def choose() -> tuple[Path | None, str]:
    """The first library that an interpreter like that of the services honours, or None and why there is none."""
    reasons = []
    for library in candidates():
        why = unhonoured(library, Path(sys.executable))
        if not why:
            return library, ""
        reasons.append(f"{library}: {why}")
    return None, "; ".join(reasons) or "libfaketime is not on this host"


def environment(library: Path, file: Path) -> dict[str, str]:
    """What a process is started with. Its file stats, waits and monotonic clock stay real."""
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",  # the file is read at every look at the clock
        "FAKETIME_FMT": "%s",  # absolute times in seconds since the epoch: those of a calendar would be of a zone
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }


def unhonoured(library: Path, interpreter: Path) -> str:
    """Empty if a process of that interpreter shows the time that is set, and still sleeps; else what was seen."""
    unable = unable_to_preload(interpreter)
    if unable:
        return unable
    with tempfile.TemporaryDirectory(prefix="conform-") as folder:
        file = Path(folder) / "probe"
        file.write_text(f"{PROBE_S}\n", encoding="ascii")
        try:
            done = subprocess.run(
                [interpreter, "-I", "-S", "-c", PROBE],
                env=environment(library, file),
                capture_output=True,
                text=True,
                timeout=LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"a probe that sleeps 0.05 s did not end within {LIMIT_S:g} s"
    try:
        began, ended, slept_s = (float(each) for each in done.stdout.split())
    except ValueError:
        last = (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]
        return f"a probe failed under it: {last}"
    if (began, ended) != (PROBE_S, PROBE_S):
        return f"frozen at {PROBE_S}, a probe read {began:.0f} and {ended:.0f}"
    return "" if slept_s >= 0.04 else f"a probe that sleeps 0.05 s slept {slept_s:.3f} s"


def unable_to_preload(program: Path) -> str:
    """Why the loader would not preload into this program, read from its file: setuid, static, musl. Empty: it would."""
    program = program.resolve()
    if program.stat().st_mode & (stat.S_ISUID | stat.S_ISGID):
        return f"{program} is setuid: the loader ignores LD_PRELOAD"
    loader = _loader(program.read_bytes())
    if loader is None:
        return f"{program} is linked statically: there is no loader to preload anything"
    if "musl" in loader:
        return f"{program} is linked with musl ({loader}): a libfaketime for glibc does not load there"
    return ""


def _loader(image: bytes) -> str | None:
    """The program interpreter (PT_INTERP) of a 64-bit little-endian ELF image; None without one. Others: unknown."""
    if image[:6] != b"\x7fELF\x02\x01":
        return "unknown"
    (table,), (size, count) = struct.unpack_from("<Q", image, 32), struct.unpack_from("<HH", image, 54)
    for index in range(count):
        kind, _, offset, _, _, length = struct.unpack_from("<IIQQQQ", image, table + index * size)
        if kind == 3:
            return image[offset : offset + length].rstrip(b"\0").decode(errors="replace")
    return None


class Faketime:
    """The hand of one node: a file per service, since an offset with a rate counts from the start of a process."""

    def __init__(self, library: Path, folder: Path, pids: Callable[[], Mapping[str, int]]) -> None:
        """pids: service -> process, of those that were started."""
        self._library, self._folder, self._pids = library, folder, pids
        self._line: Line | None = None

    def environment(self, service: str) -> dict[str, str]:
        """For a service that starts now: it begins its life with the clock as it is set."""
        self._write(service, time.time())
        return environment(self._library, self._file(service))

    def turn(self, line: Line | None) -> None:
        self._line = line
        for service, pid in self._pids().items():
            began_s = began(pid)
            if began_s is not None:
                self._write(service, began_s)

    def _file(self, service: str) -> Path:
        return self._folder / f"faketime-{service}"

    def _write(self, service: str, started_s: float) -> None:
        replace(self._file(service), spoken(self._line, started_s))
        self._file(service).chmod(0o644)  # PostgreSQL has an account of its own


def clock_of(nodes: Mapping[str, LocalNode], how: Literal["knob", "faketime"]) -> SiteClock | NoClock:
    """The clock of nodes whose services start after this: libfaketime is in their environment, instead of the knob."""
    if how == "knob":
        return SiteClock({name: Knob(Path(node.config["clock_file"])) for name, node in nodes.items()})
    library, why = choose()
    if library is None:
        return NoClock(f"{why}. {REMEDY}")
    hands: dict[str, Hand] = {}
    for name, node in nodes.items():
        node.config["clock_file"] = None
        hand = Faketime(library, node.home, node.pids)
        hands[name], node.preload = hand, hand.environment
    return SiteClock(hands)


def spoken(line: Line | None, started_s: float) -> str:
    """The line as libfaketime reads it in a process that started then."""
    if line is None:
        return _REAL
    if line.rate == 0:
        return f"{line.at_s:.6f}\n"
    return f"{line.at(started_s) - started_s:+.6f} x{line.rate!r}\n"


def began(pid: int) -> float | None:
    """When libfaketime began to count in a process, seconds since the epoch, to 10 ms; None if the process is gone.

    Read from the memory that the library shares with the children of the process, and makes as it begins. Where there
    is none: the start of the process, which a loaded machine can put 0.1 s before. Under a rate of 60 that is 6 s."""
    started_s = start_of(pid)
    if started_s is None:
        return None
    try:
        made_s = SHARED.with_name(SHARED.name.format(pid=pid)).stat().st_mtime
    except OSError:
        return started_s
    return max(started_s, made_s)  # an older one was left by another process of that number


def start_of(pid: int) -> float | None:
    """When a process started, seconds since the epoch, to 10 ms; None if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    after_boot_s = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + after_boot_s
