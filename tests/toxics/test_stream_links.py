"""Links as TCP streams: what a state does to connections, what is refused, and that calibration can go red."""

from __future__ import annotations

import json
import queue
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments.contract import LinkState, SuiteError, TransportError, Untestable
from environments.contract.http import SocketSession
from environments.network.client import RouterRefused, command
from environments.network.toxics import calibration
from environments.network.toxics.client import Toxiproxy
from environments.network.toxics.kinds import attributes
from environments.network.toxics.links import StreamLinks, as_stream, toxics_of
from environments.network.toxics.running import ToxicsServer
from environments.network.toxics.streamnet import StreamNetwork

pytestmark = pytest.mark.timeout(120)
DEADLINE_S, QUIET_S = 20.0, 0.4
PAIR = ("edge", "core")


@pytest.fixture
def links(toxiproxy: Toxiproxy, tmp_path: Path) -> StreamLinks:
    return StreamLinks(toxiproxy, {PAIR: LinkState(delay_s=0.02)}, tmp_path / "links.jsonl")


class Peer:
    """A client of an echo through a link, opened when it is made."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), DEADLINE_S)

    def says(self, data: bytes) -> bytes:
        self.socket.sendall(data)
        return self.hears(len(data))

    def hears(self, count: int, within_s: float = DEADLINE_S) -> bytes:
        """b"" when the connection has ended; TimeoutError when nothing comes."""
        self.socket.settimeout(within_s)
        got = b""
        while len(got) < count and (more := self.socket.recv(count - len(got))):
            got += more
        return got

    def silent(self) -> bool:
        try:
            return self.hears(1, QUIET_S) is None
        except TimeoutError:
            return True

    def ended(self) -> bool:
        try:
            return self.hears(1) == b""
        except ConnectionResetError:
            return True


@pytest.fixture
def echo_port(links: StreamLinks, echoing: Any) -> int:
    return links.open_way("edge", "core", "echo", echoing.address)


def test_the_profiles_state_holds_from_the_first_connection(links: StreamLinks, echo_port: int) -> None:
    peer = Peer(echo_port)
    started_s = time.monotonic()
    assert peer.says(b"x") == b"x"
    assert time.monotonic() - started_s >= 0.04
    assert links.names() == ["edge--core"]
    assert links.get(*PAIR) == links.get(*PAIR[::-1]) == LinkState(delay_s=0.02)


def test_a_cut_is_silent_for_old_and_new_connections_and_a_heal_closes_what_lost_data(
    links: StreamLinks, echo_port: int
) -> None:
    before = Peer(echo_port)
    assert before.says(b"x") == b"x"
    links.cut(*PAIR)
    during = Peer(echo_port)
    for each in (before, during):
        each.socket.sendall(b"lost")
        assert each.silent()
    links.heal()
    assert before.ended() and during.ended()
    assert Peer(echo_port).says(b"y") == b"y"
    assert links.get(*PAIR).up


@pytest.mark.parametrize(("a", "b", "arrives"), [("edge", "core", False), ("core", "edge", True)])
def test_one_direction_is_cut(links: StreamLinks, serving: Any, a: str, b: str, arrives: bool) -> None:
    arrived = threading.Event()

    def answer(client: socket.socket) -> None:
        while data := client.recv(100):
            arrived.set()
            client.sendall(data)

    port = links.open_way("edge", "core", "answering", serving(answer).address)
    links.cut(a, b, both=False)
    peer = Peer(port)
    peer.socket.sendall(b"x")
    assert peer.silent()
    assert arrived.wait(DEADLINE_S if arrives else 0) == arrives
    assert links.get(b, a).up


def test_a_service_that_dies_during_a_cut_is_not_told_of(links: StreamLinks, echo_port: int, echoing: Any) -> None:
    peer = Peer(echo_port)
    assert peer.says(b"x") == b"x"
    links.cut(*PAIR)
    for each in echoing.connections:
        each.shutdown(socket.SHUT_RDWR)
    assert peer.silent()


def test_ways_in_the_other_direction_follow_the_same_link(links: StreamLinks, echoing: Any) -> None:
    """core reaches edge: there the direction edge>core is what comes back."""
    port = links.open_way("core", "edge", "echo", echoing.address)
    links.set("edge", "core", LinkState(delay_s=0.3), both=False)
    started_s = time.monotonic()
    assert Peer(port).says(b"x") == b"x"
    assert time.monotonic() - started_s >= 0.3
    assert links.get("core", "edge") == LinkState(delay_s=0.02)


@pytest.mark.skipif("reject" not in {each.name for each in fields(LinkState)}, reason="LinkState has no `reject` yet")
def test_a_rejecting_cut_refuses(links: StreamLinks, echo_port: int) -> None:
    peer = Peer(echo_port)
    links.set(*PAIR, LinkState(up=False, reject=True))  # type: ignore[call-arg]
    assert peer.ended()
    with pytest.raises(ConnectionRefusedError):
        Peer(echo_port)
    links.heal()
    assert Peer(echo_port).says(b"y") == b"y"


def test_counters_are_of_bytes_each_way(builtin_server: ToxicsServer, serving: Any, tmp_path: Path) -> None:
    def answer(client: socket.socket) -> None:
        while client.recv(100):
            client.sendall(b"12345")

    links = StreamLinks(builtin_server.client, {PAIR: LinkState()}, tmp_path / "links.jsonl")
    peer = Peer(links.open_way("edge", "core", "counted", serving(answer).address))
    try:
        peer.socket.sendall(b"abc")
        assert peer.hears(5) == b"12345"
        assert links.counters("edge", "core").bytes_delivered == 3
        assert links.counters("core", "edge").bytes_offered == 5
    finally:
        builtin_server.client.delete("edge>core counted")


def test_changes_are_in_the_timeline_with_their_reasons(links: StreamLinks, tmp_path: Path) -> None:
    links.cut(*PAIR)
    links.heal("edge", "core")
    rows = [json.loads(line) for line in (tmp_path / "links.jsonl").read_text().splitlines()]
    assert [row["reason"] for row in rows] == ["start", "start", "cut", "cut", "heal", "heal"]
    assert {row["direction"] for row in rows} == {"edge>core", "core>edge"}
    assert [row["state"]["up"] for row in rows] == [True, True, False, False, True, True]


def test_what_only_packets_do_is_untestable_and_changes_nothing(links: StreamLinks) -> None:
    for state, named in (
        (LinkState(loss=0.1), "loss=0.1"),
        (LinkState(delay_s=0.1, rate_bps=1200, queue_s=60), "rate_bps=1200"),
    ):
        with pytest.raises(Untestable, match=rf"packet-links: links are TCP streams here, which cannot do {named}"):
            links.set(*PAIR, state)
    assert links.get(*PAIR) == LinkState(delay_s=0.02)
    with pytest.raises(KeyError, match="no link edge--moon; links: edge--core"):
        links.cut("edge", "moon")


def test_what_a_profile_asks_and_streams_cannot_do_is_told(toxiproxy: Toxiproxy, tmp_path: Path) -> None:
    states = {PAIR: LinkState(delay_s=0.1, loss=0.02, burst=3), PAIR[::-1]: LinkState(delay_s=0.2)}
    links = StreamLinks(toxiproxy, states, tmp_path / "links.jsonl")
    assert links.lacking() == {"edge>core": "loss=0.02, burst=3"}
    assert links.get(*PAIR) == LinkState(delay_s=0.1)


@given(
    st.builds(
        LinkState,
        up=st.booleans(),
        delay_s=st.floats(0, 600),
        jitter_s=st.floats(0, 600),
        loss=st.floats(0, 0.9),
        rate_bps=st.none() | st.floats(10, 1e10),
        queue_s=st.floats(1500, 3600),
    )
)
def test_any_state_becomes_one_that_toxics_can_do_and_says_what_is_lost(state: LinkState) -> None:
    possible, lost = as_stream(state)
    for toxic in toxics_of(possible).values():
        attributes(toxic)  # would raise
    assert any(each.startswith("loss=") for each in lost) == (state.loss > 0)
    assert possible.loss == 0
    assert abs(possible.delay_s - state.delay_s) <= 0.0005001
    assert as_stream(possible) == (possible, []), "what is possible loses nothing more"


# -- calibration


def test_calibration_measures_delay_and_rate_of_each_direction(toxiproxy: Toxiproxy, tmp_path: Path) -> None:
    states = {
        PAIR: LinkState(delay_s=0.05, jitter_s=0.01, rate_bps=1e6),
        PAIR[::-1]: LinkState(delay_s=0.1, rate_bps=4e6),
    }
    rows = calibration.calibrate(StreamLinks(toxiproxy, states, tmp_path / "links.jsonl"))
    assert [(row.link, row.measure) for row in rows] == [
        ("edge>core", "delay_s"),
        ("edge>core", "rate_bps"),
        ("core>edge", "delay_s"),
        ("core>edge", "rate_bps"),
        ("edge--core", "rtt_s"),
    ]
    assert all(row.samples >= 3 and row.measured > 0 for row in rows)
    assert toxiproxy.proxies() == {}, "what measured is gone"


class Lying(Toxiproxy):
    """A server that does not do what it was told."""

    def add(self, proxy: str, toxic: Any, **options: Any) -> Any:
        made = super().add(proxy, toxic, **options)
        if toxic.kind in ("latency", "bandwidth"):
            super().remove_toxic(proxy, made.name)
        return made


def test_a_link_that_is_not_what_was_asked_is_red(toxiproxy: Toxiproxy, tmp_path: Path) -> None:
    lying = Lying(port=int(toxiproxy.url.rpartition(":")[2]))
    state = LinkState(delay_s=0.5, rate_bps=80_000)
    rows = calibration.calibrate(StreamLinks(lying, {PAIR: state}, tmp_path / "links.jsonl"))
    assert {row.measure for row in rows} == {"delay_s", "rate_bps", "rtt_s"}
    assert not any(row.ok for row in rows)


# -- the network of a deployment


@pytest.fixture
def network(tmp_path: Path) -> Iterator[StreamNetwork]:
    made = StreamNetwork("test-toxics", {PAIR: LinkState(delay_s=0.1)}, 1, tmp_path, None)
    yield made
    made.stop()


def test_a_site_reaches_the_services_of_another_by_its_link_and_its_own_without(
    network: StreamNetwork, serving: Any
) -> None:
    def http(client: socket.socket) -> None:
        client.recv(65536)
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        client.close()

    host, _, port = serving(http).address.partition(":")
    network.expose("core", "web", host, int(port))
    url = f"http://{host}:{port}"
    sessions = {
        site: SocketSession(lambda family, kind, site=site: network.socket(site, family, kind))  # type: ignore[misc]
        for site in PAIR
    }
    assert sessions["edge"].request("GET", url).elapsed_s >= 0.2
    assert network.url_from("core", url + "/x") == url + "/x"
    assert network.url_from("edge", url + "/x") != url + "/x"
    network.links.cut(*PAIR)
    assert sessions["core"].request("GET", url).status == 200
    with pytest.raises(TransportError) as caught:
        sessions["edge"].request("GET", url, timeout_s=QUIET_S)
    assert caught.value.kind == "timeout"


def test_a_server_that_died_is_the_suites_error(network: StreamNetwork, echoing: Any) -> None:
    host, _, port = echoing.address.partition(":")
    network.expose("core", "echo", host, int(port))
    told: queue.Queue[str] = queue.Queue()
    network.watch(told.put)
    network.server.process.kill()
    assert "the toxics server ended (exit code -9)" in told.get(timeout=DEADLINE_S)
    assert not network.router_alive()
    with pytest.raises(SuiteError, match="the toxics server failed, so what ran on its links proves nothing"):
        network.links.cut(*PAIR)


def test_a_server_that_is_stopped_is_not_lost(network: StreamNetwork) -> None:
    told: queue.Queue[str] = queue.Queue()
    network.watch(told.put)
    network.stop()
    network.stop()
    assert not network.router_alive()
    assert told.empty()


def test_other_shells_show_and_change_its_links_as_a_routers(network: StreamNetwork, tmp_path: Path) -> None:
    assert [each["link"] for each in command(tmp_path, {"command": "show"})["links"]] == ["edge--core", "edge--core"]
    command(tmp_path, {"command": "cut", "a": "edge", "b": "core", "both": False, "reason": "cut by hand"})
    assert not network.links.get("edge", "core").up and network.links.get("core", "edge").up
    command(tmp_path, {"command": "set", "a": "core", "b": "edge", "both": False, "state": {"delay_s": 0.2}})
    assert network.links.get("core", "edge").delay_s == 0.2
    assert set(command(tmp_path, {"command": "counters"})["counters"]) == {"edge>core", "core>edge"}
    command(tmp_path, {"command": "heal"})
    assert all(each["as_asked"] for each in command(tmp_path, {"command": "show"})["links"])
    assert "cut by hand" in (tmp_path / "links.jsonl").read_text()


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"command": "capture"}, "'capture' needs packets; links are TCP streams here, with show, set"),
        ({"command": "set", "a": "edge", "b": "core", "state": {"loss": 0.5}}, "cannot do loss=0.5"),
        ({"command": "set", "a": "edge", "b": "core", "state": {"fog": 1}}, "unknown field 'fog'; known: up"),
        ({"command": "cut", "a": "edge", "b": "moon"}, "no link edge--moon; links: edge--core"),
    ],
)
def test_what_streams_cannot_do_is_refused_there_too(
    network: StreamNetwork, tmp_path: Path, request_: dict[str, Any], says: str
) -> None:
    with pytest.raises(RouterRefused, match=says):
        command(tmp_path, request_)
    assert all(each["as_asked"] for each in command(tmp_path, {"command": "show"})["links"])
