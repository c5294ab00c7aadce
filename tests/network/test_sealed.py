"""What ordinary programs try from inside a sealed site, and how the ledger has it: name, service, port and process."""

from __future__ import annotations

import json
import shutil
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from environments import jsonlines
from environments.contract.deployment import EgressAttempt
from environments.network import Network, dns, quic, words
from suites.waiting import wait_until

Start = Callable[..., Network]
FAR = {4: "198.51.100.7", 6: "2001:db8:9::7"}
VERSIONS = pytest.mark.parametrize("version", FAR)
ANSWERS = pytest.mark.parametrize("answer", ["drop", "reject", "answer"])
# How long a client waits: until it is answered; or, where nobody answers, long enough to be found on a busy machine.
PATIENCE_S = {"drop": 1.5, "reject": 10, "answer": 10}
NTP = b"\x23" + bytes(47)
# Sends one datagram and waits for what comes: address, port, datagram (hexadecimal), seconds.
DATAGRAM = """
import socket, sys
address, port, data = sys.argv[1], int(sys.argv[2]), bytes.fromhex(sys.argv[3])
probe = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
probe.settimeout(float(sys.argv[4]))
probe.connect((address, port))
probe.send(data)
try:
    print(probe.recv(2000).hex(), flush=True)
except OSError as error:
    print(type(error).__name__, flush=True)
"""
# Connects, says something (hexadecimal), and waits for what comes.
STREAM = DATAGRAM.replace("SOCK_DGRAM", "SOCK_STREAM").replace("probe.connect", "try:\n    probe.connect", 1)
STREAM = STREAM.replace("probe.send(data)\ntry:\n", "    probe.sendall(data)\n")
HTTPS = """
import ssl, sys, urllib.request
context = ssl.create_default_context(cafile=sys.argv[2] if len(sys.argv) > 2 else None)
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=5, context=context).read().decode(), flush=True)
except OSError as error:
    print(error, flush=True)
"""


def run(network: Network, argv: Sequence[str | Path]) -> tuple[int, str]:
    """Run a program in the sealed site to its end; its pid, and what it printed."""
    site = network.site("edge-1")
    log = network.workdir / f"said-{len(list(network.workdir.iterdir()))}"
    pid = site.spawn(argv, log_path=log)
    site.wait(pid, 60)
    return pid, log.read_text().strip()


def python(code: str, *arguments: object) -> list[str]:
    return [sys.executable, "-S", "-c", code, *map(str, arguments)]


def of(network: Network, pid: int) -> list[EgressAttempt]:
    return [row for row in network.egress.attempts("edge-1") if row.pid == pid]


def framed(message: bytes) -> bytes:
    return struct.pack("!H", len(message)) + message


# Python twins of dig, ntpdate and a QUIC client: these need nothing that a machine may lack


@ANSWERS
@VERSIONS
def test_a_question_over_udp(start: Start, version: int, answer: str) -> None:
    network = start(answer=answer)
    question = dns.query("updates.example.org", 7)
    pid, said = run(network, python(DATAGRAM, FAR[version], 53, question.hex(), PATIENCE_S[answer]))
    [row] = of(network, pid)
    assert (row.protocol, row.service, row.name) == ("dns", "dns", "updates.example.org")
    assert (row.destination, row.port, row.ip_version) == (FAR[version], 53, version)
    assert row.command
    assert row.command.startswith(sys.executable)
    code = {"drop": None, "reject": dns.REFUSED, "answer": dns.NOERROR}[answer]
    assert said == "TimeoutError" if code is None else bytes.fromhex(said)[3] & 15 == code


@ANSWERS
@VERSIONS
def test_a_question_over_tcp(start: Start, version: int, answer: str) -> None:
    network = start(answer=answer)
    question = framed(dns.query("updates.example.org", 7))
    pid, said = run(network, python(STREAM, FAR[version], 53, question.hex(), PATIENCE_S[answer]))
    [row] = of(network, pid)
    assert (row.protocol, row.service, row.destination, row.port) == ("tcp", "dns", FAR[version], 53)
    if answer == "drop":  # nobody answers the connection, so the question is never put
        assert (row.name, said) == (None, "TimeoutError")
    else:
        assert row.name == "updates.example.org"
        reply = bytes.fromhex(said)
        assert int.from_bytes(reply[:2], "big") == len(reply) - 2
        assert reply[5] & 15 == (dns.REFUSED if answer == "reject" else dns.NOERROR)


