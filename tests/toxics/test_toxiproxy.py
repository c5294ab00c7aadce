"""One module, run against our server and the real one: what a client of either may count on."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from environments.network.toxics.client import ProxyState, Toxiproxy, ToxiproxyError
from environments.network.toxics.kinds import (
    Bandwidth,
    Latency,
    LimitData,
    ResetPeer,
    Slicer,
    SlowClose,
    Timeout,
    Toxic,
)

pytestmark = pytest.mark.timeout(120)
DEADLINE_S = 20.0  # for what must happen; a busy machine is slow
QUIET_S = 0.4  # how long to look for what must not happen


@contextlib.contextmanager
def connected(proxy: ProxyState) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", proxy.port), DEADLINE_S) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield client


def exchange(client: socket.socket, data: bytes) -> bytes:
    """Send, and receive as much (an echo)."""
    client.sendall(data)
    return received(client, len(data))


def received(client: socket.socket, count: int) -> bytes:
    """Up to count bytes: fewer if the stream ends."""
    got = b""
    while len(got) < count and (more := client.recv(count - len(got))):
        got += more
    return got


def ended(client: socket.socket) -> bytes:
    """What comes until the stream ends, by FIN or RST."""
    got = b""
    with contextlib.suppress(ConnectionResetError):
        while data := client.recv(65536):
            got += data
    return got


def silent(client: socket.socket) -> bool:
    client.settimeout(QUIET_S)
    try:
        return client.recv(1) is None
    except TimeoutError:
        return True
    finally:
        client.settimeout(DEADLINE_S)


# -- the API


def test_a_proxy_is_made_shown_changed_and_deleted(toxiproxy: Toxiproxy, echoing: Any, serving: Any) -> None:
    made = toxiproxy.create("one", echoing.address)
    assert (made.name, made.upstream, made.enabled, made.toxics) == ("one", echoing.address, True, {})
    assert toxiproxy.get("one") == made
    assert toxiproxy.proxies() == {"one": made}
    with connected(made) as client:
        assert exchange(client, b"hello") == b"hello"
    other = serving(lambda client: client.sendall(b"other") or client.close())
    changed = toxiproxy.update("one", upstream=other.address)
    assert (changed.upstream, changed.listen) == (other.address, made.listen)
    with connected(changed) as client:
        assert ended(client) == b"other"
    toxiproxy.delete("one")
    assert toxiproxy.proxies() == {}


def test_toxics_are_added_listed_changed_and_removed(toxiproxy: Toxiproxy, echoing: Any) -> None:
    toxiproxy.create("one", echoing.address)
    added = toxiproxy.add("one", Latency(delay_s=0.02, jitter_s=0.005))
    assert (added.name, added.stream, added.toxicity) == ("latency_downstream", "downstream", 1.0)
    assert added.toxic == Latency(delay_s=0.02, jitter_s=0.005)
    second = toxiproxy.add("one", Slicer(average_bytes=10, delay_s=5e-6), stream="upstream", toxicity=0.5, name="cut")
    assert toxiproxy.toxics("one") == {"latency_downstream": added, "cut": second}
    assert toxiproxy.get("one").toxics == toxiproxy.toxics("one")
    changed = toxiproxy.update_toxic("one", "cut", toxicity=0.25)
    assert (changed.toxicity, changed.toxic) == (0.25, second.toxic)
    changed = toxiproxy.update_toxic("one", "cut", Slicer(average_bytes=20))
    assert (changed.toxicity, changed.toxic) == (0.25, Slicer(average_bytes=20))
    toxiproxy.remove_toxic("one", "cut")
    assert list(toxiproxy.toxics("one")) == ["latency_downstream"]


@pytest.mark.parametrize(
    "toxic",
    [
        Latency(delay_s=1.5, jitter_s=0.25),
        Bandwidth(rate_bps=9_600_000),
        SlowClose(delay_s=2),
        Timeout(after_s=0),
        ResetPeer(after_s=0.001),
        Slicer(average_bytes=64, variation_bytes=16, delay_s=0.001),
        LimitData(limit_bytes=1234),
    ],
    ids=lambda toxic: toxic.kind,
)
def test_every_toxic_comes_back_as_it_was_asked(toxiproxy: Toxiproxy, echoing: Any, toxic: Toxic) -> None:
    toxiproxy.create("one", echoing.address)
    for stream in ("upstream", "downstream"):
        assert toxiproxy.add("one", toxic, stream=stream).toxic == toxic
    assert {each.stream for each in toxiproxy.toxics("one").values()} == {"upstream", "downstream"}


def test_reset_enables_every_proxy_and_removes_every_toxic(toxiproxy: Toxiproxy, echoing: Any) -> None:
    toxiproxy.create("one", echoing.address, enabled=False)
    toxiproxy.create("two", echoing.address)
    toxiproxy.add("two", Timeout(after_s=0))
    toxiproxy.reset()
    assert all(each.enabled and not each.toxics for each in toxiproxy.proxies().values())
    with connected(toxiproxy.get("one")) as client:
        assert exchange(client, b"back") == b"back"


def test_populate_keeps_what_is_the_same_and_replaces_what_differs(toxiproxy: Toxiproxy, echoing: Any) -> None:
    [one] = toxiproxy.populate([{"name": "one", "upstream": echoing.address, "listen": "127.0.0.1:0"}])
    toxiproxy.add("one", Latency(delay_s=0.001))
    same = {"name": "one", "upstream": echoing.address, "listen": one.listen}
    [kept] = toxiproxy.populate([same])
    assert list(kept.toxics) == ["latency_downstream"]
    replaced, two = toxiproxy.populate(
        [{**same, "upstream": "127.0.0.1:1"}, {**same, "name": "two", "listen": "127.0.0.1:0", "enabled": False}]
    )
    assert (replaced.upstream, replaced.toxics, two.enabled) == ("127.0.0.1:1", {}, False)


REFUSALS: list[tuple[str, Callable[[Toxiproxy], object], int, str]] = [
    ("no such proxy", lambda t: t.get("none"), 404, "proxy not found"),
    ("no such proxy to delete", lambda t: t.delete("none"), 404, "proxy not found"),
    ("no such toxic", lambda t: t.remove_toxic("one", "none"), 404, "toxic not found"),
    ("no such toxic to change", lambda t: t.update_toxic("one", "none"), 404, "toxic not found"),
    ("a name twice", lambda t: t.create("one", "127.0.0.1:1"), 409, "proxy already exists"),
    ("a toxic twice", lambda t: [t.add("one", Timeout(0)) for _ in "12"], 409, "toxic already exists"),
    ("no upstream", lambda t: t.create("two", ""), 400, "missing required field: upstream"),
    ("no name", lambda t: t.populate([{"upstream": "127.0.0.1:1"}]), 400, "missing required field: name at proxy 1"),
    ("a stream", lambda t: t.add("one", Timeout(0), stream="sideways"), 400, "stream was invalid"),
    ("the listen address", lambda t: t.create("two", "127.0.0.1:1", t.get("one").listen), 500, "already in use"),
]


@pytest.mark.parametrize(("act", "status", "says"), [each[1:] for each in REFUSALS], ids=[each[0] for each in REFUSALS])
def test_refusals_are_raised_and_change_nothing(
    toxiproxy: Toxiproxy, echoing: Any, act: Callable[[Toxiproxy], object], status: int, says: str
) -> None:
    toxiproxy.create("one", echoing.address)
    with pytest.raises(ToxiproxyError) as caught:
        act(toxiproxy)
    assert caught.value.status == status
    assert says in str(caught.value)
    assert toxiproxy.url in str(caught.value)
    assert list(toxiproxy.proxies()) == ["one"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "error"),
    [
        ("POST", "/proxies", "{", 400, "bad request body"),
        ("POST", "/proxies", "[]", 400, "bad request body"),
        ("POST", "/proxies", '{"name": 5}', 400, "bad request body"),
        ("POST", "/populate", "{}", 400, "bad request body"),
        ("PATCH", "/proxies/one", "", 400, "bad request body"),
        ("POST", "/proxies/one/toxics", '{"type": "fog"}', 400, "invalid toxic type"),
        ("POST", "/proxies/one/toxics", '{"type": "latency", "attributes": {"latency": 1.5}}', 400, "bad request body"),
        ("GET", "/proxies/one/toxics/none", "", 404, "toxic not found"),
        ("GET", "/nowhere", "", 404, None),
        ("DELETE", "/version", "", 405, None),
    ],
)
def test_status_and_body_of_errors(
    toxiproxy: Toxiproxy, echoing: Any, method: str, path: str, body: str, status: int, error: str | None
) -> None:
    toxiproxy.create("one", echoing.address)
    answer = requests.request(method, toxiproxy.url + path, data=body, timeout=DEADLINE_S)
    assert answer.status_code == status
    if error is not None:
        document = answer.json()
        assert document["status"] == status
        assert document["error"].startswith(error)


def test_deprecated_post_still_changes_and_browsers_are_refused(toxiproxy: Toxiproxy, echoing: Any) -> None:
    toxiproxy.create("one", echoing.address)
    toxiproxy.add("one", Latency(delay_s=0.001))
    for path, body in (
        ("/proxies/one", {"enabled": False}),
        ("/proxies/one/toxics/latency_downstream", {"attributes": {"latency": 5}}),
    ):
        assert requests.post(toxiproxy.url + path, json=body, timeout=DEADLINE_S).status_code == 200
    assert not toxiproxy.get("one").enabled
    assert toxiproxy.toxics("one")["latency_downstream"].toxic == Latency(delay_s=0.005)
    browser = requests.get(toxiproxy.url + "/proxies", headers={"User-Agent": "Mozilla/5.0"}, timeout=DEADLINE_S)
    assert browser.status_code == 403


def test_the_version_is_told(toxiproxy: Toxiproxy) -> None:
    assert toxiproxy.version().startswith("2.")


# -- what proxies and toxics do


def test_much_data_arrives_whole_in_both_directions(toxiproxy: Toxiproxy, echoing: Any) -> None:
    proxy = toxiproxy.create("one", echoing.address)
    data = bytes(range(256)) * 8192  # 2 MiB
    with connected(proxy) as client:
        sender = threading.Thread(target=client.sendall, args=(data,))
        sender.start()
        assert received(client, len(data)) == data
        sender.join()


def test_down_refuses_and_closes_what_is_open(toxiproxy: Toxiproxy, echoing: Any) -> None:
    proxy = toxiproxy.create("one", echoing.address)
    with connected(proxy) as client:
        assert exchange(client, b"x") == b"x"
        assert not toxiproxy.disable("one").enabled
        assert ended(client) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", proxy.port), DEADLINE_S)
    assert toxiproxy.enable("one").port == proxy.port
    with connected(proxy) as client:
        assert exchange(client, b"y") == b"y"


def test_a_service_that_is_down_ends_the_connection(toxiproxy: Toxiproxy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        upstream = f"127.0.0.1:{taken.getsockname()[1]}"
    proxy = toxiproxy.create("one", upstream)
    with connected(proxy) as client:
        assert ended(client) == b""


@pytest.mark.parametrize("stream", ["upstream", "downstream"])
def test_latency_delays_and_keeps_order(toxiproxy: Toxiproxy, echoing: Any, stream: str) -> None:
    proxy = toxiproxy.create("one", echoing.address)
    toxiproxy.add("one", Latency(delay_s=0.15, jitter_s=0.1), stream=stream)
    data = bytes(range(100))
    with connected(proxy) as client:
        started = time.monotonic()
        for each in data:
            client.sendall(bytes([each]))
            time.sleep(0.001)  # so that they travel one by one, each with a jitter of its own
        assert received(client, 100) == data
        assert time.monotonic() - started >= 0.05


def test_bandwidth_paces(toxiproxy: Toxiproxy, echoing: Any) -> None:
    proxy = toxiproxy.create("one", echoing.address)
    toxiproxy.add("one", Bandwidth(rate_bps=800_000), stream="upstream")
    with connected(proxy) as client:
        started = time.monotonic()
        assert exchange(client, bytes(60_000)) == bytes(60_000)
        assert time.monotonic() - started >= 0.5  # 0.6 s at 100 kB/s; the first 0.1 s may go at once


def test_slow_close_delays_the_end_and_not_the_data(toxiproxy: Toxiproxy, serving: Any) -> None:
    service = serving(lambda client: client.sendall(b"bye") or client.close())
    proxy = toxiproxy.create("one", service.address)
    toxiproxy.add("one", SlowClose(delay_s=0.5))
    with connected(proxy) as client:
        started = time.monotonic()
        assert received(client, 3) == b"bye"
        assert ended(client) == b""
        assert time.monotonic() - started >= 0.45


def test_timeout_zero_stops_data_until_it_is_removed_which_closes(toxiproxy: Toxiproxy, echoing: Any) -> None:
    proxy = toxiproxy.create("one", echoing.address)
    with connected(proxy) as client:
        assert exchange(client, b"before") == b"before"
        toxiproxy.add("one", Timeout(after_s=0))
        client.sendall(b"lost")
        assert silent(client)
        toxiproxy.remove_toxic("one", "timeout_downstream")
        assert ended(client) == b"", "data was dropped, so the stream cannot go on"
    with connected(proxy) as client:
        assert exchange(client, b"after") == b"after"


def test_a_silent_cut_does_not_tell_of_the_services_end(toxiproxy: Toxiproxy, echoing: Any) -> None:
    """slow_close before timeout: the other side's death is not passed on either, as on a dead link."""
    proxy = toxiproxy.create("one", echoing.address)
    with connected(proxy) as client:
        assert exchange(client, b"before") == b"before"
        for stream in ("upstream", "downstream"):
            toxiproxy.add("one", SlowClose(delay_s=3600), stream=stream)
            toxiproxy.add("one", Timeout(after_s=0), stream=stream)
        for each in echoing.connections:
            each.shutdown(socket.SHUT_RDWR)
        assert silent(client)
        toxiproxy.reset()
        assert ended(client) == b""


