"""What an observer reads of first words and datagrams: right on known vectors, and never an error on any bytes."""

from __future__ import annotations

import socket
import ssl
import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments.network import answers, dns, packets, quic, services, words
from environments.network.conversation import Conversation

# The ClientHello of RFC 9001, A.2 (and RFC 9369, A.2), for example.com, with its handshake header.
RFC_HELLO = bytes.fromhex(
    "010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e86804fe3a47f06a2b69484c00000413011302010000c00000001000"
    "0e00000b6578616d706c652e636f6dff01000100000a00080006001d0017001800100007000504616c706e0005000501000000000033"
    "00260024001d00209370b2c9caa47fbabaf4559fedba753de171fa71f50f1ce15d43e994ec74d748002b0003020304000d0010000e04"
    "03050306030203080408050806002d00020101001c00024001003900320408ffffffffffffffff05048000ffff07048000ffff080110"
    "0104800075300901100f088394c8f03e51570806048000ffff"
)
RFC_DESTINATION = bytes.fromhex("8394c8f03e515708")
# How the protected packets of those appendices begin and end; between them is what follows from the same key.
RFC_PACKETS = {
    quic.V1: (
        "c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11",
        "7e78bfe706ca4cf5e9c5453e9f7cfd2b8b4c8d169a44e55c88d4a9a7f9474241e221af44860018ab0856972e194cd934",
    ),
    quic.V2: (
        "d76b3343cf088394c8f03e5157080000449ea0c95e82ffe67b6abcdb4298b485",
        "9a37ddec600545473cfb5a05e08d0b209973b2172b4d21fb69745a262ccde96ba18b2faa745b6fe189cf772a9f84cbfc",
    ),
}
PORTS = st.sampled_from([53, 80, 443, 853, 8080])
V4 = (socket.inet_aton("10.77.2.1"), socket.inet_aton("198.51.100.9"))


def openssl_hello(name: str | None, protocols: list[str] | None = None) -> bytes:
    """The first flight of a real client, as bytes on the wire."""
    context = ssl.create_default_context()
    if protocols:
        context.set_alpn_protocols(protocols)
    context.check_hostname = name is not None
    out = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return out.read()


# first words of TCP


def test_a_real_client_is_understood_by_name_and_purpose() -> None:
    assert words.read(openssl_hello("Updates.Example.org"), 443) == words.Words("https", "updates.example.org")
    assert words.read(openssl_hello("x.example", ["http/1.1"]), 9000) == words.Words("https", "x.example")
    assert words.read(openssl_hello("x.example"), 9000) == words.Words("", "x.example")
    assert words.read(openssl_hello("dns.google"), 443) == words.Words("doh", "dns.google")
    assert words.read(openssl_hello("abc.dns.nextdns.io"), 443) == words.Words("doh", "abc.dns.nextdns.io")
    assert words.read(openssl_hello("dns.google"), 853) == words.Words("dot", "dns.google")
    assert words.read(openssl_hello("resolver.example", ["dot"]), 443) == words.Words("dot", "resolver.example")
    assert words.read(openssl_hello(None), 443) == words.Words("https", None)


@pytest.mark.parametrize(
    ("said", "service", "name"),
    [
        (b"GET / HTTP/1.1\r\nAccept: */*\r\nHost: Vendor.example:8080\r\n\r\n", "http", "vendor.example"),
        (b"GET / HTTP/1.0\r\n\r\n", "http", None),
        (b"GET / HTTP/1.1\nhost:vendor.example\n\n", "http", "vendor.example"),
        (b"POST /dns-query HTTP/1.1\r\nHost: 198.51.100.7\r\n\r\n", "doh", "198.51.100.7"),
        (b"CONNECT vendor.example:443 HTTP/1.1\r\nHost: proxy\r\n\r\n", "proxy", "vendor.example"),
        (b"GET http://vendor.example/a HTTP/1.1\r\nHost: other.example\r\n\r\n", "proxy", "vendor.example"),
        (b"GET / HTTP/1.1\r\nHost: [2001:db8::7]:80\r\n\r\n", "http", "2001:db8::7"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "http", None),
        (b"SSH-2.0-client\r\n", "ssh", None),
        (b"\x00\x01binary", "", None),
    ],
)
def test_requests_are_understood(said: bytes, service: str, name: str | None) -> None:
    assert words.read(said, 8080) == words.Words(service, name)


