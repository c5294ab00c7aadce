"""What a link does to packets beyond delay, rate and loss, as the sockets of its sites see it."""

from __future__ import annotations

import errno
import select
import socket
import time
from collections.abc import Callable

import pytest

from environments.link import Episode, LinkState
from environments.network import Network, SitePlan

Start = Callable[..., Network]
LINK = ("edge-1", "core")
_IP_MTU_DISCOVER, _IP_PMTUDISC_DO, _IP_PMTUDISC_DONT = 10, 2, 0


def udp_pair(network: Network, family: int = socket.AF_INET) -> tuple[socket.socket, socket.socket]:
    ends = []
    for name in LINK:
        site = network.site(name)
        end = site.socket(family, socket.SOCK_DGRAM)
        end.bind((site.address_v6 if family == socket.AF_INET6 else site.address, 0))
        end.settimeout(3)
        ends.append(end)
    return ends[0], ends[1]


def received(end: socket.socket, quiet_s: float = 0.3) -> list[bytes]:
    found = []
    while select.select([end], [], [], quiet_s)[0]:
        found.append(end.recv(65536))
    return found


def sent(end: socket.socket, size: int) -> list[int]:
    """Send a datagram; error numbers of the tries that the kernel refused: of an earlier ICMP error, or for good."""
    refused = []
    for _ in range(3):
        try:
            end.send(bytes(size))
            break
        except OSError as error:
            refused.append(error.errno or 0)
    return refused


def served(network: Network, port: int = 4000) -> tuple[socket.socket, socket.socket]:
    """A TCP connection from edge-1 to core: (client, server's end)."""
    listener = network.site("core").socket()
    listener.bind((network.address("core"), port))
    listener.listen()
    client = network.site("edge-1").connect(port, network.address("core"))
    connection, _ = listener.accept()
    listener.close()
    for end in (client, connection):
        end.settimeout(0.5)
    return client, connection


def test_packets_are_doubled_as_often_as_asked(start: Start) -> None:
    network = start({LINK: LinkState(duplicate=0.3)})
    here, there = udp_pair(network)
    for number in range(200):
        here.sendto(bytes([number]), there.getsockname())
    arrived = received(there)
    counters = network.links.counters(*LINK)
    assert 30 < counters.duplicated < 90
    assert len(arrived) == 200 + counters.duplicated == counters.delivered


def test_a_turned_bit_is_caught_by_the_checksum(start: Start) -> None:
    network = start({LINK: LinkState(corrupt=0.5)})
    here, there = udp_pair(network)
    for number in range(200):
        here.sendto(number.to_bytes(2, "big") + bytes(98), there.getsockname())
    arrived = received(there)
    counters = network.links.counters(*LINK)
    assert counters.delivered == 200
    assert 60 < counters.corrupted < 140
    # a bit of the port number sends it elsewhere; nothing that arrives is false
    assert len(arrived) <= 200 - counters.corrupted + 2
    assert all(data[2:] == bytes(98) for data in arrived)


def test_packets_overtake_where_that_was_asked(start: Start) -> None:
    network = start({LINK: LinkState(delay_s=0.1, reorder=0.2)})
    here, there = udp_pair(network)
    for number in range(100):
        here.sendto(bytes([number]), there.getsockname())
    order = [data[0] for data in received(there)]
    assert sorted(order) == list(range(100))
    assert order != sorted(order)
    early = network.links.counters(*LINK).reordered
    assert 5 < early < 50
    assert order[:early] == sorted(order[:early])  # they were sent within less than the delay, so they come first
    assert order[early:] == sorted(order[early:])


def test_a_large_packet_is_answered_with_its_path_mtu(start: Start) -> None:
    network = start({LINK: LinkState(mtu_bytes=1300)})
    here, there = udp_pair(network)
    here.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_DO)
    here.connect(there.getsockname())
    here.send(bytes(1400))
    assert received(there, 0.1) == []
    refused = sent(here, 1400)
    assert set(refused) == {errno.EMSGSIZE}
    sent(here, 1200)
    assert received(there) == [bytes(1200)]
    assert network.links.counters(*LINK).dropped["mtu"] == 1


def test_ipv6_learns_the_path_mtu_too(start: Start) -> None:
    network = start({LINK: LinkState(mtu_bytes=1300)})
    here, there = udp_pair(network, socket.AF_INET6)
    here.connect(there.getsockname()[:2])
    here.send(bytes(1400))
    deadline_s = time.monotonic() + 3
    while not received(there, 0.05) and time.monotonic() < deadline_s:  # once the kernel knows, it fragments itself
        sent(here, 1400)
    assert time.monotonic() < deadline_s
    assert network.links.counters(*LINK).dropped["mtu"] >= 1