def test_timeout_closes_after_its_time(toxiproxy: Toxiproxy, echoing: Any) -> None:
    proxy = toxiproxy.create("one", echoing.address)
    toxiproxy.add("one", Timeout(after_s=0.2))
    with connected(proxy) as client:
        started = time.monotonic()
        assert ended(client) == b""
        assert time.monotonic() - started >= 0.15


@pytest.mark.parametrize("stream", ["upstream", "downstream"])
def test_reset_peer_resets(toxiproxy: Toxiproxy, echoing: Any, stream: str) -> None:
    proxy = toxiproxy.create("one", echoing.address)
    toxiproxy.add("one", ResetPeer(after_s=0.1), stream=stream)
    with connected(proxy) as client:
        client.sendall(b"x")
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_slicer_cuts_into_pieces(toxiproxy: Toxiproxy, serving: Any) -> None:
    sizes: list[int] = []

    def count(client: socket.socket) -> None:
        while data := client.recv(65536):
            sizes.append(len(data))
            client.sendall(data)

    proxy = toxiproxy.create("one", serving(count).address)
    toxiproxy.add("one", Slicer(average_bytes=50, variation_bytes=10, delay_s=0.02), stream="upstream")
    data = bytes(range(200)) * 2
    with connected(proxy) as client:
        assert exchange(client, data) == data
    assert len(sizes) >= 3
    assert max(sizes) < len(data)


