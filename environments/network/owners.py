"""Asking a site's agent which process is behind an attempt. Packets never wait for it; answers come when they come."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

from environments.network.packets import ICMP, ICMP6, Packet

_MESSAGE = 4096


class Owners:
    """The router's side: one seqpacket socket per site, the agent at its other end (see owning.py)."""

    def __init__(self) -> None:
        self._channels: dict[str, socket.socket] = {}
        self._sites: dict[int, str] = {}
        self._asked: dict[int, str] = {}  # flow -> site, not answered yet

    def attach(self, sites: Sequence[str], fds: Sequence[int]) -> None:
        for site, fd in zip(sites, fds, strict=True):
            os.set_blocking(fd, False)
            self._channels[site], self._sites[fd] = socket.socket(fileno=fd), site

    def fds(self) -> list[int]:
        return list(self._sites)

    @property
    def unanswered(self) -> int:
        return len(self._asked)

    def ask(self, flow: int, site: str, packet: Packet) -> None:
        """Put the question, if the site's agent can take one more."""
        channel = self._channels.get(site)
        if channel is None:
            return
        try:
            channel.send(json.dumps({"flow": flow, **question(packet)}).encode())
        except OSError:  # it is gone, or has so many questions that it would come too late anyway
            return
        self._asked[flow] = site

    def read(self, fd: int, learn: Callable[..., None]) -> None:
        """Take the answers that have come: learn(flow, pid=..., command=...) of each process that was found."""
        site = self._sites[fd]
        while True:
            try:
                message = self._channels[site].recv(_MESSAGE)
            except BlockingIOError:
                return
            except OSError:
                message = b""
            if not message:
                self._channels.pop(site).close()
                del self._sites[fd]
                self._asked = {flow: of for flow, of in self._asked.items() if of != site}
                return
            answer = json.loads(message)
            self._asked.pop(answer["flow"], None)
            if answer.get("pid"):
                learn(answer["flow"], pid=answer["pid"], command=answer["command"])


def question(packet: Packet) -> dict[str, Any]:
    """What identifies the socket that sent a packet. `source_port`: of an ICMP echo its identifier."""
    source_port, port = packet.ports or (0, 0)
    if packet.protocol in (ICMP, ICMP6):
        source_port = int.from_bytes(packet.raw[packet.payload + 4 : packet.payload + 6], "big")
    return {
        "protocol": packet.protocol,
        "source": packet.source_text,
        "source_port": source_port,
        "destination": packet.destination_text,
        "port": port,
    }
