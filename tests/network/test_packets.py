"""Reading packets that may be anything, and writing refusals that a kernel accepts."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments import jsonlines
from environments.contract.deployment import EgressAttempt
from environments.network import dns, packets
from environments.network.ledger import Attempt, merge
from environments.network.sentinel import Sentinel, classify

V4 = (socket.inet_aton("10.77.2.1"), socket.inet_aton("198.51.100.9"))
V6 = (socket.inet_pton(socket.AF_INET6, "fd77::2"), socket.inet_pton(socket.AF_INET6, "2001:db8:1::9"))
PAIRS = pytest.mark.parametrize("pair", [V4, V6], ids=["v4", "v6"])


def tcp(pair: tuple[bytes, bytes], flags: int = packets.SYN, seq: int = 7, port: int = 443) -> bytes:
    body = struct.pack("!HHIIBBHHH", 40000, port, seq, 0, 5 << 4, flags, 1024, 0, 0)
    return packets.wrap(*pair, packets.TCP, body)


def question(pair: tuple[bytes, bytes], name: str, identifier: int = 1, kind: int = dns.A) -> bytes:
    return packets.udp(*pair, (40000, 53), dns.query(name, identifier, kind))


def transport_sum(raw: bytes) -> int:
    """Checksum over pseudo header and body: 0 if right."""
    packet = packets.parse(raw)
    assert packet
    body = raw[packet.payload :]
    if packet.version == 4:
        return packets.checksum(
            packet.source + packet.destination + struct.pack("!BBH", 0, packet.protocol, len(body)) + body
        )
    return packets.checksum(packet.source + packet.destination + struct.pack("!II", len(body), packet.protocol) + body)


@given(st.binary(max_size=200))
def test_anything_can_be_read(raw: bytes) -> None:
    for data in (raw, b"\x45" + raw, b"\x60" + raw, packets.wrap(*V6, 0, raw), packets.wrap(*V4, 17, raw)):
        packet = packets.parse(data)
        if packet:
            classify(packet, None)
            packets.tcp_reset(packet)
            packets.unreachable(packet)
    dns.question(raw)


@given(st.lists(st.binary(max_size=120), max_size=4))
def test_the_sentinel_survives_anything(tmp_path_factory: pytest.TempPathFactory, bodies: list[bytes]) -> None:
    sentinel = Sentinel(tmp_path_factory.mktemp("ledger") / "egress.jsonl", hosts={}, allow=["10.0.0.0/8"])
    for mode in ("drop", "reject", "answer"):
        sentinel.answer_mode = mode
        for body in bodies:
            for protocol in (0, 1, 6, 17, 44, 58, 253):
                sentinel.receive("edge-1", packets.wrap(*V4, protocol, body))
                sentinel.receive("edge-1", packets.wrap(*V6, protocol, body))


SEGMENTS = st.tuples(
    st.sampled_from([53, 80, 443, 853]),
    st.integers(0, 0xFF),  # flags
    st.integers(0, 40) | st.integers(0, 2**32 - 1),  # sequence number
    st.binary(max_size=40) | st.sampled_from([b"\x16\x03\x01", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\0\x0c"]),
)


@given(st.lists(SEGMENTS, max_size=12), st.sampled_from(["drop", "reject", "answer"]), st.booleans())
def test_the_sentinel_survives_any_conversation(
    tmp_path_factory: pytest.TempPathFactory, segments: list[tuple[int, int, int, bytes]], mode: str, canary: bool
) -> None:
    """And each of its replies is a packet that fits one it was sent."""
    path = tmp_path_factory.mktemp("ledger") / "egress.jsonl"
    sentinel = Sentinel(path, hosts={})
    sentinel.answer_mode, sentinel.planting = mode, "edge-1"
    target = socket.inet_aton("203.0.113.77") if canary else V4[1]
    for port, flags, seq, data in segments:
        raw = packets.segment(V4[0], target, (40000, port), seq, 0, flags, data)
        reply = sentinel.receive("edge-1", raw).reply
        if reply:
            read = packets.parse(reply)
            assert read
            assert (read.source, read.destination, read.ports) == (target, V4[0], (port, 40000))
            assert transport_sum(reply) == 0
    assert all(row.protocol == "tcp" for row in rows(path))


@PAIRS
def test_what_is_an_attempt(pair: tuple[bytes, bytes]) -> None:
    def kind(raw: bytes) -> str | None:
        packet = packets.parse(raw)
        assert packet
        return classify(packet, None)

    assert kind(tcp(pair)) == "tcp"
    assert kind(tcp(pair, packets.SYN | packets.ACK)) is None
    assert kind(tcp(pair, packets.ACK)) is None
    assert kind(packets.udp(*pair, (40000, 123), b"x")) == "udp"
    assert kind(packets.wrap(*pair, 253, b"x")) == "other"
    assert kind(packets.wrap(*V4, packets.ICMP, b"\x08\0")) == "icmp"
    assert kind(packets.wrap(*V6, packets.ICMP6, b"\x80\0")) == "icmp6"
    for own in packets.KERNEL_ICMP6:
        assert kind(packets.wrap(*V6, packets.ICMP6, bytes([own, 0]))) is None
    hop_by_hop = bytes([packets.ICMP6, 0, 5, 2, 0, 0, 1, 0])  # router alert, as the kernel puts before MLD
    assert kind(packets.wrap(*V6, 0, hop_by_hop + b"\x8f\0")) is None
    assert kind(packets.wrap(*V6, 0, bytes([packets.TCP]) + hop_by_hop[1:] + tcp(V6)[40:])) == "tcp"


@PAIRS
def test_a_reset_fits_the_syn(pair: tuple[bytes, bytes]) -> None:
    packet = packets.parse(tcp(pair, seq=0xFFFFFFFF))
    assert packet
    answer = packets.tcp_reset(packet)
    assert answer
    assert transport_sum(answer) == 0
    read = packets.parse(answer)
    assert read
    assert (read.source, read.destination, read.ports) == (pair[1], pair[0], (443, 40000))
    assert read.tcp_flags == packets.RST | packets.ACK
    assert struct.unpack_from("!II", answer, read.payload + 4) == (0, 0)
    assert packets.tcp_reset(read) is None


@PAIRS
def test_an_unreachable_is_valid_and_never_answers_one(pair: tuple[bytes, bytes]) -> None:
    packet = packets.parse(packets.udp(*pair, (40000, 123), b"hello"))
    assert packet
    answer = packets.unreachable(packet)
    assert answer
    read = packets.parse(answer)
    assert read
    assert (packets.checksum(answer[read.payload :]) if read.version == 4 else transport_sum(answer)) == 0
    assert packets.unreachable(read) is None


def test_dns_question_and_answer() -> None:
    asked = dns.question(dns.query("Updates.Example.ORG", 77, dns.AAAA))
    assert asked
    assert (asked.name, asked.kind, asked.identifier) == ("updates.example.org", dns.AAAA, 77)
    address = dns.Inventions().address(asked)
    assert address
    assert socket.inet_ntop(socket.AF_INET6, address).startswith("2001:db8:a:")
    message = dns.answer(asked, address)
    assert struct.unpack_from("!HHHH", message) == (77, 0x8180, 1, 1)
    assert message.endswith(address)
    assert dns.question(message) is None  # an answer asks nothing


def rows(path: Path) -> list[EgressAttempt]:
    found = merge(jsonlines.read(path))
    return [EgressAttempt(**{key: row[key] for key in row.keys() - {"source", "during", "quic"}}) for row in found]


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "egress.jsonl"


def test_a_row_is_the_contracts() -> None:
    assert Attempt.__dataclass_fields__.keys() == EgressAttempt.__dataclass_fields__.keys()


def test_a_retry_is_one_attempt_and_a_new_one_another(ledger: Path) -> None:
    sentinel = Sentinel(ledger, hosts={})
    for raw in (tcp(V4), tcp(V4), tcp(V4, seq=8), tcp(V6), question(V4, "a.example"), question(V4, "a.example")):
        sentinel.receive("edge-1", raw)
    sentinel.receive("edge-1", question(V4, "b.example"))
    sentinel.receive("core", tcp(V4))
    assert [(r.site, r.protocol, r.name, r.ip_version) for r in rows(ledger)] == [
        ("edge-1", "tcp", None, 4),
        ("edge-1", "tcp", None, 4),
        ("edge-1", "tcp", None, 6),
        ("edge-1", "dns", "a.example", 4),
        ("edge-1", "dns", "b.example", 4),
        ("core", "tcp", None, 4),
    ]


def test_canaries_are_marked_only_while_they_are_planted(ledger: Path) -> None:
    sentinel = Sentinel(ledger, hosts={})
    canary = (V4[0], socket.inet_aton("203.0.113.77"))
    sentinel.receive("edge-1", tcp(canary, seq=1))
    sentinel.planting = "edge-1"
    sentinel.receive("edge-1", tcp(canary, seq=2))
    sentinel.receive("edge-1", tcp(V4, seq=3))
    sentinel.receive("core", tcp(canary, seq=4))
    assert [r.phase for r in rows(ledger)] == ["", "canary", "", ""]


def test_allowed_destinations_are_recorded_as_such(ledger: Path) -> None:
    sentinel = Sentinel(ledger, hosts={}, allow=["198.51.100.0/24", "example.org"])
    sentinel.phase = "install"
    names = ("example.org", "a.example.org", "badexample.org")
    for raw in (tcp(V4), tcp(V6), *(question(V4, name) for name in names)):
        sentinel.receive("edge-1", raw)
    assert [r.phase for r in rows(ledger)] == ["allowed", "install", "allowed", "allowed", "install"]


def test_names_of_sites_are_answered_and_are_no_attempts(ledger: Path) -> None:
    sentinel = Sentinel(ledger, hosts={"core.conform.test": (V4[0], V6[0])})
    reply = sentinel.receive("edge-1", question(V4, "core.conform.test")).reply
    assert reply
    assert reply.endswith(V4[0])
    assert transport_sum(reply) == 0
    assert rows(ledger) == []
