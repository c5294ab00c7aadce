"""What a hop does besides queueing: refuse, forget connections, take packets up to a size only."""

from __future__ import annotations

from environments.network.links import Direction
from environments.network.packets import ACK, SYN, TCP, Packet, fragments, parse, tcp_reset, too_big, unreachable


def payload_at(packet: bytes) -> int:
    """Where what the IP header carries begins."""
    return 40 if packet[0] >= 0x60 else (packet[0] & 15) * 4


def admitted(direction: Direction, back: Direction | None, raw: bytes) -> tuple[bytes | None, list[bytes]]:
    """(answer to the sender, packets that go on): one packet as a rule, none if it is stopped, several if fragmented.

    What is stopped is counted; a link that is down and silent counts its own drops when it is offered the packet.
    """
    now = direction.now
    if not now.up:
        if not now.reject:
            return None, [raw]
        packet = parse(raw)
        _stop(direction, "down", raw)
        return (refusal(packet) if packet else None), []
    if now.half_open and _forgotten(direction, back, raw):
        _stop(direction, "half_open", raw)
        return None, []
    if now.mtu_bytes and len(raw) > now.mtu_bytes:
        return _oversized(direction, raw, now.mtu_bytes)
    return None, [raw]


def refusal(packet: Packet) -> bytes | None:
    """RST for a segment, ICMP unreachable for anything else."""
    return tcp_reset(packet) if packet.protocol == TCP else unreachable(packet)


def _stop(direction: Direction, cause: str, raw: bytes) -> None:
    counters = direction.counters
    counters.offered += 1
    counters.bytes_offered += len(raw)
    counters.dropped[cause] += 1


def _forgotten(direction: Direction, back: Direction | None, raw: bytes) -> bool:
    """Whether it is of a connection whose beginning was not seen since the middlebox lost its memory."""
    packet = parse(raw)
    if packet is None or packet.protocol != TCP or not packet.first_fragment:
        return False
    at = packet.payload
    ends = sorted(((packet.source, raw[at : at + 2]), (packet.destination, raw[at + 2 : at + 4])))
    flow = b"".join(part for end in ends for part in end)
    if packet.tcp_flags & (SYN | ACK) == SYN:
        for each in (direction, back):
            if each:
                each.flows.add(flow)
    return flow not in direction.flows


def _oversized(direction: Direction, raw: bytes, mtu_bytes: int) -> tuple[bytes | None, list[bytes]]:
    packet = parse(raw)
    may_fragment = packet is not None and packet.version == 4 and not raw[6] & 0x40
    if packet is None or direction.now.mtu_blackhole or not may_fragment:
        _stop(direction, "mtu", raw)
        silent = packet is None or direction.now.mtu_blackhole
        return (None if silent or packet is None else too_big(packet, mtu_bytes)), []
    direction.counters.fragmented += 1
    return None, fragments(packet, mtu_bytes)
