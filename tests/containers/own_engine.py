"""An engine of a test's own, that may be killed: nobody else's containers are on it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

from container_kit import ROOT, until

START_S = 60.0


class OwnEngine:
    """A dockerd without networks, with all it keeps in one folder."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="conform-engine-"))
        self.host = f"unix://{self.folder}/d.sock"
        self.start()

    def start(self) -> None:
        options = ["--bridge=none", "--iptables=false", "--host", self.host]
        options += [f"--{name}={self.folder / name}" for name in ("data-root", "exec-root", "pidfile")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(["dockerd", *options], stdout=log, stderr=log, start_new_session=True)
        if not until(self.answers, START_S):
            said = (self.folder / "log").read_text(encoding="utf-8")[-1500:]
            self.close()
            raise RuntimeError(f"dockerd did not start: {said}")

    def answers(self) -> bool:
        import docker

        with contextlib.suppress(Exception):
            client = docker.DockerClient(self.host, timeout=5)
            client.ping()
            client.close()
            return True
        return False

    def load(self, *images: str) -> None:
        """From what was built on this host."""
        subprocess.run(
            [sys.executable, "-m", "conform", "images", "build", *images],
            check=True,
            capture_output=True,
            cwd=ROOT,
            env={**os.environ, "DOCKER_HOST": self.host},
        )

    def kill(self) -> None:
        """SIGKILL, as the kernel does when memory is short. What runs in its containers runs on; its containerd goes
        with it, and where nobody reaps that, the next one would wait for the zombie to answer."""
        self.process.kill()
        self.process.wait()
        (self.folder / "exec-root" / "containerd" / "containerd.pid").unlink(missing_ok=True)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(20)
        deadline = time.monotonic() + 10
        while self.folder.exists() and time.monotonic() < deadline:
            shutil.rmtree(self.folder, ignore_errors=True)  # its containerd ends a moment later

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
