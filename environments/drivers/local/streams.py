"""A deployment where namespaces are refused: sites on this host's loopback, links as TCP streams, no egress ledger."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from environments.contract import Capability, LinkState
from environments.drivers.local.deployment import LocalDeployment
from environments.drivers.local.hosts import LoopbackSite, missing
from environments.network.toxics.streamnet import StreamNetwork
from profiles import Profile


def stream_deployment(
    profile: Profile,
    run_id: str,
    seed: int,
    workdir: Path,
    links: Mapping[tuple[str, str], LinkState],
    why: str,
) -> LocalDeployment:
    """why: the reason that namespaces were refused, and the remedy. Its `missing` says what the links cannot do."""
    egress = missing(f"{Capability.EGRESS_LEDGER.value}: the ledger needs network namespaces", why)
    network = StreamNetwork(run_id, links, seed, workdir, egress)
    lacking = (
        "; ".join(f"{name} lacks {what}" for name, what in network.links.lacking().items()) or "no link lacks more"
    )
    capabilities: dict[Capability, str | None] = dict.fromkeys(Capability)
    capabilities[Capability.EGRESS_LEDGER] = why
    capabilities[Capability.PACKET_LINKS] = (
        f"{why} Links are TCP streams here, that can be cut, delayed and slowed: {lacking}."
    )
    hosts = {name: LoopbackSite(run_id, partial(network.socket, name)) for name in profile.sites}
    deployment = LocalDeployment(run_id, profile, seed, workdir, hosts, network, capabilities)
    deployment.on_close(network.stop)
    for host in hosts.values():
        deployment.on_close(host.close)
    return deployment
