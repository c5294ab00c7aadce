"""The sentinel, where the internet would be: records every attempt to leave in the ledger and answers as told.

An attempt is: a TCP SYN, the first UDP datagram of a flow (again after REPEAT_S), a DNS question, an ICMP message that
complains of nothing the site was sent, any other IP protocol. What the kernel sends of itself (neighbour and router
discovery, MLD) is none. It is recorded when it is seen, whatever the answer; what its first words tell is added.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from environments.network import addresses, answers, dns, services, words
from environments.network.conversation import Conversation
from environments.network.ledger import ALLOWED, CANARY, AllowList, Attempt, Ledger
from environments.network.owners import Owners
from environments.network.packets import (
    ACK,
    ICMP,
    ICMP6,
    KERNEL_ICMP6,
    SYN,
    TCP,
    UDP,
    Packet,
    complained_of,
    parse,
    tcp_reset,
    unreachable,
)

REPEAT_S = 1.0  # a flow that goes on is recorded again after this long, so that no phase of a run hides it
_MEMORY = 8192  # flows remembered at once
_QUIC_DATAGRAMS = 4  # of a flow, kept: a ClientHello with post-quantum keys takes two
_QUESTIONS = {53: "dns", 5353: "udp", 5355: "udp"}  # ports whose datagrams are DNS, and their protocol in the ledger
_RESOLVER = socket.inet_aton(addresses.RESOLVER_V4)
Key = TypeVar("Key")
Value = TypeVar("Value")
MODES = ("drop", "reject", "answer")
__all__ = ["CANARY", "MODES", "Outcome", "Sentinel", "classify", "is_canary", "site_hosts"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of a packet: a reply to write back to the site, or forward it to the namespace that answers all.

    flow: number of the attempt that the packet began, 0 if it began none."""

    reply: bytes | None = None
    forward: bool = False
    flow: int = 0


@dataclass(slots=True)
class Talk:
    """A TCP flow whose first words are still to come, or not yet understood. None: not recorded before it speaks."""

    attempt: Attempt | None
    start: int  # sequence number of its first byte
    data: bytearray


