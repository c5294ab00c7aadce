"""A registry of the tests' own: enough of the OCI distribution protocol to be pulled from, over HTTP on loopback."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from environments.images.manifest import Built

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


class Registry:
    """`tags`: repository:tag -> manifest digest; `blobs`: digest -> bytes, manifests among them."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.tags: dict[str, str] = {}
        self.blobs: dict[str, bytes] = {}

    def put(self, data: bytes) -> str:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.blobs[digest] = data
        return digest

    def publish(
        self, image: Built, tag: str, configuration: bytes | None = None, layers: list[bytes] | None = None
    ) -> None:
        """Publish it as it was built, unless it is to have another configuration or other layers."""
        configuration = configuration or Path(image.config_path).read_bytes()
        packed = [gzip.compress(each, 1) for each in layers or [Path(path).read_bytes() for path in image.layer_paths]]
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": self.put(configuration), "size": len(configuration)},
            "layers": [{"mediaType": LAYER, "digest": self.put(each), "size": len(each)} for each in packed],
        }
        self.tags[f"{image.name}:{tag}"] = self.put(json.dumps(document).encode())


@contextlib.contextmanager
def serving() -> Iterator[Registry]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = self.path.strip("/").split("/")
            if parts == ["v2"]:
                return self._answer(b"{}", "application/json")
            kind, name = parts[-2], parts[-1]
            if kind == "manifests":
                digest = registry.tags.get(f"{parts[-3]}:{name}", name)
                if digest in registry.blobs:
                    return self._answer(registry.blobs[digest], MANIFEST, digest)
            elif kind == "blobs" and name in registry.blobs:
                return self._answer(registry.blobs[name], "application/octet-stream", name)
            error = {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}
            return self._answer(json.dumps(error).encode(), "application/json", status=404)

        do_HEAD = do_GET

        def _answer(self, body: bytes, kind: str, digest: str = "", status: int = 200) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
            if digest:
                self.send_header("Docker-Content-Digest", digest)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        registry = Registry(f"127.0.0.1:{server.server_address[1]}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield registry
        finally:
            server.shutdown()
