"""What our server promises beyond Toxiproxy's API: seeds replay, chains lose nothing, it dies with its owner."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from environments.contract.requirement import SuiteError
from environments.network.toxics.chain import ATTRIBUTES, Chain, Chunk, Stage, ToxicSpec, sliced
from environments.network.toxics.client import Toxiproxy, ToxiproxyError
from environments.network.toxics.kinds import LimitData
from environments.network.toxics.real import NoToxiproxy, found_or_built
from environments.network.toxics.running import REPOSITORY, ToxicsServer

DEADLINE_S = 20.0
SERVER = [sys.executable, "-m", "environments.network.toxics.server"]


def whole_or_cut(tmp_path: Path, echoing: Any, seed: int) -> list[bool]:
    with ToxicsServer.builtin("test-toxics", seed, tmp_path / f"{seed}.log") as server:
        proxy = server.client.create("one", echoing.address)
        server.client.add("one", LimitData(limit_bytes=0), toxicity=0.5)
        found = []
        for _ in range(40):
            with socket.create_connection(("127.0.0.1", proxy.port), DEADLINE_S) as client:
                client.sendall(b"x")
                found.append(client.recv(1) == b"x")
        return found


@pytest.mark.timeout(120)
def test_the_same_seed_chooses_the_same_connections(tmp_path: Path, echoing: Any) -> None:
    first = whole_or_cut(tmp_path, echoing, 7)
    assert whole_or_cut(tmp_path, echoing, 7) == first
    assert whole_or_cut(tmp_path, echoing, 8) != first
    assert len(set(first)) == 2


@pytest.mark.timeout(60)
def test_it_ends_when_its_owner_does_and_says_its_seed() -> None:
    server = subprocess.Popen(
        [*SERVER, "--port", "0", "--seed", "5", "--until-eof"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    assert server.stdout is not None and server.stdin is not None
    told = json.loads(server.stdout.readline())
    assert told["seed"] == 5
    assert Toxiproxy(port=int(told["url"].rpartition(":")[2])).version() == told["version"]
    server.stdin.close()
    assert server.wait(DEADLINE_S) == 0
    server.stdout.close()


@pytest.mark.timeout(60)
def test_a_taken_port_is_one_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run([*SERVER, "--port", port], capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert done.returncode == 254
    assert done.stderr == f"toxics: cannot listen on 127.0.0.1:{port}: Address already in use\n"


@pytest.mark.timeout(60)
def test_a_server_that_does_not_start_tells_what_it_said(tmp_path: Path) -> None:
    not_one = tmp_path / "toxiproxy-server"
    not_one.write_text("#!/bin/sh\necho no licence for this machine\nexit 3\n")
    not_one.chmod(0o755)
    with pytest.raises(SuiteError, match=r"did not start .*no licence for this machine"):
        ToxicsServer.real(not_one, tmp_path / "log")


def test_nobody_at_the_address_is_one_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ToxiproxyError, match=rf"toxiproxy at http://127\.0\.0\.1:{port}: GET /version: no answer"):
        Toxiproxy(port=port).version()


@pytest.mark.timeout(60)
def test_an_error_of_the_server_is_no_success(serving: Any) -> None:
    """toxiproxy-python takes a 5xx for success."""

    def broken(client: socket.socket) -> None:
        client.recv(65536)
        client.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
        client.close()

    port = int(serving(broken).address.rpartition(":")[2])
    for act in (Toxiproxy.reset, lambda t: t.remove_toxic("a", "b"), lambda t: t.add("a", LimitData(1))):
        with pytest.raises(ToxiproxyError, match="503: no") as caught:
            act(Toxiproxy(port=port))
        assert caught.value.status == 503


def test_two_servers_in_one_process_are_two(builtin_server: ToxicsServer, tmp_path: Path, echoing: Any) -> None:
    with ToxicsServer.builtin("test-toxics", 1, tmp_path / "second.log") as second:
        second.client.create("only here", echoing.address)
        assert "only here" not in builtin_server.client.proxies()
        assert "only here" in second.client.proxies()


def test_without_go_and_without_a_server_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(NoToxiproxy, match="and no Go to build it with"):
        found_or_built()


@given(st.integers(0, 5000), st.integers(1, 500), st.data())
def test_slices_are_the_whole_and_near_the_average(size: int, average: int, data: st.DataObject) -> None:
    variation = data.draw(st.integers(0, average - 1))
    pieces = sliced(size, average, variation, random.Random(1))
    assert sum(pieces) == size
    assert max(pieces) <= average + variation or len(pieces) == 1


HARMLESS = [kind for kind in ATTRIBUTES if kind not in ("timeout", "reset_peer", "limit_data")]
VALUES = {"latency": 2, "jitter": 1, "rate": 2000, "delay": 1, "average_size": 40, "size_variation": 9}
ACTS = st.tuples(st.sampled_from(["add", "remove", "update"]), st.sampled_from(HARMLESS), st.sampled_from([1.0, 0.5]))


@settings(max_examples=40, deadline=None)
@given(st.lists(ACTS, max_size=25), st.integers(0, 10**6))
def test_no_byte_is_lost_doubled_or_moved_whatever_changes_meanwhile(
    acts: list[tuple[str, str, float]], seed: int
) -> None:
    source = random.Random(seed)
    sent = source.randbytes(3000)
    assert asyncio.run(carried(acts, sent, source)) == sent


async def carried(acts: list[tuple[str, str, float]], sent: bytes, source: random.Random) -> bytes:
    arrived, done = bytearray(), asyncio.Event()

    async def write(stage: Stage) -> None:
        while (chunk := await stage.first()) is not None:
            await asyncio.sleep(0)  # a socket that may take its time
            arrived.extend(chunk.data)
            stage.drop()
        done.set()

    chain = Chain("seed", [], write)
    present: list[ToxicSpec] = []
    pieces = [sent[at : at + 100] for at in range(0, len(sent), 100)]

    async def feed() -> None:
        for piece in pieces:
            await chain.put(Chunk(piece, asyncio.get_running_loop().time()))
        chain.put_end()

    feeding = asyncio.create_task(feed())
    for number, (act, kind, toxicity) in enumerate(acts):
        if act == "add":
            present.append(ToxicSpec(f"{kind}-{number}", kind, "upstream", toxicity, VALUES))
            chain.add(present[-1])
        elif present and act == "remove":
            chain.remove(present.pop(source.randrange(len(present))))
        elif present and act == "update":
            chain.update(source.choice(present))
        await asyncio.sleep(source.choice([0, 0, 0.001, 0.003]))
    await feeding
    await asyncio.wait_for(done.wait(), DEADLINE_S)
    chain.stop()
    return bytes(arrived)