class Sentinel:
    """hosts: names that are answered and not recorded (the sites'), each with its v4 and v6 address."""

    def __init__(
        self,
        ledger: Path,
        *,
        allow: Iterable[str] = (),
        hosts: Mapping[str, tuple[bytes, bytes]],
        owners: Owners | None = None,
    ) -> None:
        self._allow, self._hosts, self.owners = AllowList(allow), hosts, owners or Owners()
        self.ledger = Ledger(ledger, self._allow)
        self._seen: dict[bytes, tuple[float, int]] = {}  # when, and as which flow
        self._quic: dict[int, int] = {}  # datagrams kept of a flow
        self._talks: dict[bytes, Talk] = {}
        self._conversations: dict[bytes, Conversation] = {}
        self._names = dns.Inventions()
        self.answer_mode, self.phase, self.planting = "drop", "", ""
        self.recorded = 0

    def receive(self, site: str, raw: bytes) -> Outcome:
        """Take a packet that is addressed to no site."""
        packet = parse(raw)
        if packet is None:
            return Outcome()
        asked = self._question(packet)
        if asked is not None and asked.name in self._hosts:
            return Outcome(answers.datagram(packet, self._resolve(asked)))
        before = self.ledger.flows
        self.observe(site, packet, asked)
        outcome = self._answer(site, packet, asked)
        began = self.ledger.flows != before and (outcome.forward or outcome.reply)
        return replace(outcome, flow=self.ledger.flows) if began else outcome

    # what is seen

    def observe(self, site: str, packet: Packet, asked: dns.Question | None) -> None:
        """Record the packet if it is an attempt; add what it tells of one that is recorded."""
        kind = classify(packet, asked)
        if kind is not None:
            self._attempted(site, packet, asked, kind)
        if packet.protocol == TCP:
            self._listen(site, packet)

    def _attempted(self, site: str, packet: Packet, asked: dns.Question | None, kind: str) -> None:
        key = _moment(site, packet, asked)
        before = self._seen.get(key) if key else None
        now = time.monotonic()
        if before and (packet.protocol == TCP or kind == "dns" or now - before[0] < REPEAT_S):
            self._keep_quic(before[1], packet)
            return
        if self._answers_our_own(site, packet):
            return
        attempt = self._row(site, packet, asked.name if asked else None, kind)
        asks_us = packet.protocol == TCP and packet.destination == _RESOLVER and attempt.port == 53
        recorded = None if asks_us else self._record(attempt, packet)  # it may ask for a site: its question decides
        if packet.protocol == TCP:
            start = (packet.tcp_sequence + 1) & 0xFFFFFFFF
            _remember(self._talks, _flow(site, packet), Talk(recorded, start, bytearray()))
        flow = recorded.flow if recorded else 0
        if key:
            _remember(self._seen, key, (now, flow))
        self._keep_quic(flow, packet)

    def _row(self, site: str, packet: Packet, name: str | None, kind: str) -> Attempt:
        source_port, port = packet.ports or (None, None)
        destination = packet.destination_text
        service = ""
        if packet.protocol == UDP:
            service = services.of_udp(port or 0, packet.data)
        elif packet.protocol == TCP:
            service = services.of_tcp(port or 0, destination)
        elif kind in ("icmp", "icmp6"):
            service = "ping" if packet.raw[packet.payload : packet.payload + 1] in (b"\x08", b"\x80") else kind
        return Attempt(
            time.time(),
            site,
            kind,
            destination,
            port,
            name or self._names.name_of(packet.destination),
            packet.version,
            self.phase,
            service,
            services.is_warning(service, destination),
            source_port=source_port,
        )

    def _record(self, attempt: Attempt, packet: Packet) -> Attempt:
        """Write the row, and ask who is behind it; the attempt, numbered, of the run's phase."""
        attempt = replace(attempt, flow=self.ledger.flows + 1)
        marked = replace(attempt, phase=self._phase_of(attempt, attempt.phase))
        during = {"during": attempt.phase} if marked.phase == ALLOWED else {}
        self.ledger.write(marked, source=packet.source_text, **during)
        self.recorded += 1
        self.owners.ask(attempt.flow, attempt.site, packet)
        return attempt

    def _phase_of(self, attempt: Attempt, phase: str) -> str:
        if self.planting == attempt.site and is_canary(attempt):
            return CANARY
        question = attempt.service == "dns" and attempt.name is not None
        return ALLOWED if self._allow.covers(attempt.name, attempt.destination, question=question) else phase

    def _listen(self, site: str, packet: Packet) -> None:
        """Gather the first bytes of a flow until they say what it wants."""
        data = packet.data
        talk = self._talks.get(_flow(site, packet)) if data else None
        if talk is None:
            return
        at = (packet.tcp_sequence - talk.start + bool(packet.tcp_flags & SYN)) & 0xFFFFFFFF
        if at > len(talk.data):  # a gap: its sender will send it again
            return
        talk.data[at : at + len(data)] = data
        while talk.data:
            heard = words.read(bytes(talk.data), (packet.ports or (0, 0))[1])
            if heard is None and len(talk.data) < words.LIMIT:
                return
            self._understood(site, packet, talk.attempt, heard or words.Words())
            if heard is None or heard.service != "dns":
                del self._talks[_flow(site, packet)]
                return
            used = 2 + int.from_bytes(talk.data[:2], "big")  # more questions may follow: each is an attempt
            del talk.data[:used]
            talk.attempt, talk.start = None, (talk.start + used) & 0xFFFFFFFF

    def _understood(self, site: str, packet: Packet, attempt: Attempt | None, heard: words.Words) -> None:
        if attempt is None:
            if heard.name not in self._hosts:
                self._record(self._row(site, packet, heard.name, "tcp"), packet)
            return
        told = replace(attempt, name=heard.name or attempt.name, service=heard.service or attempt.service)
        if told != attempt:
            self.ledger.learn(
                attempt.flow, name=told.name, service=told.service, phase=self._phase_of(told, told.phase)
            )

    def _question(self, packet: Packet) -> dns.Question | None:
        ports = packet.ports
        if packet.protocol != UDP or ports is None or ports[1] not in _QUESTIONS:
            return None
        return dns.question(packet.data)

    def _keep_quic(self, flow: int, packet: Packet) -> None:
        """The first datagrams of QUIC; the name in them is deciphered by readers, who may take their time."""
        if packet.protocol != UDP or not services.is_quic_initial(packet.data):
            return
        kept = self._quic.get(flow, 0)
        if kept < _QUIC_DATAGRAMS:
            _remember(self._quic, flow, kept + 1)
            self.ledger.learn_datagram(flow, packet.data)

    def _answers_our_own(self, site: str, packet: Packet) -> bool:
        """Whether it is an ICMP error of the kernel about our answer to a flow that is in the ledger."""
        quoted = complained_of(packet)
        if quoted is None or quoted.source != packet.destination or quoted.protocol != UDP:
            return False
        at = quoted.payload
        ports = quoted.raw[at + 2 : at + 4] + quoted.raw[at : at + 2]
        return site.encode() + quoted.destination + quoted.source + bytes([UDP]) + ports in self._seen

    # what is answered

    def _answer(self, site: str, packet: Packet, asked: dns.Question | None) -> Outcome:
        if packet.protocol == TCP and (conversation := self._conversation(site, packet)):
            return Outcome(conversation.take(packet))
        if asked and packet.ports and packet.ports[1] == 53:
            return Outcome(answers.datagram(packet, self._resolve(asked)))
        if self.answer_mode == "reject":
            return Outcome(tcp_reset(packet) if packet.protocol == TCP else unreachable(packet))
        if self.answer_mode == "answer":
            reply = answers.stranger(packet) if packet.protocol == UDP else None
            return Outcome(reply) if reply else Outcome(forward=True)
        return Outcome()

    def _conversation(self, site: str, packet: Packet) -> Conversation | None:
        """Ours, with a client of DNS over TCP, or with a canary, which is to say its words in every mode."""
        key = _flow(site, packet)
        if classify(packet, None) == "tcp":
            self._conversations.pop(key, None)
            if self._speaks(site, packet):
                _remember(self._conversations, key, Conversation(packet, self._dns_stream(packet)))
        return self._conversations.get(key)

    def _speaks(self, site: str, packet: Packet) -> bool:
        if packet.ports and packet.ports[1] == 53 and (self.answer_mode != "drop" or packet.destination == _RESOLVER):
            return True
        return self.planting == site and packet.destination_text in (addresses.CANARY_V4, addresses.CANARY_V6)

    def _dns_stream(self, packet: Packet) -> answers.Stream:
        if packet.ports is None or packet.ports[1] != 53:
            return lambda data: (b"", len(data))
        return lambda data: answers.dns_stream(data, self._resolve)

    def _resolve(self, asked: dns.Question) -> bytes | None:
        """The answer to a question, as this mode gives it; None for silence."""
        if asked.name in self._hosts:
            v4, v6 = self._hosts[asked.name]
            return dns.answer(asked, {dns.A: v4, dns.AAAA: v6}.get(asked.kind))
        if self.answer_mode == "answer":
            return dns.answer(asked, self._names.address(asked))
        return dns.answer(asked, None, dns.REFUSED) if self.answer_mode == "reject" else None


