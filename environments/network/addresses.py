"""The address plan of a deployment. Every deployment uses the same one: its namespaces are its own."""

from __future__ import annotations

V4_NETWORK, V6_NETWORK = "10.77.0.0", "fd77::"  # /16 and /64
RESOLVER_V4 = "10.77.255.53"
SENTINEL_INDEX = 250  # the namespace that answers everything
MAX_SITES = 249
TUN_QUEUE = 10_000  # packets that a site's device holds until the router reads them
HOST_SUFFIX = "conform.test"  # <site>.conform.test resolves to the site; it is not egress
CANARY_V4 = "203.0.113.77"  # TEST-NET-3 (RFC 5737)
CANARY_V6 = "2001:db8::77"  # documentation prefix (RFC 3849)
CANARY_SUFFIX = "canary.conform.invalid"


def v4(index: int) -> str:
    """Address of site number index, 0 being the first."""
    return f"10.77.{index + 1}.1"


def v6(index: int) -> str:
    return f"fd77::{index + 1:x}"
