"""conform egress, against a router that runs."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

import pytest

from conform import cli, found
from environments.drivers.local.running import Running
from environments.network import Network, dns

Start = Callable[..., Network]


@pytest.fixture
def network(start: Start, monkeypatch: pytest.MonkeyPatch) -> Network:
    """A network that `conform egress` finds, and what somebody in its sealed site tried."""
    made = start(allow=["vendor.example"])
    running = Running("up-1", "edge-alone", made.workdir, {"missing": {}})
    monkeypatch.setattr(found, "running", lambda: [running])
    made.egress.plant("edge-1")
    made.egress.phase("steady")
    with made.site("edge-1").socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for name, port in (("a.example", 53), ("a.example", 53), ("vendor.example", 53), ("printer.local", 5353)):
            address = "224.0.0.251" if port == 5353 else "198.51.100.7"
            probe.sendto(dns.query(name, 1 + port), (address, port))
        made.egress.sync()
    return made


def conform(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = cli.main(["egress", *arguments])
    said = capsys.readouterr()
    return code, said.out, " ".join(said.err.split())


def test_it_lists_attempts_apart_from_what_is_allowed_and_warnings(
    network: Network, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said, _ = conform(capsys)
    lines = said.splitlines()
    assert code == 0
    assert lines[0] == "edge-alone  run up-1  the sentinel's answer: drop"
    assert [line.partition(" count=")[0] for line in lines[1:]] == [
        "attempt edge-1 dns a.example:53",
        "allowed edge-1 dns vendor.example:53",
        "warning edge-1 mdns printer.local:5353",
    ]
    assert "count=1 phase=steady first=" in lines[1]  # a resolver's retry is no attempt of its own


def test_scripts_get_groups_and_rows_as_the_contract_has_them(
    network: Network, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said, _ = conform(capsys, "--json", "--site", "edge-1")
    document: dict[str, Any] = json.loads(said)
    assert code == 0
    assert [(each["kind"], each["destination"], each["count"]) for each in document["groups"]] == [
        ("attempt", "a.example", 1),
        ("allowed", "vendor.example", 1),
        ("warning", "printer.local", 1),
    ]
    assert [row["name"] for row in document["rows"]] == ["a.example", "vendor.example", "printer.local"]
    assert not {"source", "quic", "during"} & {key for row in document["rows"] for key in row}
    _, said, _ = conform(capsys, "--json", "--site", "core")
    assert json.loads(said)["rows"] == []


def test_bad_input_gets_one_line(
    network: Network, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, error = conform(capsys, "--site", "edge-2")
    assert (code, error) == (254, "conform: --site: there is no site 'edge-2'. Did you mean 'edge-1'?")
    network.stop()
    code, _, error = conform(capsys)
    assert code == 254
    assert "the router of run up-1 does not answer" in error
    monkeypatch.setattr(found, "running", list)
    code, _, error = conform(capsys)
    assert code == 254
    assert "no deployment runs" in error


def test_without_namespaces_it_says_that_there_is_no_ledger(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    running = Running("up-1", "edge-alone", tmp_path, {"missing": {"egress-ledger": "namespaces are refused"}})
    monkeypatch.setattr(found, "running", lambda: [running])
    code, _, error = conform(capsys)
    assert code == 254
    assert "untestable here: egress-ledger: namespaces are refused" in error
