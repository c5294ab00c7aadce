"""Each engine that cannot be used is one line with the remedy, and exit code 254."""

from __future__ import annotations

import json
import os
import re
import socketserver
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from environments.images import EngineMissing, engines
from environments.images.errors import ImagesMissing

DOCKER = {"Version": "20.10.24", "ApiVersion": "1.41", "Os": "linux", "Arch": "amd64"}
PODMAN = {**DOCKER, "Version": "4.3.1", "Components": [{"Name": "Podman Engine", "Version": "4.3.1"}]}


AS_NOBODY = """
import os, docker, docker.errors
from environments.images import EngineMissing, engines
os.setuid(65534)
try:
    engines.engine()
except EngineMissing as why:
    print(why)
"""


def conform(*arguments: str, **environment: str) -> tuple[int, str]:
    argv = [sys.executable, "-m", "conform", *arguments]
    done = subprocess.run(
        argv, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120, check=False
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("version", [DOCKER, PODMAN, {**DOCKER, "ApiVersion": "1.52"}])
def test_engines_that_will_do(version: dict[str, Any]) -> None:
    assert engines.unfit(version, "here") == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ApiVersion": "1.40", "Version": "19.03.15"}, r"Docker 19.03.15, API 1.40; at least Docker 20.10 .*Install"),
        ({"Arch": "arm64"}, r"runs on arm64; the images are for linux/amd64.*Use an amd64 host"),
        ({"Os": "windows"}, r"windows containers; Linux is needed"),
        ({"ApiVersion": "what"}, r"answers as no container engine does.*DOCKER_HOST"),
    ],
)
def test_engines_that_will_not_do(change: dict[str, str], said: str) -> None:
    assert re.search(said, engines.unfit({**DOCKER, **change}, "unix:///x"))


@pytest.fixture
def pretender(tmp_path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Something on a unix socket that answers /version as an engine; (address, the answer, to be changed)."""
    answer = dict(DOCKER)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def address_string(self) -> str:
            return "unix"

        def log_message(self, *_: object) -> None:
            pass

    with socketserver.ThreadingUnixStreamServer(str(tmp_path / "s"), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"unix://{tmp_path / 's'}", answer
        finally:
            server.shutdown()


@pytest.mark.parametrize(
    ("change", "said"), [({"ApiVersion": "1.40"}, "at least Docker 20.10"), ({"Arch": "arm64"}, "Use an amd64 host")]
)
def test_an_engine_that_answers_and_is_unfit(
    pretender: tuple[str, dict[str, Any]], change: dict[str, str], said: str
) -> None:
    address, answer = pretender
    answer.update(change)
    code, text = conform("images", "build", "pause", DOCKER_HOST=address)
    assert (code, text.count("\n")) == (254, 1)
    assert said in text


def test_no_engine(tmp_path: Path) -> None:
    code, text = conform("images", "verify", DOCKER_HOST=f"unix://{tmp_path}/none")
    assert (code, text.count("\n")) == (254, 1)
    assert "there is no container engine" in text
    assert "apt-get install docker.io" in text


def test_nobody_behind_the_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "s"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/s")
    with pytest.raises(EngineMissing, match=r"is there and no engine answers.*Start it"):
        engines.engine()


@pytest.mark.skipif(os.geteuid() != 0, reason="takes another user, which only root can become")
def test_no_permission_on_the_socket(pretender: tuple[str, dict[str, Any]]) -> None:
    address, _ = pretender
    with tempfile.TemporaryDirectory() as folder:  # pytest's own is closed to the other user, pipes and all
        Path(folder).chmod(0o755)
        moved = Path(folder) / "s"
        Path(address.removeprefix("unix://")).rename(moved)
        moved.chmod(0o600)
        done = subprocess.run(
            [sys.executable, "-c", AS_NOBODY],
            env={**os.environ, "DOCKER_HOST": f"unix://{moved}"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert "no permission on" in done.stdout, done.stderr
    assert "usermod -aG docker" in done.stdout


def test_no_remote_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    with pytest.raises(EngineMissing, match=r"no engine answers at tcp://127.0.0.1:9 .*Check DOCKER_HOST"):
        engines.engine()


def test_a_disk_that_is_nearly_full_is_seen_before(tmp_path: Path) -> None:
    engines.require_free(1, tmp_path)
    with pytest.raises(EngineMissing, match=r"nearly full: \d+ MiB are needed, \d+ MiB are free"):
        engines.require_free(2**60, tmp_path)


def test_an_image_that_is_not_built_is_named_with_the_command(cache: Path) -> None:
    from environments.images import built

    with pytest.raises(ImagesMissing, match=r"the image pause is not built. Build it: conform images build pause"):
        built("pause")


def test_arguments_that_contradict_each_other() -> None:
    code, text = conform("images", "build", "--from-registry", "example.org/x", "--locked")
    assert code == 254
    assert "leave out --locked" in text
