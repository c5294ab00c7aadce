"""What the sentinel itself replies: DNS over UDP and TCP, a false time, no QUIC version that anybody speaks."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable

from environments.network import dns, services
from environments.network.packets import Packet, udp

NTP_LIE_S = 3 * 365 * 86_400  # how far ahead the answered time is: a node that believes it shows at once
_NTP_EPOCH_S = 2_208_988_800  # from 1900 to 1970
_NOBODYS_VERSION = 0x1A2A3A4A  # of the form that RFC 9000, section 15, keeps for this
Stream = Callable[[bytes], tuple[bytes, int]]


def datagram(packet: Packet, message: bytes | None) -> bytes | None:
    """A UDP packet back to where one came from."""
    if message is None or packet.ports is None:
        return None
    return udp(packet.destination, packet.source, (packet.ports[1], packet.ports[0]), message)


def dns_stream(data: bytes, resolve: Callable[[dns.Question], bytes | None]) -> tuple[bytes, int]:
    """Answers to the whole questions at the start of a TCP stream, and how many bytes those were."""
    reply, used = b"", 0
    while found := dns.framed(data[used:]):
        asked, length = found
        used += length
        message = resolve(asked)
        if message is not None:
            reply += struct.pack("!H", len(message)) + message
    return reply, used


def stranger(packet: Packet) -> bytes | None:
    """What a datagram of NTP or QUIC gets where everything is answered; None for others."""
    data = packet.data
    if packet.ports and packet.ports[1] == 123:
        return datagram(packet, ntp(data))
    return datagram(packet, no_quic(data)) if services.is_quic_long(data) else None


def ntp(request: bytes) -> bytes | None:
    """A stratum 2 server's answer (RFC 5905) to a client's request, NTP_LIE_S ahead; None if it is none."""
    if len(request) < 48 or request[0] & 7 != 3:
        return None
    seconds, fraction = divmod(time.time() + NTP_LIE_S + _NTP_EPOCH_S, 1)
    now = struct.pack("!II", int(seconds) & 0xFFFFFFFF, int(fraction * 2**32))
    version = request[0] & 0x38
    head = struct.pack("!BBbbII4s", version | 4, 2, 6, -20, 0x100, 0x100, bytes([198, 18, 0, 1]))
    return head + now + request[40:48] + now + now


def no_quic(initial: bytes) -> bytes:
    """Version negotiation (RFC 9000, 17.2.1) that offers none of a client's versions.

    It gives up at once and falls back to TCP, where what it makes of a stranger's certificate can be seen."""
    length = initial[5]
    destination, rest = initial[6 : 6 + length], initial[6 + length :]
    source = rest[1 : 1 + rest[0]]
    head = b"\xca" + bytes(4) + bytes([len(source)]) + source + bytes([len(destination)]) + destination
    return head + struct.pack("!I", _NOBODYS_VERSION)