def test_each_question_of_a_connection_is_an_attempt(start: Start) -> None:
    network = start(answer="reject")
    questions = b"".join(framed(dns.query(f"{name}.example", 1)) for name in "abc")
    pid, _ = run(network, python(STREAM, FAR[4], 53, questions.hex(), 10))
    assert [row.name for row in of(network, pid)] == ["a.example", "b.example", "c.example"]


def test_the_sites_names_resolve_over_tcp_too_and_are_no_attempt(start: Start) -> None:
    from environments.network import addresses

    network = start()
    site = bytes(map(int, network.address("core").split(".")))
    for answer in ("drop", "reject"):
        network.egress.mode(answer)
        question = framed(dns.query("core.conform.test", 7)).hex()
        _, said = run(network, python(STREAM, addresses.RESOLVER_V4, 53, question, 10))
        assert bytes.fromhex(said).endswith(site)
    assert network.egress.ledger("edge-1") == []
    other = framed(dns.query("updates.example.org", 7)).hex()
    pid, _ = run(network, python(STREAM, addresses.RESOLVER_V4, 53, other, 10))
    assert [(row.name, row.port) for row in of(network, pid)] == [("updates.example.org", 53)]


@ANSWERS
@VERSIONS
def test_a_question_of_the_time(start: Start, version: int, answer: str) -> None:
    network = start(answer=answer)
    pid, said = run(network, python(DATAGRAM, FAR[version], 123, NTP.hex(), PATIENCE_S[answer]))
    [row] = of(network, pid)
    assert (row.protocol, row.service, row.destination, row.port) == ("udp", "ntp", FAR[version], 123)
    if answer == "answer":
        assert bytes.fromhex(said)[0] & 7 == 4  # a server's
    else:
        assert said == {"drop": "TimeoutError", "reject": "ConnectionRefusedError"}[answer]


@ANSWERS
@VERSIONS
def test_quic(start: Start, version: int, answer: str) -> None:
    network = start(answer=answer)
    initial = quic.initial(words.client_hello("updates.example.org", (b"h3",)), version=quic.V2)
    pid, said = run(network, python(DATAGRAM, FAR[version], 443, initial.hex(), PATIENCE_S[answer]))
    [row] = of(network, pid)
    assert (row.protocol, row.service, row.name) == ("udp", "quic", "updates.example.org")
    assert (row.destination, row.port) == (FAR[version], 443)
    if answer == "answer":
        assert bytes.fromhex(said)[1:5] == bytes(4)  # a version negotiation
    else:
        assert said == {"drop": "TimeoutError", "reject": "ConnectionRefusedError"}[answer]


@ANSWERS
def test_https_by_name(start: Start, answer: str) -> None:
    network = start(answer=answer)
    if network.site("edge-1").facts.resolver:
        pytest.skip(network.site("edge-1").facts.resolver)
    pid, said = run(network, [sys.executable, "-c", HTTPS, "https://updates.example.org/licence"])
    rows = of(network, pid)
    assert {row.name for row in rows} == {"updates.example.org"}
    assert {row.service for row in rows} == {"dns", "https"} if answer == "answer" else {"dns"}
    assert not any(row.trusted for row in rows)
    if answer == "answer":
        assert "unable to get local issuer" in said or "self-signed" in said  # the name fits: only the trust is wrong


def test_a_client_that_trusts_the_stranger_is_found_with_what_it_said(start: Start) -> None:
    network = start(answer="answer")
    if network.site("edge-1").facts.resolver:
        pytest.skip(network.site("edge-1").facts.resolver)
    authority = network.workdir / "stranger.pem"
    assert wait_until(authority.exists, 10) <= 10
    pid, said = run(network, [sys.executable, "-c", HTTPS, "https://updates.example.org/licence", str(authority)])
    assert json.loads(said) == {"status": "ok"}

    def trusting() -> list[EgressAttempt]:
        return [row for row in of(network, pid) if row.trusted]

    assert wait_until(lambda: bool(trusting()), 10) <= 10
    [row] = trusting()
    assert (row.service, row.name, row.port) == ("https", "updates.example.org", 443)
    assert row.said
    assert row.said.startswith("GET /licence HTTP/1.1")


