"""The contract's Egress: the ledger of every attempt to leave, its canaries, and how the sentinel answers."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from environments.contract.deployment import EgressAttempt
from environments.network import addresses, ledger, quic, words

if TYPE_CHECKING:
    from environments.network.network import Network

SYNC_S = 10.0  # longest wait for agents to say which process was behind an attempt (a busy host); then it stays unknown
_POLL_S = 0.002
_SERVICES = {  # kind of canary -> the service that the ledger must have recognised, its IP version
    "tls4": ("https", 4), "tls6": ("https", 6), "dot": ("dot", 4), "http": ("http", 4), "quic4": ("quic", 4),
    "quic6": ("quic", 6), "ntp": ("ntp", 4), "stun": ("stun", 4), "syslog": ("syslog", 4),
}  # fmt: skip
_NAMED = ("tls4", "tls6", "dot", "http", "quic4", "quic6")  # kinds whose own words bear the nonce


class NetworkEgress:
    def __init__(self, network: Network) -> None:
        self._network = network

    def attempts(self, site: str, since_s: float = 0.0, *, include_canaries: bool = False) -> Sequence[EgressAttempt]:
        """What counts as an attempt to leave a site since a time (seconds since the epoch), made before this call.

        Neither what the profile allows nor talk to neighbours (`warning`) counts; `ledger` has those too."""
        rows = self.ledger(site, since_s, include_canaries=include_canaries)
        return [row for row in rows if row.counts or (include_canaries and row.phase == ledger.CANARY)]

    def ledger(
        self, site: str | None = None, since_s: float = 0.0, *, include_canaries: bool = False
    ) -> Sequence[EgressAttempt]:
        """Every row, allowed ones and warnings as well; of all sites if none is named."""
        if site is not None:
            self._network.site(site)
        self.sync()
        rows = [EgressAttempt(**row) for row in ledger.read(self._network.workdir, site, since_s)]
        return [row for row in rows if include_canaries or row.phase != ledger.CANARY]

    def sync(self) -> bool:
        """Wait until the ledger has all that was sent so far, and the processes behind it; whether it has."""
        return sync(lambda: int(self._network.ask("sync")["unanswered"]))

    @property
    def path(self) -> Path:
        return self._network.workdir / ledger.FILE

    def plant(self, site: str) -> Mapping[str, bool]:
        """Send one canary of each kind from inside a site: kind -> seen by the ledger, as what it is.

        `process`: whether the ledger names who sent each of them. ValueError for a site in a namespace that is not
        ours and not declared sealed: there a probe might get out.
        """
        place = self._network.site(site)
        if place.plan.netns and not place.plan.sealed:
            raise ValueError(f"site {site} is in a namespace of others and not sealed: a probe might get out")
        nonce, since_s = secrets.token_hex(6), time.time()
        name = f"{nonce}.{addresses.CANARY_SUFFIX}"
        datagrams = {
            "quic4": quic.initial(words.client_hello(name, (b"h3",))).hex(),
            "quic6": quic.initial(words.client_hello(name, (b"h3",)), version=quic.V2).hex(),
        }
        self._network.ask("planting", site=site)
        try:
            place.canaries(nonce, datagrams)
            rows = [r for r in self.ledger(site, since_s, include_canaries=True) if r.phase == ledger.CANARY]
        finally:
            self._network.ask("planting")
            place.release_canaries()
        seen = {kind: any(is_it(row, name) for row in rows) for kind, is_it in _kinds().items()}
        return {**seen, "process": bool(rows) and all(row.pid == place.process.pid for row in rows)}

    def mode(self, answer: str) -> None:
        """drop: silence. reject: RST, ICMP unreachable, DNS REFUSED. answer: any name resolves, any address accepts."""
        if answer == "answer":
            self._network.start_answerer()
        self._network.ask("mode", answer=answer)

    def phase(self, phase: str) -> None:
        """Name what the deployment is doing (install, steady, upgrade): rows carry it from now on."""
        self._network.ask("phase", phase=phase)


def sync(unanswered: Callable[[], int]) -> bool:
    """Ask a router's `sync` until no agent owes it an answer, at most SYNC_S; whether none does."""
    until = time.monotonic() + SYNC_S
    while unanswered():
        if time.monotonic() > until:
            return False
        time.sleep(_POLL_S)  # the poll interval of a named condition with a deadline
    return True


def _kinds() -> dict[str, Callable[[EgressAttempt, str], bool]]:
    """Kind of canary -> whether a row (of a canary; with the name that this planting gave) is of it."""

    def plain(protocol: str, version: int) -> Callable[[EgressAttempt, str], bool]:
        return lambda row, _: (row.protocol, row.ip_version) == (protocol, version)

    def port_nine(protocol: str, version: int) -> Callable[[EgressAttempt, str], bool]:
        return lambda row, _: (row.protocol, row.ip_version, row.port) == (protocol, version, 9)

    def question(protocol: str, version: int) -> Callable[[EgressAttempt, str], bool]:
        return lambda row, name: (
            (row.protocol, row.ip_version, row.service, row.name) == (protocol, version, "dns", name)
        )

    def named(kind: str) -> Callable[[EgressAttempt, str], bool]:
        return lambda row, name: (
            (row.service, row.ip_version) == _SERVICES[kind] and (kind not in _NAMED or row.name == name)
        )

    return {
        **{f"{protocol}{version}": port_nine(protocol, version) for protocol in ("tcp", "udp") for version in (4, 6)},
        **{f"dns{version}": question("dns", version) for version in (4, 6)},
        **{f"dns-tcp{version}": question("tcp", version) for version in (4, 6)},
        **{kind: named(kind) for kind in _SERVICES},
        "icmp4": plain("icmp", 4),
        "icmp6": plain("icmp6", 6),
        "raw4": plain("other", 4),
        "raw6": plain("other", 6),
        "mdns": lambda row, name: row.warning and (row.service, row.name) == ("mdns", name),
    }