def test_a_question_over_tcp_is_understood_once_it_is_whole() -> None:
    message = dns.query("a.example", 7)
    framed = struct.pack("!H", len(message)) + message
    assert words.read(framed, 53) == words.Words("dns", "a.example")
    assert {words.read(framed[:length], 53) for length in range(len(framed))} == {None}


@given(st.data())
def test_words_split_anywhere_say_the_same(data: st.DataObject) -> None:
    """Nothing is concluded from a beginning that the whole would contradict."""
    said, port = data.draw(
        st.sampled_from(
            [
                (words.record(RFC_HELLO), 443),
                (words.record(RFC_HELLO[:100]) + words.record(RFC_HELLO[100:]), 443),  # one message in two records
                (b"GET / HTTP/1.1\r\nHost: vendor.example\r\n\r\n", 80),
            ]
        )
    )
    whole = words.read(said, port)
    assert whole
    assert whole.name in ("example.com", "vendor.example")
    assert words.read(said[: data.draw(st.integers(0, len(said) - 1))], port) in (None, whole)


@given(st.binary(max_size=300), PORTS)
def test_any_bytes_are_read_without_an_error(data: bytes, port: int) -> None:
    for said in (data, b"\x16\x03\x01" + data, words.record(b"\x01" + data), b"GET " + data, b"CONNECT " + data):
        heard = words.read(said, port)
        if heard and heard.name:
            assert heard.name.isprintable()


@given(st.integers(0, len(RFC_HELLO) - 1), st.integers(0, 255))
def test_a_damaged_client_hello_is_no_error(at: int, value: int) -> None:
    words.read(words.record(RFC_HELLO[:at] + bytes([value]) + RFC_HELLO[at + 1 :]), 443)


def test_the_canaries_hello_is_a_whole_one() -> None:
    assert words.hello(words.client_hello("x.example", (b"h3",))) == words.Hello("x.example", (b"h3",))


# QUIC


@pytest.mark.parametrize("version", RFC_PACKETS)
def test_quic_is_as_the_rfc_has_it(version: int) -> None:
    packet = quic.initial(RFC_HELLO, version=version, destination=RFC_DESTINATION, number=2)
    begins, ends = RFC_PACKETS[version]
    assert packet.hex().startswith(begins)
    assert packet.hex().endswith(ends)
    assert services.is_quic_initial(packet)
    assert services.of_udp(443, packet) == services.of_udp(4433, packet) == "quic"
    assert quic.server_name([packet]) == "example.com"


def test_a_hello_in_two_datagrams_is_put_together_in_any_order() -> None:
    first = quic.initial(RFC_HELLO[:90])
    second = quic.initial(RFC_HELLO[90:], offset=90, number=1)
    assert quic.server_name([second, first]) == quic.server_name([first, second]) == "example.com"
    assert quic.server_name([first]) is quic.server_name([second]) is None


@given(st.lists(st.binary(max_size=100), max_size=3), st.integers(0, 1199), st.integers(0, 255))
def test_any_datagram_is_read_without_an_error(bodies: list[bytes], at: int, value: int) -> None:
    packet = quic.initial(RFC_HELLO, destination=RFC_DESTINATION)
    damaged = packet[:at] + bytes([value]) + packet[at + 1 :]
    assert quic.server_name([damaged]) in (None, "example.com")
    for body in bodies:
        for head in (b"", b"\xc3", b"\xc3\0\0\0\1", b"\xd3\x6b\x33\x43\xcf", packet[:20]):
            quic.server_name([head + body])
            services.of_udp(443, head + body)
            if services.is_quic_long(head + body):
                answers.no_quic(head + body)


def test_a_version_that_nobody_speaks_is_offered() -> None:
    packet = quic.initial(RFC_HELLO, destination=RFC_DESTINATION)
    assert answers.no_quic(packet) == bytes.fromhex("ca000000000008" + RFC_DESTINATION.hex() + "1a2a3a4a")


# datagrams of others


