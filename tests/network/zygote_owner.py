"""A process with a zygote, or without: `python zygote_owner.py forked|started FOLDER`, for test_zygote.py.

It has a site with three processes that run this module: one says what it sees, one fails, one sleeps. Prints pids.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

NAME = "tests.network.zygote_owner"


def main() -> None:
    """In the site. It sees what a new interpreter sees, or it is not like one."""
    if sys.argv[1:] == ["sleeps"]:
        time.sleep(600)
    if sys.argv[1:] == ["fails"]:
        raise ValueError("as it was asked")
    seen: dict[str, Any] = {
        "arguments": sys.argv[1:],
        "folder": str(Path.cwd()),
        "environment": dict(os.environ),
        "command": Path("/proc/self/cmdline").read_text().rstrip("\0").split("\0"),
        "labelled": f"CONFORM_RUN_ID={os.environ['CONFORM_RUN_ID']}" in Path("/proc/self/environ").read_text(),
        "zone": time.tzname,
        "leads": os.getsid(0) == os.getpid() == os.getpgid(0),
        "descriptors": len([*Path("/proc/self/fd").iterdir()]),
        "files": [str(Path(f"/proc/self/fd/{each}").readlink()) for each in (0, 1, 2)],
        "signals": {int(each): repr(signal.getsignal(each)) for each in signal.valid_signals()},
        "threads": threading.active_count(),
        "main thread": threading.current_thread() is threading.main_thread(),
    }
    print(json.dumps(seen, sort_keys=True))  # noqa: T201
    sys.exit(3)


def own(how: str, folder: Path) -> None:
    from environments.network import site, zygote

    if how == "forked":
        forked = ("environments.network.agent", NAME)
        for name in forked:
            importlib.import_module(name)
        zygote.begin(*forked)
    core = site.Site(site.SitePlan("core", 0), f"test-{os.getpid()}")
    core.ready()
    environment = {"PYTHONPATH": str(site.REPOSITORY), "TZ": "EST5EDT,M3.2.0,M11.1.0", "LANG": "C.UTF-8"}
    pids, codes = [], []
    for what in ("looks", "fails", "sleeps"):
        command = [sys.executable, "-m", NAME, what]
        pids.append(core.spawn(command, environment, folder, folder / what))
        if what != "sleeps":
            codes.append(core.wait(pids[-1]))
    print(json.dumps({"agent": core.process.pid, "sleeps": pids[-1], "codes": codes}), flush=True)  # noqa: T201
    if sys.stdin.read() == "ask":
        print(core.process.wait(5.0), core.process.poll())  # noqa: T201
    core.stop()


if __name__ == "__main__":
    if len(sys.argv) > 2:
        own(sys.argv[1], Path(sys.argv[2]))
    else:
        main()