def test_an_address_keeps_the_name_it_was_answered_with(start: Start) -> None:
    """In any later mode: also where no first word is ever said."""
    network = start(answer="answer")
    site = network.site("edge-1")
    question = dns.query("updates.example.org", 7)
    _, said = run(network, python(DATAGRAM, FAR[4], 53, question.hex(), 10))
    address = socket.inet_ntoa(bytes.fromhex(said)[-4:])
    network.egress.mode("reject")
    with pytest.raises(ConnectionRefusedError):
        site.connect(5432, address)
    row = network.egress.attempts("edge-1")[-1]
    assert (row.destination, row.port, row.name, row.service) == (address, 5432, "updates.example.org", "postgresql")


def test_what_the_profile_allows_is_listed_and_does_not_count(start: Start) -> None:
    network = start(answer="answer", allow=["vendor.example", "203.0.113.0/24"])
    hello = {name: words.record(words.client_hello(name)).hex() for name in ("a.vendor.example", "other.example")}
    for address, name in (
        ("198.51.100.1", "a.vendor.example"),  # allowed by its SNI
        ("203.0.113.5", "other.example"),  # allowed by its address
        ("198.51.100.2", "other.example"),
    ):
        run(network, python(STREAM, address, 443, hello[name], 10))
    quics = [quic.initial(words.client_hello(name)).hex() for name in ("vendor.example", "other.example")]
    for datagram in quics:
        run(network, python(DATAGRAM, "198.51.100.3", 443, datagram, 10))
    phases = [(row.destination, row.name, row.phase) for row in network.egress.ledger("edge-1")]
    assert phases == [
        ("198.51.100.1", "a.vendor.example", "allowed"),
        ("203.0.113.5", "other.example", "allowed"),
        ("198.51.100.2", "other.example", ""),
        ("198.51.100.3", "vendor.example", "allowed"),
        ("198.51.100.3", "other.example", ""),
    ]
    counted = network.egress.attempts("edge-1")
    assert [(row.destination, row.protocol) for row in counted] == [("198.51.100.2", "tcp"), ("198.51.100.3", "udp")]


def test_a_listed_name_lends_its_address_to_no_other(start: Start) -> None:
    """Domain fronting: the name that was asked for is allowed, and another is said to its address."""
    network = start(answer="answer", allow=["vendor.example"])
    question = dns.query("vendor.example", 7)
    _, said = run(network, python(DATAGRAM, FAR[4], 53, question.hex(), 10))
    address = socket.inet_ntoa(bytes.fromhex(said)[-4:])
    for name in ("vendor.example", "other.example"):
        run(network, python(STREAM, address, 443, words.record(words.client_hello(name)).hex(), 10))
    datagram = quic.initial(words.client_hello("other.example"))
    run(network, python(DATAGRAM, address, 443, datagram.hex(), 10))
    run(network, python(STREAM, address, 22, "", 0.1))  # says nothing: the name it was answered with is all there is
    assert [(row.protocol, row.name, row.phase) for row in network.egress.ledger("edge-1")] == [
        ("dns", "vendor.example", "allowed"),
        ("tcp", "vendor.example", "allowed"),
        ("tcp", "other.example", ""),
        ("udp", "other.example", ""),
        ("tcp", "vendor.example", "allowed"),
    ]


def test_other_datagrams_are_refused_where_all_is_answered(start: Start) -> None:
    network = start(answer="answer")
    for version, address in FAR.items():
        pid, said = run(network, python(DATAGRAM, address, 3478, b"x".hex(), 10))
        assert said == "ConnectionRefusedError"
        assert [(row.service, row.ip_version) for row in of(network, pid)] == [("stun", version)]


def test_talk_to_neighbours_is_listed_as_a_warning(start: Start) -> None:
    network = start()
    pid, _ = run(
        network, python(DATAGRAM, "224.0.0.251", 5353, dns.query("printer.local", 0).hex(), PATIENCE_S["drop"])
    )
    run(network, python(DATAGRAM, "239.255.255.250", 1900, b"M-SEARCH * HTTP/1.1\r\n\r\n".hex(), PATIENCE_S["drop"]))
    assert network.egress.attempts("edge-1") == []
    rows = network.egress.ledger("edge-1")
    assert [(row.service, row.warning, row.name) for row in rows] == [
        ("mdns", True, "printer.local"),
        ("ssdp", True, None),
    ]
    assert rows[0].pid == pid


