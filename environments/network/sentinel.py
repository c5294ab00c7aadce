"""The sentinel, where the internet would be: records every attempt to leave in the ledger and answers as told.

An attempt is: a TCP SYN, the first UDP datagram of a flow (again after REPEAT_S), a DNS question, any ICMP, any other
IP protocol. What the kernel sends of itself (neighbour and router discovery, MLD) is none. It is recorded when it is
seen, whatever the answer.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import struct
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from environments.network import addresses, dns
from environments.network.packets import (
    ACK,
    ICMP,
    ICMP6,
    KERNEL_ICMP6,
    SYN,
    TCP,
    UDP,
    Packet,
    parse,
    tcp_reset,
    udp,
    unreachable,
)

REPEAT_S = 1.0  # a flow that goes on is recorded again after this long, so that no phase of a run hides it
_MEMORY = 8192  # flows remembered at once
MODES = ("drop", "reject", "answer")
CANARY, ALLOWED = "canary", "allowed"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A row of the ledger; field for field the contract's EgressAttempt. t_s: seconds since the epoch."""

    t_s: float
    site: str
    protocol: str
    destination: str
    port: int | None
    name: str | None = None
    ip_version: int = 4
    phase: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of a packet: a reply to write back to the site, or forward it to the namespace that answers all."""

    reply: bytes | None = None
    forward: bool = False


class AllowList:
    """Destinations that a profile declares: CIDRs or addresses, and host names (with their subdomains)."""

    def __init__(self, entries: Iterable[str]) -> None:
        self._networks, self._names = [], []
        for entry in entries:
            try:
                self._networks.append(ipaddress.ip_network(entry, strict=False))
            except ValueError:
                self._names.append(entry.lower().rstrip("."))

    def covers(self, attempt: Attempt) -> bool:
        if attempt.name is not None:
            return any(attempt.name == name or attempt.name.endswith("." + name) for name in self._names)
        return any(ipaddress.ip_address(attempt.destination) in network for network in self._networks)


class Sentinel:
    """hosts: names that are answered and not recorded (the sites'), each with its v4 and v6 address."""

    def __init__(self, ledger: Path, *, allow: Iterable[str] = (), hosts: Mapping[str, tuple[bytes, bytes]]) -> None:
        self._file = ledger.open("a", buffering=1, encoding="utf-8")
        self._allow, self._hosts = AllowList(allow), hosts
        self._seen: dict[bytes, float] = {}
        self.answer_mode, self.phase, self.planting = "drop", "", ""
        self.recorded = 0

    def receive(self, site: str, raw: bytes) -> Outcome:
        """Take a packet that is addressed to no site."""
        packet = parse(raw)
        if packet is None:
            return Outcome()
        asked = self._question(packet)
        if asked is not None and asked.name in self._hosts:
            return Outcome(self._dns_reply(packet, asked, self._host_address(asked)))
        self.observe(site, packet, asked)
        return self._answer(packet, asked)

    def observe(self, site: str, packet: Packet, asked: dns.Question | None) -> None:
        """Record the packet if it is an attempt."""
        kind = classify(packet, asked)
        if kind is None or self._repeated(site, packet, asked):
            return
        ports = packet.ports
        name = asked.name if asked else None
        attempt = Attempt(
            time.time(),
            site,
            kind,
            packet.destination_text,
            ports[1] if ports else None,
            name,
            packet.version,
            self.phase,
        )
        if self.planting == site and is_canary(attempt):
            attempt = Attempt(**{**asdict(attempt), "phase": CANARY})
        elif self._allow.covers(attempt):
            attempt = Attempt(**{**asdict(attempt), "phase": ALLOWED})
        self._file.write(json.dumps(asdict(attempt)) + "\n")
        self.recorded += 1

    def _question(self, packet: Packet) -> dns.Question | None:
        ports = packet.ports
        if packet.protocol != UDP or ports is None or ports[1] != 53:
            return None
        return dns.question(packet.raw[packet.payload + 8 :])

    def _repeated(self, site: str, packet: Packet, asked: dns.Question | None) -> bool:
        """The same SYN sent again, a flow already recorded a moment ago, or a resolver's retry of one question."""
        at = packet.payload
        extent = {TCP: 8, UDP: 4}.get(packet.protocol)  # TCP: ports and sequence number; UDP: ports
        if extent is None:
            return False
        key = (
            site.encode() + packet.source + packet.destination + bytes([packet.protocol]) + packet.raw[at : at + extent]
        )
        if asked:
            key += struct.pack("!H", asked.identifier) + asked.raw
        now = time.monotonic()
        before = self._seen.get(key)
        if before is not None and (packet.protocol == TCP or asked or now - before < REPEAT_S):
            return True
        if len(self._seen) >= _MEMORY:
            self._seen.clear()
        self._seen[key] = now
        return False

    def _answer(self, packet: Packet, asked: dns.Question | None) -> Outcome:
        if self.answer_mode == "reject":
            if asked:
                return Outcome(self._dns_reply(packet, asked, None, dns.REFUSED))
            return Outcome(tcp_reset(packet) if packet.protocol == TCP else unreachable(packet))
        if self.answer_mode == "answer":
            if asked:
                return Outcome(self._dns_reply(packet, asked, dns.invented(asked)))
            return Outcome(forward=True)
        return Outcome()

    def _host_address(self, asked: dns.Question) -> bytes | None:
        v4, v6 = self._hosts[asked.name]
        return {dns.A: v4, dns.AAAA: v6}.get(asked.kind)

    def _dns_reply(self, packet: Packet, asked: dns.Question, address: bytes | None, code: int = dns.NOERROR) -> bytes:
        source, destination = packet.ports or (0, 0)
        return udp(packet.destination, packet.source, (destination, source), dns.answer(asked, address, code))


def classify(packet: Packet, asked: dns.Question | None) -> str | None:
    """Protocol column of the ledger; None if the packet is no attempt by itself."""
    if asked:
        return "dns"
    if not packet.first_fragment:
        return None
    if packet.protocol == TCP:
        return "tcp" if packet.tcp_flags & (SYN | ACK) == SYN else None
    if packet.protocol == UDP:
        return "udp"
    if packet.protocol == ICMP:
        return "icmp"
    if packet.protocol == ICMP6:
        kind = packet.raw[packet.payload] if len(packet.raw) > packet.payload else 0
        return None if kind in KERNEL_ICMP6 else "icmp6"
    return "other"


def is_canary(attempt: Attempt) -> bool:
    """Whether it bears the canaries' mark; it counts as one only while the suite plants at that site."""
    if attempt.name is not None:
        return attempt.name.endswith("." + addresses.CANARY_SUFFIX)
    return attempt.destination in (addresses.CANARY_V4, addresses.CANARY_V6)


def site_hosts(sites: Mapping[str, int]) -> dict[str, tuple[bytes, bytes]]:
    """Names of the sites, with packed addresses."""
    return {
        f"{name}.{addresses.HOST_SUFFIX}".lower(): (
            socket.inet_pton(socket.AF_INET, addresses.v4(index)),
            socket.inet_pton(socket.AF_INET6, addresses.v6(index)),
        )
        for name, index in sites.items()
    }
