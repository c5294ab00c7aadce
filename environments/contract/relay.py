"""A port of this host's loopback that is one of a site's: for programs that make their own connections."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

LOOK_S = 0.2


@contextmanager
def relayed(make: Callable[[int, int], socket.socket], url: str) -> Iterator[str]:
    """`http://127.0.0.1:port`, whose connections end at the host and port of `url`, by sockets that `make` gives."""
    parts = urlsplit(url)
    target = (str(parts.hostname), parts.port or 80)
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    listener.settimeout(LOOK_S)
    over = threading.Event()

    def accept() -> None:
        while not over.is_set():
            try:
                near, _ = listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            threading.Thread(target=carry, args=(near,), name="relay", daemon=True).start()

    def carry(near: socket.socket) -> None:
        family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        with near, make(family, socket.SOCK_STREAM) as far, suppress(OSError):
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            far.settimeout(10.0)
            far.connect(target)
            _pump(near, far, over)

    accepting = threading.Thread(target=accept, name="relay", daemon=True)
    accepting.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        over.set()
        listener.close()
        accepting.join(2.0)


def _pump(one: socket.socket, other: socket.socket, over: threading.Event) -> None:
    """Until either end closes."""
    ends = {one: other, other: one}
    while not over.is_set():
        for ready in select.select(list(ends), [], [], LOOK_S)[0]:
            data = ready.recv(65536)
            if not data:
                return
            ends[ready].sendall(data)
