"""Asking a site's agent which process is behind an attempt. Packets never wait for it; answers come when they come."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence
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

    def is_asked(self, flow: int) -> bool:
        """Whether the answer about it is still to come."""
        return flow in self._asked

    def read(self, fd: int) -> list[tuple[int, dict[str, Any]]]:
        """The answers that have come: flow, and `pid` and `command` if the process was found."""
        found: list[tuple[int, dict[str, Any]]] = []
        site = self._sites[fd]
        while True:
            try:
                message = self._channels[site].recv(_MESSAGE)
            except BlockingIOError:
                return found
            except OSError:
                message = b""
            if not message:
                self._channels.pop(site).close()
                del self._sites[fd]
                found += [(flow, {}) for flow, of in self._asked.items() if of == site]
                self._asked = {flow: of for flow, of in self._asked.items() if of != site}
                return found
            answer = json.loads(message)
            flow = int(answer.pop("flow"))
            self._asked.pop(flow, None)
            found.append((flow, answer))


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
