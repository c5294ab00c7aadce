"""IPv4 and IPv6 packets: what the sentinel must read, and the refusals and DNS answers it may write."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10
_EXTENSIONS = {0, 43, 60, 135}  # hop-by-hop, routing, destination options, mobility
_FRAGMENT = 44
_ERRORS = {ICMP: frozenset({3, 4, 5, 11, 12}), ICMP6: frozenset({1, 2, 3, 4})}
KERNEL_ICMP6 = frozenset({130, 131, 132, 133, 134, 135, 136, 137, 143})  # MLD, router and neighbour discovery


@dataclass(frozen=True, slots=True)
class Packet:
    """What was read of an IP packet; raw stays whole. `payload` is where the transport header starts."""

    raw: bytes
    version: int
    source: bytes
    destination: bytes
    protocol: int
    payload: int
    first_fragment: bool

    @property
    def destination_text(self) -> str:
        return socket.inet_ntop(socket.AF_INET if self.version == 4 else socket.AF_INET6, self.destination)

    @property
    def source_text(self) -> str:
        return socket.inet_ntop(socket.AF_INET if self.version == 4 else socket.AF_INET6, self.source)

    @property
    def ports(self) -> tuple[int, int] | None:
        """(source, destination) of TCP and UDP; None for others, later fragments and truncated headers."""
        if self.protocol not in (TCP, UDP) or not self.first_fragment or len(self.raw) < self.payload + 8:
            return None
        source, destination = struct.unpack_from("!HH", self.raw, self.payload)
        return int(source), int(destination)

    @property
    def tcp_sequence(self) -> int:
        """Sequence number; only of a packet that has ports and is TCP."""
        return int(struct.unpack_from("!I", self.raw, self.payload + 4)[0])

    @property
    def data(self) -> bytes:
        """What a TCP segment or a UDP datagram carries; empty for others."""
        if self.protocol == UDP:
            return self.raw[self.payload + 8 :]
        if self.protocol == TCP and len(self.raw) >= self.payload + 20:
            return self.raw[self.payload + (self.raw[self.payload + 12] >> 4) * 4 :]
        return b""

    @property
    def tcp_flags(self) -> int:
        return self.raw[self.payload + 13] if len(self.raw) >= self.payload + 20 else 0


def parse(raw: bytes) -> Packet | None:
    """Read a packet; None if it is neither IPv4 nor IPv6, or cut short."""
    if len(raw) < 20:
        return None
    version = raw[0] >> 4
    if version == 4:
        header = (raw[0] & 15) * 4
        if header < 20 or len(raw) < header:
            return None
        first = not (raw[6] & 0x1F or raw[7])
        return Packet(raw, 4, raw[12:16], raw[16:20], raw[9], header, first)
    if version != 6 or len(raw) < 40:
        return None
    protocol, at, first = raw[6], 40, True
    while (protocol in _EXTENSIONS or protocol == _FRAGMENT) and len(raw) >= at + 8:
        if protocol == _FRAGMENT:
            first = not struct.unpack_from("!H", raw, at + 2)[0] >> 3
            protocol, at = raw[at], at + 8
        else:
            protocol, at = raw[at], at + (raw[at + 1] + 1) * 8
    return Packet(raw, 6, raw[8:24], raw[24:40], protocol, at, first)


def complained_of(packet: Packet) -> Packet | None:
    """The packet that an ICMP error quotes; None if this is no ICMP error."""
    kind = packet.raw[packet.payload] if len(packet.raw) > packet.payload else -1
    return parse(packet.raw[packet.payload + 8 :]) if kind in _ERRORS.get(packet.protocol, ()) else None


def checksum(data: bytes) -> int:
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return int(~(total + (total >> 16)) & 0xFFFF)


def wrap(source: bytes, destination: bytes, protocol: int, body: bytes) -> bytes:
    """An IP packet around a transport body; the version follows the length of the addresses."""
    if len(source) == 4:
        head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 0, 0, 64, protocol, 0, source, destination)
        return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body
    return struct.pack("!IHBB16s16s", 6 << 28, len(body), protocol, 64, source, destination) + body


def _summed(source: bytes, destination: bytes, protocol: int, body: bytes, at: int) -> bytes:
    """The body with its checksum, over the pseudo header, at offset `at`."""
    if len(source) == 4:
        pseudo = source + destination + struct.pack("!BBH", 0, protocol, len(body))
    else:
        pseudo = source + destination + struct.pack("!II", len(body), protocol)
    value = checksum(pseudo + body) or 0xFFFF
    return body[:at] + struct.pack("!H", value) + body[at + 2 :]


def udp(source: bytes, destination: bytes, ports: tuple[int, int], data: bytes) -> bytes:
    body = struct.pack("!HHHH", *ports, 8 + len(data), 0) + data
    return wrap(source, destination, UDP, _summed(source, destination, UDP, body, 6))


def tcp_reset(packet: Packet) -> bytes | None:
    """The RST that refuses a segment (RFC 9293, 3.5.2); None for a segment that is itself a reset."""
    flags, ports = packet.tcp_flags, packet.ports
    if ports is None or flags & RST or len(packet.raw) < packet.payload + 20:
        return None
    seq, ack = struct.unpack_from("!II", packet.raw, packet.payload + 4)
    if flags & ACK:
        answer = (ack, 0, RST)
    else:
        data = len(packet.raw) - packet.payload - (packet.raw[packet.payload + 12] >> 4) * 4
        answer = (0, (seq + data + bool(flags & SYN) + bool(flags & FIN)) & 0xFFFFFFFF, RST | ACK)
    return segment(packet.destination, packet.source, (ports[1], ports[0]), *answer)


def segment(
    source: bytes, destination: bytes, ports: tuple[int, int], seq: int, ack: int, flags: int, data: bytes = b""
) -> bytes:
    """A TCP segment without options; the window is 64 KiB."""
    body = struct.pack("!HHIIBBHHH", *ports, seq, ack, 5 << 4, flags, 65535, 0, 0) + data
    return wrap(source, destination, TCP, _summed(source, destination, TCP, body, 16))


def unreachable(packet: Packet) -> bytes | None:
    """ICMP port unreachable, as a firewall's REJECT sends it; None where RFC 1122 forbids one."""
    group = packet.destination[0] >= 224 if packet.version == 4 else packet.destination[0] == 0xFF
    if group or not packet.first_fragment:
        return None
    if packet.version == 4:
        if packet.protocol == ICMP and packet.raw[packet.payload : packet.payload + 1] != b"\x08":
            return None
        body = struct.pack("!BBHI", 3, 3, 0, 0) + packet.raw[: packet.payload + 8]
        body = body[:2] + struct.pack("!H", checksum(body)) + body[4:]
        return wrap(packet.destination, packet.source, ICMP, body)
    if packet.protocol == ICMP6 and packet.raw[packet.payload : packet.payload + 1] != b"\x80":
        return None
    body = struct.pack("!BBHI", 1, 4, 0, 0) + packet.raw[:1200]
    return wrap(packet.destination, packet.source, ICMP6, _summed(packet.destination, packet.source, ICMP6, body, 2))


