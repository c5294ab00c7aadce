"""Proxies and their connections: what is accepted, connected onwards, and carried through two chains of toxics."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from environments.network.toxics.chain import CHUNK_BYTES, Chain, Chunk, Stage, ToxicSpec

STREAMS = ("upstream", "downstream")


@dataclass
class Traffic:
    """Of one stream of a proxy, since it was made."""

    received_bytes: int = 0
    sent_bytes: int = 0
    received_chunks: int = 0
    sent_chunks: int = 0


class Connection:
    """One client and its connection to the service. The end of one side ends the other, as in Toxiproxy."""

    def __init__(self, proxy: Proxy, client: socket.socket, service: socket.socket, seed: str) -> None:
        self._proxy = proxy
        self._loop = asyncio.get_running_loop()
        self._ends = {"upstream": service, "downstream": client}  # where each stream goes to
        self._readers: dict[str, asyncio.Task[None]] = {}
        self.chains = {
            stream: Chain(f"{seed}/{stream}", proxy.chain(stream), partial(self._write, stream)) for stream in STREAMS
        }
        for stream in STREAMS:
            self._readers[stream] = self._loop.create_task(self._read(stream, self._ends[_other(stream)]))

    async def _read(self, stream: str, source: socket.socket) -> None:
        traffic, chain = self._proxy.traffic[stream], self.chains[stream]
        with contextlib.suppress(OSError):
            while data := await self._loop.sock_recv(source, CHUNK_BYTES):
                traffic.received_bytes += len(data)
                traffic.received_chunks += 1
                await chain.put(Chunk(data, self._loop.time()))
        chain.put_end()

    async def _write(self, stream: str, stage: Stage) -> None:
        target, traffic = self._ends[stream], self._proxy.traffic[stream]
        with contextlib.suppress(OSError):
            while (chunk := await stage.first()) is not None:
                await self._loop.sock_sendall(target, chunk.data)
                stage.drop()
                traffic.sent_bytes += len(chunk.data)
                traffic.sent_chunks += 1
        self._close(stream)

    def _close(self, stream: str) -> None:
        """Close where a stream goes to; nothing can be read there any more, so the other stream ends too."""
        target = self._ends[stream]
        if any(chain.reset for chain in self.chains.values()):
            for each in self._ends.values():
                _reset_on_close(each)
        self._readers[_other(stream)].cancel()
        self._shut(target)
        self.chains[_other(stream)].put_end()
        if all(each.fileno() < 0 for each in self._ends.values()):
            self.abort()

    def _shut(self, end: socket.socket) -> None:
        if end.fileno() >= 0:
            # Before the descriptor is free for another connection; the cancelled task would do it too late.
            self._loop.remove_reader(end)
            self._loop.remove_writer(end)
            end.close()

    def abort(self) -> None:
        """Close both ends now; what was on its way is lost."""
        self._proxy.connections.discard(self)
        for reader in self._readers.values():
            reader.cancel()
        for end in self._ends.values():
            self._shut(end)
        for chain in self.chains.values():
            chain.stop()


class Proxy:
    """Listens, and passes what connects on to the upstream. Errors of the sockets are raised as OSError."""

    def __init__(self, name: str, listen: str, upstream: str, seed: str) -> None:
        self.name, self.listen, self.upstream, self.seed = name, listen, upstream, seed
        self.enabled = False
        self.toxics: list[ToxicSpec] = []
        self.connections: set[Connection] = set()
        self.traffic = {stream: Traffic() for stream in STREAMS}
        self._listener: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._accepted = 0

    def document(self) -> dict[str, object]:
        toxics = [toxic.document() for stream in STREAMS for toxic in self.chain(stream)]
        return {
            "name": self.name,
            "listen": self.listen,
            "upstream": self.upstream,
            "enabled": self.enabled,
            "toxics": toxics,
        }

    # -- up and down

    def start(self) -> None:
        if self.enabled:
            return
        self._listener = _listening(self.listen)
        host, port = self._listener.getsockname()[:2]
        self.listen = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.enabled = True
        self._keep(self._accept(self._listener))

    def stop(self) -> None:
        """Refuse from now on, close what is open."""
        self.enabled = False
        for task in list(self._tasks):
            task.cancel()
        if self._listener:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        for connection in list(self.connections):
            connection.abort()

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listener: socket.socket) -> None:
        while True:
            client, _ = await asyncio.get_running_loop().sock_accept(listener)
            self._accepted += 1
            self._keep(self._join(client, f"{self.seed}/{self._accepted}"))

    async def _join(self, client: socket.socket, seed: str) -> None:
        service: socket.socket | None = None
        try:
            service = await _connected(self.upstream)
            for end in (client, service):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except (OSError, asyncio.CancelledError):
            client.close()
            if service:
                service.close()
            return
        self.connections.add(Connection(self, client, service, seed))

    # -- toxics

    def chain(self, stream: str) -> list[ToxicSpec]:
        return [toxic for toxic in self.toxics if toxic.stream == stream]

    def toxic(self, name: str) -> ToxicSpec | None:
        return next((toxic for toxic in self.toxics if toxic.name == name), None)

    def add(self, toxic: ToxicSpec) -> None:
        self.toxics.append(toxic)
        for chain in self._living(toxic):
            chain.add(toxic)

    def update(self, toxic: ToxicSpec) -> None:
        for chain in self._living(toxic):
            chain.update(toxic)

    def remove(self, toxic: ToxicSpec) -> None:
        self.toxics.remove(toxic)
        for chain in self._living(toxic):
            chain.remove(toxic)

    def _living(self, toxic: ToxicSpec) -> Iterator[Chain]:
        for connection in list(self.connections):
            yield connection.chains[toxic.stream]


def _other(stream: str) -> str:
    return STREAMS[1 - STREAMS.index(stream)]


def address(text: str) -> tuple[str, int]:
    """host:port, [v6]:port or :port. ValueError with the reason."""
    host, colon, port = text.rpartition(":")
    if not colon:
        raise ValueError(f"address {text}: missing port in address")
    if not port.isdigit() or int(port) > 65535:
        raise ValueError(f"address {text}: invalid port")
    return host.strip("[]"), int(port)


def _listening(listen: str) -> socket.socket:
    """Without a host: loopback, since a proxy is for this machine's own tests."""
    host, port = address(listen) if listen else ("", 0)
    family, kind, protocol, _, where = socket.getaddrinfo(host or "127.0.0.1", port, type=socket.SOCK_STREAM)[0]
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(where)
        made.listen(256)
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    return made


async def _connected(upstream: str) -> socket.socket:
    """OSError if nobody answers, or if the address cannot be."""
    loop = asyncio.get_running_loop()
    try:
        host, port = address(upstream)
    except ValueError as error:
        raise OSError(str(error)) from None
    found = await loop.getaddrinfo(host or "127.0.0.1", port, type=socket.SOCK_STREAM)
    family, kind, protocol, _, where = found[0]
    made = socket.socket(family, kind, protocol)
    made.setblocking(False)
    try:
        await loop.sock_connect(made, where)
    except BaseException:
        made.close()
        raise
    return made


def _reset_on_close(end: socket.socket) -> None:
    if end.fileno() >= 0:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
