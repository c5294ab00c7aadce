"""SEC-03: sockets that listen, against sockets that are declared."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

from environments.contract import Listener, vacuous


def _same(found: str, declared: str) -> bool:
    """Exact addresses only: a wildcard listener is not what was declared, unless a wildcard was."""
    try:
        one, two = ip_address(found.split("%")[0]), ip_address(declared.split("%")[0])
    except ValueError:
        return found == declared
    mapped = getattr(one, "ipv4_mapped", None)
    return (mapped or one) == two


def judge_listeners(found: Sequence[Listener], declared: Sequence[tuple[str, int]]) -> list[str]:
    """Listeners that nobody declared, and declared ones that do not listen; vacuous when nothing was enumerated."""
    if not found or not declared:
        vacuous(f"{len(found)} listeners enumerated, {len(declared)} declared")
    extra = [
        f"undeclared: {x.protocol} [{x.address}]:{x.port} of {x.service or 'an unknown process'}"
        for x in found
        if not any(x.port == port and _same(x.address, address) for address, port in declared)
    ]
    missing = [
        f"declared but silent: {address}:{port}"
        for address, port in declared
        if not any(x.port == port and _same(x.address, address) for x in found)
    ]
    return extra + missing


def judge_scan(open_ports: Sequence[tuple[str, int]], reachable: Sequence[tuple[str, int]]) -> list[str]:
    """A connect scan from outside: `open_ports` answered, `reachable` are declared on a routable address."""
    if not open_ports:
        vacuous("the scan found no open port, not even a declared one")
    return [f"open from outside and undeclared: {a}:{p}" for a, p in open_ports if (a, p) not in set(reachable)] + [
        f"declared and closed from outside: {a}:{p}" for a, p in reachable if (a, p) not in set(open_ports)
    ]