def _remember(memory: dict[Key, Value], key: Key, value: Value) -> None:
    """Keep it; the oldest gives way."""
    if len(memory) >= _MEMORY and key not in memory:
        del memory[next(iter(memory))]
    memory[key] = value


def _flow(site: str, packet: Packet) -> bytes:
    at = packet.payload
    return site.encode() + packet.source + packet.destination + packet.raw[at : at + 4]


def _moment(site: str, packet: Packet, asked: dns.Question | None) -> bytes | None:
    """What is the same in a SYN sent again, in datagrams of one flow, in a resolver's retry; None: each counts."""
    at = packet.payload
    extent = {TCP: 8, UDP: 4}.get(packet.protocol)  # TCP: ports and sequence number; UDP: ports
    if extent is None:
        return None
    key = site.encode() + packet.source + packet.destination + bytes([packet.protocol]) + packet.raw[at : at + extent]
    return key + struct.pack("!H", asked.identifier) + asked.raw if asked else key


def classify(packet: Packet, asked: dns.Question | None) -> str | None:
    """Protocol column of the ledger; None if the packet is no attempt by itself."""
    if asked:
        return _QUESTIONS.get((packet.ports or (0, 53))[1], "dns")
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
    if attempt.destination in (addresses.CANARY_V4, addresses.CANARY_V6):
        return True
    return attempt.name is not None and attempt.name.endswith("." + addresses.CANARY_SUFFIX)


def site_hosts(sites: Mapping[str, int]) -> dict[str, tuple[bytes, bytes]]:
    """Names of the sites, with packed addresses."""
    return {
        f"{name}.{addresses.HOST_SUFFIX}".lower(): (
            socket.inet_pton(socket.AF_INET, addresses.v4(index)),
            socket.inet_pton(socket.AF_INET6, addresses.v6(index)),
        )
        for name, index in sites.items()
    }