def too_big(packet: Packet, mtu_bytes: int) -> bytes | None:
    """What path MTU discovery needs: ICMP fragmentation needed (RFC 1191), ICMPv6 packet too big (RFC 8201)."""
    if packet.version == 4:
        if packet.protocol == ICMP and packet.raw[packet.payload : packet.payload + 1] != b"\x08":
            return None
        body = struct.pack("!BBHHH", 3, 4, 0, 0, mtu_bytes) + packet.raw[: packet.payload + 8]
        body = body[:2] + struct.pack("!H", checksum(body)) + body[4:]
        return wrap(packet.destination, packet.source, ICMP, body)
    body = struct.pack("!BBHI", 2, 0, 0, max(mtu_bytes, 1280)) + packet.raw[:1200]
    return wrap(packet.destination, packet.source, ICMP6, _summed(packet.destination, packet.source, ICMP6, body, 2))


def fragments(packet: Packet, mtu_bytes: int) -> list[bytes]:
    """An IPv4 packet in pieces of at most mtu_bytes (RFC 791, 3.2); options are in the first piece only."""
    raw, found = packet.raw, []
    header = (raw[0] & 15) * 4
    flags = struct.unpack_from("!H", raw, 6)[0]
    offset, last = flags & 0x1FFF, not flags & 0x2000
    room = (mtu_bytes - header) // 8 * 8
    data = raw[header:]
    for at in range(0, len(data), room):
        piece = data[at : at + room]
        more = 0 if last and at + room >= len(data) else 0x2000
        head = raw[:2] + struct.pack("!H", header + len(piece)) + raw[4:6]
        head += struct.pack("!H", more | (offset + at // 8)) + raw[8:10] + b"\0\0" + raw[12:header]
        found.append(head[:10] + struct.pack("!H", checksum(head)) + head[12:] + piece)
    return found
