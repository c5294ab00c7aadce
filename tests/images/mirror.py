"""A mirror of the tests' own, over HTTP on loopback."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from environments.images.lockfile import Input


class Mirror:
    """`files`: path -> contents; `broken`: paths that answer 503 so many times first, or are cut short."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.files: dict[str, bytes] = {}
        self.failing: dict[str, int] = {}
        self.cut: set[str] = set()
        self.asked: list[str] = []

    def deb(self, name: str, version: str, content: bytes, where: str | None = None) -> Input:
        """The lock's entry of a package; it is on the mirror too, unless it has another place there."""
        path = f"debian/pool/{name}_{version}.deb"
        self.files[where or path] = content
        digest = hashlib.sha256(content).hexdigest()
        return Input(
            kind="deb",
            name=name,
            version=version,
            file=f"{name}_{version}.deb",
            where=path,
            sha256=digest,
            size_bytes=len(content),
            suite="trixie",
        )


@contextlib.contextmanager
def serving() -> Iterator[Mirror]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.lstrip("/")
            mirror.asked.append(path)
            if mirror.failing.get(path, 0) > 0:
                mirror.failing[path] -= 1
                self.send_error(503)
                return
            if path not in mirror.files:
                self.send_error(404)
                return
            content = mirror.files[path]
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if path in mirror.cut else content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        mirror = Mirror(f"http://127.0.0.1:{server.server_address[1]}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield mirror
        finally:
            server.shutdown()