def test_an_answer_that_comes_too_late_is_no_attempt(start: Start) -> None:
    """The kernel says that nobody waits any more, by ICMP: about our answer, so not of itself."""
    network = start(answer="answer")
    with network.site("edge-1").socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.sendto(NTP, (FAR[4], 123))
    assert wait_until(lambda: len(network.egress.ledger("edge-1")) > 0, 10) <= 10
    run(network, python(DATAGRAM, FAR[4], 123, NTP.hex(), 1))
    assert {row.protocol for row in network.egress.ledger("edge-1")} == {"udp"}


def test_a_row_is_there_at_once_and_grows(start: Start) -> None:
    network = start()
    run(network, python(DATAGRAM, FAR[4], 514, b"<14>x".hex(), PATIENCE_S["drop"]))
    network.egress.sync()
    lines = jsonlines.read(network.egress.path)
    assert [line["flow"] for line in lines] == [1, 1]
    assert "pid" not in lines[0]
    assert lines[1].keys() == {"flow", "pid", "command"}
    [shown] = network.ask("ledger", site="edge-1")["rows"]
    assert (shown["service"], shown["port"], shown["pid"]) == ("syslog", 514, lines[1]["pid"])


def test_one_that_ends_at_once_leaves_its_row_all_the_same(start: Start) -> None:
    network = start()
    code = "import socket,os; socket.socket(2,2).sendto(b'x',('198.51.100.7',9)); os._exit(0)"
    for _ in range(5):
        run(network, python(code))
    rows = network.egress.attempts("edge-1")
    assert [(row.protocol, row.port) for row in rows] == [("udp", 9)] * 5
    for row in rows:
        assert row.pid is None or row.command is not None


# the real programs


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed on this machine; its Python twin above runs without it")
    return found


@pytest.mark.parametrize("url", ["http://198.51.100.7/", "http://[2001:db8:9::7]/", "https://198.51.100.7/"])
@ANSWERS
def test_curl_by_address(start: Start, url: str, answer: str) -> None:
    network = start(answer=answer)
    curl = program("curl")
    pid, said = run(network, [curl, "-sS", "-m", str(PATIENCE_S[answer]), url])
    [row] = of(network, pid)
    assert row.command
    assert row.command.startswith(f"{curl} -sS")
    assert (row.port, row.service) == ((443, "https") if url.startswith("https") else (80, "http"))
    assert row.destination == url.partition("://")[2].strip("/[]")
    if answer == "answer":
        assert "certificate" in said if url.startswith("https") else json.loads(said) == {"status": "ok"}


def test_curl_by_name(start: Start) -> None:
    network = start(answer="answer")
    if network.site("edge-1").facts.resolver:
        pytest.skip(network.site("edge-1").facts.resolver)
    curl = program("curl")
    strict, said = run(network, [curl, "-sS", "-m", "10", "https://updates.example.org/"])
    assert "certificate" in said
    rows = of(network, strict)
    assert {row.service for row in rows} == {"dns", "https"}
    assert {row.name for row in rows} == {"updates.example.org"}
    careless, said = run(network, [curl, "-sSk", "-m", "10", "https://updates.example.org/licence?key=secret"])
    assert json.loads(said) == {"status": "ok"}
    assert wait_until(lambda: any(row.trusted for row in of(network, careless)), 10) <= 10
    [found] = [row for row in of(network, careless) if row.trusted]
    assert found.said
    assert found.said.startswith("GET /licence?key=secret HTTP/1.1")
    assert not any(row.trusted for row in of(network, strict))


@pytest.mark.parametrize("flag", ["+notcp", "+tcp"])
@ANSWERS
def test_dig(start: Start, flag: str, answer: str) -> None:
    network = start(answer=answer)
    dig = program("dig")
    pid, said = run(network, [dig, "+time=2", "+tries=1", flag, "@198.51.100.7", "updates.example.org"])
    rows = of(network, pid)
    assert {(row.destination, row.port, row.service) for row in rows} == {("198.51.100.7", 53, "dns")}
    assert {row.name for row in rows} == ({None} if (flag, answer) == ("+tcp", "drop") else {"updates.example.org"})
    if answer != "drop":
        assert ("status: REFUSED" in said) == (answer == "reject")