def test_datagrams_are_named_by_what_they_are_and_then_by_port() -> None:
    assert services.of_udp(40000, struct.pack("!HHI12s", 1, 0, 0x2112A442, b"")) == "stun"
    assert services.of_udp(40000, b"\x16\xfe\xfd" + bytes(20)) == "dtls"
    assert [services.of_udp(port, b"x") for port in (53, 123, 443, 514, 3478, 5353, 5355, 1900, 9)] == [
        *("dns", "ntp", "quic", "syslog", "stun", "mdns", "llmnr", "ssdp", "")
    ]
    assert services.of_tcp(443, "8.8.8.8") == "doh"
    assert services.of_tcp(443, "198.51.100.1") == "https"


def test_only_talk_to_neighbours_is_a_warning() -> None:
    assert services.is_warning("mdns", "224.0.0.251")
    assert services.is_warning("mdns", "ff02::fb")
    assert services.is_warning("dhcp", "255.255.255.255")
    assert not services.is_warning("mdns", "8.8.8.8")  # a tunnel may use that port
    assert not services.is_warning("ntp", "224.0.1.1")


def test_the_time_that_is_answered_is_false_and_well_formed() -> None:
    request = b"\x23" + bytes(39) + b"12345678"
    reply = answers.ntp(request)
    assert reply
    assert (len(reply), reply[0], reply[24:32]) == (48, 0x24, b"12345678")
    ahead_s = (struct.unpack_from("!I", reply, 40)[0] - 2_208_988_800 - time.time()) % 2**32
    assert ahead_s == pytest.approx(answers.NTP_LIE_S, abs=60)
    assert answers.ntp(b"\x24" + bytes(47)) is None  # an answer is not answered


# invented addresses


@given(st.lists(st.text("abcdefgh", min_size=1, max_size=3), unique=True, max_size=40))
def test_every_name_has_addresses_of_its_own_that_lead_back(labels: list[str]) -> None:
    names = dns.Inventions()
    for kind in (dns.A, dns.AAAA):
        asked = [dns.question(dns.query(label + ".example", 1, kind)) for label in labels]
        given_ = [names.address(each) for each in asked if each]
        assert len(set(given_)) == len(labels)
        assert [names.name_of(each or b"") for each in given_] == [label + ".example" for label in labels]
    assert names.name_of(socket.inet_aton("198.51.100.1")) is None


def test_names_beyond_the_memory_push_out_the_oldest() -> None:
    names = dns.Inventions(limit=2)
    made = []
    for label in "abc":
        asked = dns.question(dns.query(label + ".example", 1))
        assert asked
        made.append(names.address(asked))
    assert [names.name_of(each or b"") for each in made] == [None, "b.example", "c.example"]


# the other end of a connection


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.booleans())
def test_a_conversation_answers_each_question_once(cuts: list[int], repeat: bool) -> None:
    """However the stream is cut into segments, and if each is sent twice."""
    stream = b"".join(struct.pack("!H", len(q)) + q for q in (dns.query("a.example", 1), dns.query("b.example", 2)))
    asked: list[str] = []

    def resolve(question: dns.Question) -> bytes:
        asked.append(question.name)
        return dns.answer(question)

    def segment(seq: int, flags: int, data: bytes = b"") -> packets.Packet:
        packet = packets.parse(packets.segment(*V4, (40000, 53), seq & 0xFFFFFFFF, 0, flags, data))
        assert packet
        return packet

    first = 0xFFFFFFF0  # sequence numbers wrap soon
    talk = Conversation(segment(first, packets.SYN), lambda data: answers.dns_stream(data, resolve))
    assert talk.take(segment(first, packets.SYN))
    at, replies = 0, b""
    for size in [*cuts, len(stream)]:
        piece = stream[at : at + size]
        for _ in range(1 + repeat) if piece else ():
            reply = packets.parse(talk.take(segment(first + 1 + at, packets.ACK, piece)) or b"")
            assert reply
            replies += reply.data
        at += len(piece)
    assert asked == ["a.example", "b.example"]
    assert replies.count(b"\x01a\x07example") == replies.count(b"\x01b\x07example") == 1
    last = packets.parse(talk.take(segment(first + 1 + at, packets.FIN | packets.ACK)) or b"")
    assert last
    assert last.tcp_flags == packets.FIN | packets.ACK
