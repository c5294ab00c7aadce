"""The way out: connections are used again, dead and endless answers end in time."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from environments.companyos import outgoing

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nETag: x\r\n\r\nok"
Handler = Callable[[socket.socket], None]


class Server:
    """A TCP server that hands each connection to the handler."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.connections = 0
        self.handler: Handler = answering
        threading.Thread(target=self.run, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def run(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.handler, args=(connection,), daemon=True).start()


def answering(connection: socket.socket) -> None:
    while connection.recv(65536):
        connection.sendall(OK)


def once(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(OK)
    connection.close()


def endless(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    try:
        while True:
            connection.sendall(bytes(65536))
    except OSError:
        pass


def silent(connection: socket.socket) -> None:
    time.sleep(30)  # longer than any deadline of the test


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    yield found
    found.listener.close()


def test_one_connection_carries_many_requests(server: Server) -> None:
    channel = outgoing.Channel(server.url)
    for _ in range(5):
        answer = channel.request("POST", "/x", b"body")
        assert (answer.status, answer.body, answer.headers["etag"]) == (200, b"ok", "x")
    assert server.connections == 1
    channel.close()


def test_an_idle_connection_that_was_closed_is_replaced(server: Server) -> None:
    server.handler = once
    channel = outgoing.Channel(server.url)
    assert [channel.request("GET", "/x").body for _ in range(3)] == [b"ok"] * 3
    assert server.connections == 3


def test_a_fault_on_a_new_connection_is_told(server: Server) -> None:
    server.handler = socket.socket.close
    with pytest.raises(outgoing.LinkError, match="reset"):
        outgoing.Channel(server.url).request("GET", "/x")
    assert server.connections == 1


def test_endless_answers_end(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.handler = endless
    monkeypatch.setattr(outgoing, "MAX_ANSWER_BYTES", 1 << 20)
    with pytest.raises(outgoing.LinkError, match="too-large"):
        outgoing.Channel(server.url).request("GET", "/x")


def test_silence_ends_at_the_deadline(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.handler = silent
    monkeypatch.setattr(outgoing, "allowance_s", lambda size: 0.2)
    started = time.monotonic()
    with pytest.raises(outgoing.LinkError, match="timeout"):
        outgoing.Channel(server.url).request("GET", "/x")
    assert time.monotonic() - started < 2.5


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(outgoing.LinkError, match="refused"):
        outgoing.Channel(f"http://127.0.0.1:{port}").request("GET", "/x")


def test_deadlines_grow_with_what_is_carried() -> None:
    """64 KiB at 8 kbit/s take 65 s; the deadline leaves as much again."""
    assert outgoing.allowance_s(65536) > 2 * 65536 / 1000
