"""Real servers as processes of this host, for tests of the seams behind which containers put them.

Where a server is found: the environment variable named below, else the search path. Without it the tests are skipped.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from environments.drivers.servers import opa_config

NEO4J_LIB = "CONFORM_NEO4J_LIB"  # a folder of jars: org.neo4j:neo4j and what it depends on
PASSWORD = "graph-password-of-tests"


def executable(variable: str, name: str) -> str:
    found = os.environ.get(variable) or shutil.which(name)
    if not found:
        pytest.skip(f"no {name}: name its binary in {variable}")
    return found


class Server:
    """A process that can be killed, paused, resumed and started again on the same port."""

    def __init__(
        self,
        command: Sequence[str],
        port: int,
        home: Path,
        env: Mapping[str, str] | None = None,
        ready: Callable[[], bool] | None = None,
        limit_s: float = 90.0,
    ) -> None:
        self.command, self.port, self.home, self.limit_s = list(command), port, home, limit_s
        self.env = {**os.environ, **(env or {})}
        self.ready = ready or (lambda: answers(port))
        self.log = home / "server.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Server:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.home, env=self.env, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        ends = time.monotonic() + self.limit_s
        while not self.ready():
            assert self.process.poll() is None, f"ended while starting:\n{self.tail()}"
            assert time.monotonic() < ends, f"not ready after {self.limit_s:g} s:\n{self.tail()}"
            time.sleep(0.05)  # the pace of asking; the condition is that it answers
        return self

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def pause(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        tasks = Path(f"/proc/{self.process.pid}/task")
        while not all(") T" in (task / "stat").read_text() for task in tasks.iterdir()):
            time.sleep(0.005)  # waiting for the condition of this loop: every thread stands still

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


# Neo4j


def neo4j(home: Path, port: int) -> Server:
    """Started, with the password above for its user neo4j."""
    lib, java = os.environ.get(NEO4J_LIB), shutil.which("java")
    if not lib or not java or not list(Path(lib).glob("neo4j-5*.jar")):
        pytest.skip(f"no Neo4j: name the folder of its jars in {NEO4J_LIB}, and have java")
    (home / "conf").mkdir()
    (home / "conf" / "neo4j.conf").write_text(
        "server.bolt.enabled=true\n"
        f"server.bolt.listen_address=127.0.0.1:{port}\n"
        "server.http.enabled=false\nserver.https.enabled=false\n"
        "dbms.usage_report.enabled=false\nserver.memory.pagecache.size=32m\n"
        "db.tx_log.preallocate=false\n"
    )
    env = {"NEO4J_HOME": str(home), "NEO4J_CONF": str(home / "conf")}
    path = ["-cp", f"{lib}/*"]
    subprocess.run(
        [java, *path, "org.neo4j.cli.AdminTool", "dbms", "set-initial-password", PASSWORD],
        env={**os.environ, **env},
        check=True,
        capture_output=True,
    )
    command = [java, "-Xmx256m", "-Xms128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", *path]
    command += ["org.neo4j.server.CommunityEntryPoint", f"--home-dir={home}", f"--config-dir={home / 'conf'}"]
    return Server(command, port, home, env, lambda: bolt_answers(port)).start()


def bolt_answers(port: int) -> bool:
    from environments.companyos.storage.bolt import Away, Bolt

    if not answers(port):
        return False
    bolt = Bolt(f"bolt://127.0.0.1:{port}", PASSWORD)
    try:
        bolt.ask("RETURN 1 AS one")
    except Away:
        return False
    finally:
        bolt.close()
    return True


# OPA


def opa(home: Path, port: int, bundles: str, pem: str) -> Server:
    """Started, as the drivers configure it. bundles: base URL of the node; pem: the vendor's key."""
    program = executable("CONFORM_OPA", "opa")
    config = opa_config(bundles, pem, str(home / "kept"))
    (home / "config.json").write_text(json.dumps(config))
    command = [program, "run", "--server", f"--addr=127.0.0.1:{port}", "--config-file=config.json"]
    return Server([*command, "--skip-version-check", "--log-level=error"], port, home).start()
