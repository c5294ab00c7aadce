"""Canaries: an attempt to leave of each kind, to reserved addresses that only this suite knows. Sent by a site's agent.

The sentinel lets them connect while it is told that they are planted, so that they can say their first words (SNI,
Host, a DNS question over TCP) in every mode.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Mapping

from environments.network import addresses, dns, words

CONNECT_S = 2.0  # for all that connect; the router answers within a millisecond unless the machine is busy
V4, V6 = addresses.CANARY_V4, addresses.CANARY_V6
MDNS_V4 = "224.0.0.251"


def send(nonce: str, quic: Mapping[str, str]) -> tuple[list[socket.socket], dict[str, str]]:
    """(sockets, which stay open so that their owner can be found; kind -> why it could not be sent)."""
    opened: list[socket.socket] = []
    refused: dict[str, str] = {}
    waiting: dict[str, tuple[socket.socket, bytes]] = {}
    for kind, (family, port, said) in _streams(nonce).items():
        try:
            opened.append(_connect(family, port))
            waiting[kind] = opened[-1], said
        except OSError as error:
            refused[kind] = str(error)
    for kind, act in _datagrams(nonce, quic).items():
        try:
            opened.append(act())
        except OSError as error:
            refused[kind] = str(error)
    return opened, refused | _say(waiting)


def _streams(nonce: str) -> dict[str, tuple[socket.AddressFamily, int, bytes]]:
    """kind -> family, port, first words."""
    name = f"{nonce}.{addresses.CANARY_SUFFIX}"
    four, six = socket.AF_INET, socket.AF_INET6
    question = dns.query(name, 2)
    asked, hello = struct.pack("!H", len(question)) + question, words.record(words.client_hello(name))
    return {
        "tcp4": (four, 9, b""),
        "tcp6": (six, 9, b""),
        "tls4": (four, 443, hello),
        "tls6": (six, 443, hello),
        "dot": (four, 853, words.record(words.client_hello(name, (b"dot",)))),
        "http": (four, 80, f"GET / HTTP/1.1\r\nHost: {name}\r\n\r\n".encode()),
        "dns-tcp4": (four, 53, asked),
        "dns-tcp6": (six, 53, asked),
    }


def _connect(family: socket.AddressFamily, port: int) -> socket.socket:
    probe = socket.socket(family, socket.SOCK_STREAM)
    probe.setblocking(False)
    code = probe.connect_ex((V6 if family == socket.AF_INET6 else V4, port))
    if code not in (0, errno.EINPROGRESS):
        probe.close()
        raise OSError(code, os.strerror(code))
    return probe


def _say(waiting: Mapping[str, tuple[socket.socket, bytes]]) -> dict[str, str]:
    """Let each say its words once it is connected; kind -> why it could not."""
    until, left, refused = time.monotonic() + CONNECT_S, dict(waiting), {}
    while left and (remaining := until - time.monotonic()) > 0:
        _, ready, _ = select.select([], [probe for probe, _ in left.values()], [], remaining)
        for kind in [each for each in left if left[each][0] in ready]:
            probe, said = left.pop(kind)
            code = probe.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                refused[kind] = os.strerror(code)
            elif said:
                probe.sendall(said)
    return refused | dict.fromkeys(left, f"the sentinel did not let it connect within {CONNECT_S:g} s")


def _datagrams(nonce: str, quic: Mapping[str, str]) -> dict[str, Callable[[], socket.socket]]:
    def datagram(address: str, port: int, data: bytes) -> Callable[[], socket.socket]:
        def act() -> socket.socket:
            probe = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
            probe.sendto(data, (address, port))
            return probe

        return act

    def raw(family: socket.AddressFamily, protocol: int, data: bytes) -> Callable[[], socket.socket]:
        def act() -> socket.socket:
            probe = socket.socket(family, socket.SOCK_RAW, protocol)
            probe.sendto(data, (V6 if family == socket.AF_INET6 else V4, 0))
            return probe

        return act

    name, mark = f"{nonce}.{addresses.CANARY_SUFFIX}", nonce.encode()
    echo = b"\x08\x00" + (0xFFFF - 0x0800).to_bytes(2, "big") + bytes(4)
    stun = struct.pack("!HHI", 1, 0, 0x2112A442) + mark.ljust(12, b"\0")[:12]
    return {
        "udp4": datagram(V4, 9, mark),
        "udp6": datagram(V6, 9, mark),
        "dns4": datagram(addresses.RESOLVER_V4, 53, dns.query(name, 1)),
        "dns6": datagram(V6, 53, dns.query(name, 3)),
        "ntp": datagram(V4, 123, b"\x1b" + bytes(47)),
        "stun": datagram(V4, 3478, stun),
        "syslog": datagram(V4, 514, b"<14>" + mark),
        **{kind: datagram(V6 if kind.endswith("6") else V4, 443, bytes.fromhex(data)) for kind, data in quic.items()},
        "icmp4": raw(socket.AF_INET, 1, echo),
        "icmp6": raw(socket.AF_INET6, 58, b"\x80" + bytes(7)),
        "raw4": raw(socket.AF_INET, 253, mark),
        "raw6": raw(socket.AF_INET6, 253, mark),
        "mdns": datagram(MDNS_V4, 5353, dns.query(name, 0)),
    }