def test_a_packet_that_may_be_fragmented_is(start: Start) -> None:
    network = start({LINK: LinkState(mtu_bytes=600)})
    here, there = udp_pair(network)
    here.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_DONT)
    data = bytes(range(256)) * 5
    here.sendto(data, there.getsockname())
    assert there.recv(65536) == data
    assert network.links.counters(*LINK).fragmented == 1


def test_a_black_hole_says_nothing(start: Start) -> None:
    network = start({LINK: LinkState(mtu_bytes=1300, mtu_blackhole=True)})
    here, there = udp_pair(network)
    here.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_DO)
    here.connect(there.getsockname())
    for _ in range(3):
        here.send(bytes(1400))
    assert received(there, 0.1) == []
    assert network.links.counters(*LINK).dropped["mtu"] == 3


def test_a_cut_is_silent_or_refuses(start: Start) -> None:
    network = start()
    network.links.cut(*LINK, reject=True)
    with pytest.raises(ConnectionRefusedError):
        network.site("edge-1").connect(4000, network.address("core"), timeout_s=3)
    here, there = udp_pair(network)
    here.connect(there.getsockname())
    here.send(b"ping")
    with pytest.raises(ConnectionRefusedError):
        here.recv(10)
    network.links.heal()
    network.links.cut(*LINK)
    with pytest.raises(TimeoutError):
        network.site("edge-1").connect(4000, network.address("core"), timeout_s=0.2)


def test_half_open_forgets_connections_that_were_open_and_takes_new_ones(start: Start) -> None:
    network = start()
    client, connection = served(network)
    client.sendall(b"before")
    assert connection.recv(10) == b"before"
    network.links.cut(*LINK, half_open=True)
    client.sendall(b"into the void")
    with pytest.raises(TimeoutError):
        connection.recv(20)
    newer, newer_end = served(network, 4001)
    newer.sendall(b"hello")
    assert newer_end.recv(10) == b"hello"
    newer_end.sendall(b"there")
    assert newer.recv(10) == b"there"
    assert network.links.counters(*LINK).dropped["half_open"] >= 1
    network.links.heal()
    connection.settimeout(10)  # TCP sends again, later each time
    assert connection.recv(20) == b"into the void"


def test_episodes_cut_and_restore_both_directions_together(start: Start) -> None:
    flap = Episode(every_s=(0.6, 0.6), windows_s=((0.3, 0.3),), change={"up": False}, name="flap")
    network = start({LINK: LinkState(episodes=(flap,))})
    deadline_s = time.monotonic() + 10
    rows = []
    while time.monotonic() < deadline_s and sum(row["reason"] == "flap ends" for row in rows) < 6:
        time.sleep(0.1)  # the poll interval of a named condition with a deadline
        rows = network.ask("timeline")["rows"]
    turns = [row for row in rows if row["reason"].startswith("flap")]
    assert {row["direction"] for row in turns} == {"edge-1>core", "core>edge-1"}
    one_way = [row for row in turns if row["direction"] == "edge-1>core"]
    assert [row["state"]["up"] for row in one_way[:6]] == [False, True] * 3
    network.links.cut(*LINK)
    network.ask("sync")
    assert not network.links.get(*LINK).up  # a cut holds, whatever the weather
    network.links.heal()
    assert network.links.get(*LINK).episodes == (flap,)


def test_an_interface_of_another_mtu_carries_large_packets(start: Start) -> None:
    plans = [SitePlan("core", 0, mtu_bytes=9000), SitePlan("edge-1", 1, mtu_bytes=9000)]
    network = start({LINK: LinkState()}, plans)
    here, there = udp_pair(network)
    here.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_DO)
    here.sendto(bytes(8900), there.getsockname())
    assert len(there.recv(65536)) == 8900


def test_tcp_is_pinned_as_asked_and_what_the_kernel_lacks_is_refused(start: Start) -> None:
    plans = [SitePlan("core", 0, congestion_control="reno"), SitePlan("edge-1", 1)]
    network = start({LINK: LinkState()}, plans)
    assert network.site("core").facts.congestion_control == "reno"
    assert network.site("core").facts.congestion_pinned
    with pytest.raises(Exception, match="no TCP congestion control 'carrier-pigeon'"):
        start({LINK: LinkState()}, [SitePlan("core", 0, congestion_control="carrier-pigeon"), SitePlan("edge-1", 1)])
