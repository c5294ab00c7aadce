"""The other end of a TCP connection, as little of it as it takes to hear a client's first words and to answer DNS.

Between a site and its router nothing is lost or reordered, so there is no timer here: what comes out of order is asked
for again, by an acknowledgement of what came before.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

from environments.network.packets import ACK, FIN, PSH, RST, SYN, Packet, segment

_MASK = 0xFFFFFFFF
_BUFFER = 65_536  # a client that says more without being understood is only acknowledged


class Conversation:
    """Begun by a SYN. `answer` takes what is unread so far: the bytes to reply, and how many of them it has used."""

    def __init__(self, syn: Packet, answer: Callable[[bytes], tuple[bytes, int]]) -> None:
        self._answer = answer
        self._expected = syn.tcp_sequence  # of the client; a SYN counts as one byte
        self._sent = zlib.crc32(syn.raw) & _MASK
        self._unread = b""

    def take(self, packet: Packet) -> bytes | None:
        """The packet to send back, if any."""
        flags, data = packet.tcp_flags, packet.data
        if flags & RST:
            return None
        if flags & SYN:
            self._expected = (packet.tcp_sequence + 1) & _MASK
            self._unread = b""
            return self._segment(packet, SYN | ACK, sequence=(self._sent - 1) & _MASK)
        if packet.tcp_sequence != self._expected:
            return self._segment(packet, ACK) if data or flags & FIN else None
        if not data and not flags & FIN:
            return None
        self._expected = (self._expected + len(data) + bool(flags & FIN)) & _MASK
        self._unread = (self._unread + data)[:_BUFFER]
        reply, used = self._answer(self._unread)
        self._unread = self._unread[used:]
        made = self._segment(packet, ACK | (PSH if reply else 0) | flags & FIN, reply)
        self._sent = (self._sent + len(reply) + bool(flags & FIN)) & _MASK
        return made

    def _segment(self, packet: Packet, flags: int, data: bytes = b"", *, sequence: int | None = None) -> bytes:
        source, destination = packet.ports or (0, 0)
        ports = (destination, source)
        sequence = self._sent if sequence is None else sequence
        return segment(packet.destination, packet.source, ports, sequence, self._expected, flags, data)
