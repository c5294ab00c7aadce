"""Servers to talk to through a proxy, and the two Toxiproxies: ours and the real one."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from environments.network.toxics import real
from environments.network.toxics.client import Toxiproxy
from environments.network.toxics.running import ToxicsServer

Handler = Callable[[socket.socket], None]


class Service:
    """A TCP server in a thread per connection. Remembers what it received, and what it holds open."""

    def __init__(self, handler: Handler) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._handler = handler
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections.append(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            self._handler(client)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self.connections:
            each.close()


def echo(client: socket.socket) -> None:
    while data := client.recv(65536):
        client.sendall(data)
    client.close()


@pytest.fixture
def echoing() -> Iterator[Service]:
    service = Service(echo)
    yield service
    service.close()


@pytest.fixture
def serving() -> Iterator[Callable[[Handler], Service]]:
    made: list[Service] = []

    def make(handler: Handler) -> Service:
        made.append(Service(handler))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture(scope="session")
def builtin_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToxicsServer]:
    with ToxicsServer.builtin("test-toxics", 42, tmp_path_factory.mktemp("toxics") / "builtin.log") as server:
        yield server


@pytest.fixture(scope="session")
def real_path() -> Path:
    try:
        return real.found_or_built()
    except real.NoToxiproxy as why:
        pytest.skip(str(why))


@pytest.fixture(scope="session")
def real_server(real_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToxicsServer]:
    with ToxicsServer.real(real_path, tmp_path_factory.mktemp("toxics") / "real.log") as server:
        yield server


@pytest.fixture(params=["builtin", "real"])
def toxiproxy(request: pytest.FixtureRequest) -> Iterator[Toxiproxy]:
    """A server without proxies, of each kind in turn."""
    server: ToxicsServer = request.getfixturevalue(f"{request.param}_server")
    yield server.client
    for name in server.client.proxies():
        server.client.delete(name)
