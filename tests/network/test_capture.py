"""Captures: what Wireshark would find in them."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from environments.link import LinkState
from environments.network import Network
from environments.network.capture import Captures
from tests.network.test_impairments import LINK, received, udp_pair

Start = Callable[..., Network]


def blocks(path: Path) -> Iterator[tuple[int, bytes]]:
    """(type, body) of each pcapng block; lengths must agree at both ends, as a strict reader wants it."""
    data = path.read_bytes()
    while data:
        kind, length = struct.unpack_from("<II", data)
        assert length % 4 == 0
        assert struct.unpack_from("<I", data, length - 4)[0] == length
        yield kind, data[8 : length - 4]
        data = data[length:]


def options(body: bytes) -> list[tuple[int, bytes]]:
    found = []
    while body:
        code, length = struct.unpack_from("<HH", body)
        if code == 0:
            break
        found.append((code, body[4 : 4 + length]))
        body = body[4 + length + -length % 4 :]
    return found


def packets(path: Path) -> list[tuple[float, bytes, list[tuple[int, bytes]]]]:
    """(seconds since the epoch, packet, options)"""
    found = []
    for kind, body in blocks(path):
        if kind == 6:
            _, high, low, captured, original = struct.unpack_from("<IIIII", body)
            assert captured == original
            rest = body[20 + captured + -captured % 4 :]
            found.append((((high << 32) | low) / 1e9, body[20 : 20 + captured], options(rest)))
    return found


def inbound(packet: tuple[float, bytes, list[tuple[int, bytes]]]) -> bool:
    return struct.unpack("<I", dict(packet[2])[2])[0] == 1


def test_a_lost_packet_is_at_its_sender_only_and_changes_are_comments(start: Start) -> None:
    network = start({LINK: LinkState(delay_s=0.1)})
    here, there = udp_pair(network)
    network.capture_sites()
    here.sendto(b"arrives", there.getsockname())
    assert received(there) == [b"arrives"]
    network.links.set(*LINK, LinkState(loss=1.0))
    here.sendto(b"vanishes", there.getsockname())
    assert received(there, 0.1) == []
    network.links.cut(*LINK)
    assert network.capture_sites(on=False) == {"core": 1, "edge-1": 2}
    folder = network.workdir / "capture"
    sent, arrived = packets(folder / "edge-1.pcapng"), packets(folder / "core.pcapng")
    assert [packet.endswith(b"arrives") for _, packet, _ in sent] == [True, False]
    assert [inbound(each) for each in sent] == [False, False]
    assert [inbound(each) for each in arrived] == [True]
    assert 0.09 < arrived[0][0] - sent[0][0] < 2
    assert abs(sent[0][0] - time.time()) < 60
    comments = [value.decode() for code, value in sent[1][2] if code == 1]
    assert [text.split(":")[0] for text in comments] == ["edge-1>core", "core>edge-1"]
    assert '"loss": 1.0' in comments[0]
    last_kind, last = list(blocks(folder / "edge-1.pcapng"))[-1]
    assert last_kind == 5
    assert any(b": cut: " in value for code, value in options(last[12:]) if code == 1)


def test_a_file_ends_at_its_limit_and_says_so(tmp_path: Path) -> None:
    captures = Captures(tmp_path / "capture", ["core"], limit_bytes=2000)
    for _ in range(100):
        captures.sent("core", b"\x45" + bytes(99))
    assert captures.truncated == ["core"]
    kept = captures.close()["core"]
    assert 0 < kept < 20
    assert (tmp_path / "capture" / "core.pcapng").stat().st_size < 2500
    assert len(packets(tmp_path / "capture" / "core.pcapng")) == kept
    last = list(blocks(tmp_path / "capture" / "core.pcapng"))[-1][1]
    assert any(b"limit" in value for _, value in options(last[12:]))


def test_a_capture_stays_in_its_folder(start: Start) -> None:
    with pytest.raises(ValueError, match="plain name"):
        start().ask("capture", folder="../elsewhere")
