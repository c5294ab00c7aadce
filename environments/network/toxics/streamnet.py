"""The network of a deployment without namespaces: all sites on this host's loopback, links as TCP streams."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from environments.contract import Calibration, LinkState
from environments.network.toxics import calibration
from environments.network.toxics.control import StreamControl
from environments.network.toxics.links import Pair, StreamLinks
from environments.network.toxics.running import ToxicsServer

Address = tuple[str, int]


class StreamNetwork:
    """Stands where a Network would. `stop` ends it, and so does the end of this process."""

    def __init__(self, run_id: str, links: Mapping[Pair, LinkState], seed: int, workdir: Path, egress: Any) -> None:
        """egress: what stands where the ledger would. Raises SuiteError if the toxics server does not start."""
        self._stopped = False
        self.egress = egress  # there is none: nothing here sees what tries to leave
        self.server = ToxicsServer.builtin(run_id, seed, workdir / "toxics.log")
        try:
            self.links = StreamLinks(self.server.client, links, workdir / "links.jsonl")
            self._control = StreamControl(workdir, run_id, seed, self.links)
        except BaseException:
            self.server.stop()
            raise
        self._detours: dict[str, dict[Address, Address]] = {}  # origin -> address of a service -> proxy

    def expose(self, site: str, service: str, host: str, port: int) -> None:
        """A service of a site, by a name of its own: sites that have a link to that site reach it by that link."""
        for (origin, target), _ in self.links.directions():
            if target == site:
                proxy = self.links.open_way(origin, site, service, f"{host}:{port}")
                self._detours.setdefault(origin, {})[host, port] = ("127.0.0.1", proxy)

    def url_from(self, origin: str, url: str) -> str:
        """The URL by which a site reaches a service of another."""
        parts = urlsplit(url)
        way = self._detours.get(origin, {}).get((parts.hostname or "", parts.port or 80))
        return url if way is None else urlunsplit(parts._replace(netloc=f"{way[0]}:{way[1]}"))

    def socket(self, origin: str, family: int, kind: int) -> socket.socket:
        """A socket that connects to the services of other sites by the links of its own."""
        return _Detour(family, kind, self._detours.setdefault(origin, {}))

    def router_alive(self) -> bool:
        return self.server.alive()

    def watch(self, lost: Callable[[str], None]) -> None:
        """Call `lost` from a thread, with the reason, if the server ends before `stop`."""

        def wait() -> None:
            code = self.server.process.wait()
            if not self._stopped:
                lost(f"the toxics server ended (exit code {code}): what ran on its links proves nothing")

        threading.Thread(target=wait, daemon=True).start()

    def calibrate(self, *, cache_folder: Path | None = None) -> Sequence[Calibration]:
        """Measured afresh each time, a few seconds: what a process in Python can do differs with what else runs."""
        return calibration.calibrate(self.links)

    def stop(self) -> None:
        self._stopped = True
        self._control.stop()
        self.server.stop()


class _Detour(socket.socket):
    def __init__(self, family: int, kind: int, ways: Mapping[Address, Address]) -> None:
        super().__init__(family, kind)
        self._ways = ways

    def connect(self, address: Any) -> None:
        super().connect(self._ways.get(address, address))