@pytest.mark.parametrize("stream", ["upstream", "downstream"])
@pytest.mark.parametrize("limit", [1, 1000, 40_000])
def test_limit_data_passes_exactly_so_many_bytes(toxiproxy: Toxiproxy, serving: Any, stream: str, limit: int) -> None:
    seen: list[bytes] = []
    over = threading.Event()
    data = bytes(i % 251 for i in range(100_000))

    def serve(client: socket.socket) -> None:
        if stream == "downstream":
            client.sendall(data)
        seen.append(ended(client))
        over.set()

    proxy = toxiproxy.create("one", serving(serve).address)
    toxiproxy.add("one", LimitData(limit_bytes=limit), stream=stream)
    with connected(proxy) as client:
        if stream == "downstream":
            assert ended(client) == data[:limit]
        else:
            with contextlib.suppress(ConnectionError):
                client.sendall(data)
            assert over.wait(DEADLINE_S)
            assert seen == [data[:limit]]


def test_changes_reach_living_connections(toxiproxy: Toxiproxy, echoing: Any) -> None:
    proxy = toxiproxy.create("one", echoing.address)
    with connected(proxy) as client:
        assert exchange(client, b"1") == b"1"
        toxiproxy.add("one", Latency(delay_s=0.4))
        started = time.monotonic()
        assert exchange(client, b"2") == b"2"
        assert time.monotonic() - started >= 0.35
        toxiproxy.update_toxic("one", "latency_downstream", Latency(delay_s=600))
        client.sendall(b"3")
        assert silent(client)
        toxiproxy.remove_toxic("one", "latency_downstream")
        assert received(client, 1) == b"3", "what waited goes on when the toxic is removed"
        assert exchange(client, b"4") == b"4"


def test_toxicity_is_a_share_of_connections(toxiproxy: Toxiproxy, echoing: Any) -> None:
    proxy = toxiproxy.create("one", echoing.address)
    toxiproxy.add("one", LimitData(limit_bytes=1), toxicity=0.5)
    whole = 0
    for _ in range(60):
        with connected(proxy) as client:
            client.sendall(b"xy")
            whole += received(client, 2) == b"xy"
    assert 8 <= whole <= 52, "half of 60; further off than this once in a thousand million runs"
    toxiproxy.update_toxic("one", "limit_data_downstream", toxicity=0.0)
    with connected(proxy) as client:
        assert exchange(client, b"xy") == b"xy"
