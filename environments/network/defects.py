"""Known-bad routers, to prove that calibration and canaries can fail. Each replaces one seam of the clean code."""

from __future__ import annotations

from collections.abc import Callable

from environments.network.dns import Question
from environments.network.ledger import Attempt
from environments.network.links import Direction, LossChain
from environments.network.owners import Owners
from environments.network.packets import ICMP, ICMP6, TCP, Packet
from environments.network.sentinel import Sentinel


def router_adds_no_delay() -> None:
    """Links deliver at once, whatever delay was asked."""
    Direction.travel_s = lambda self: 0.0  # type: ignore[method-assign]


def router_never_drops() -> None:
    """Loss is configured and never happens."""
    LossChain.lost = lambda self: False  # type: ignore[method-assign]


def sentinel_is_deaf() -> None:
    """Nothing reaches the egress ledger."""
    Sentinel.observe = lambda self, site, packet, asked: None  # type: ignore[method-assign]


def _blind_to(unseen: Callable[[Packet], bool]) -> None:
    """Sentinels that do not see some packets."""
    observe = Sentinel.observe

    def half_blind(self: Sentinel, site: str, packet: Packet, asked: Question | None) -> None:
        if not unseen(packet):
            observe(self, site, packet, asked)

    Sentinel.observe = half_blind  # type: ignore[method-assign]


def sentinel_ignores_ipv6() -> None:
    """The ledger has IPv4 only, as many a checker's."""
    _blind_to(lambda packet: packet.version == 6)


def sentinel_ignores_dns_over_tcp() -> None:
    """Only UDP is watched on port 53; a job "port 53 open, udp only" of GitLab's stayed green either way."""
    _blind_to(lambda packet: packet.protocol == TCP and packet.ports is not None and packet.ports[1] == 53)


def sentinel_ignores_icmp() -> None:
    """A ping that carries data is a way out."""
    _blind_to(lambda packet: packet.protocol in (ICMP, ICMP6))


def sentinel_ignores_neighbour_talk() -> None:
    """mDNS is not listed, not even as a warning."""
    _blind_to(lambda packet: packet.destination[0] in (224, 0xFF))


def sentinel_skips_rows_without_a_name() -> None:
    """Attempts at a bare address are left out, as by Replicated's TestSingleNodeNetworkReport."""
    record = Sentinel._record

    def named_only(self: Sentinel, attempt: Attempt, packet: Packet) -> Attempt:
        return attempt if attempt.name is None else record(self, attempt, packet)

    Sentinel._record = named_only  # type: ignore[method-assign]


def sentinel_never_names_the_process() -> None:
    """Rows tell what was attempted, and not by whom."""
    Owners.ask = lambda self, flow, site, packet: None  # type: ignore[method-assign]


def sentinel_reads_no_words() -> None:
    """What a TCP client says is not looked at: no SNI, no Host, no question over TCP."""
    Sentinel._listen = lambda self, site, packet: None  # type: ignore[method-assign]


def sentinel_reads_no_quic() -> None:
    """The name inside a QUIC Initial is lost."""
    Sentinel._keep_quic = lambda self, flow, packet: None  # type: ignore[method-assign]


DEFECTS: dict[str, Callable[[], None]] = {
    each.__name__: each
    for each in (
        router_adds_no_delay,
        router_never_drops,
        sentinel_is_deaf,
        sentinel_ignores_ipv6,
        sentinel_ignores_dns_over_tcp,
        sentinel_ignores_icmp,
        sentinel_ignores_neighbour_talk,
        sentinel_skips_rows_without_a_name,
        sentinel_never_names_the_process,
        sentinel_reads_no_words,
        sentinel_reads_no_quic,
    )
}
