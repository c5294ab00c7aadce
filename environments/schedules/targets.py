"""What a schedule can act on: of a profile, before anything is started, and of a deployment that stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from environments.contract import Capability
from environments.schedules.model import Targets
from profiles import Profile

DATABASE = "postgres"  # the dependency that a node of the local driver may reach through a proxy


def of_profile(profile: Profile) -> Targets:
    """Names only: whether clocks, disks and dependencies can be broken is known once it stands."""
    from environments.drivers.local.node import SERVICES

    processes = [(name, service) for name, node in profile.nodes.items() for service in SERVICES[node.variant]]
    states: dict[str, Mapping[str, Any]] = {}
    for link in profile.links:
        a, b = link.between
        states[f"{a}>{b}"] = asdict(link.forward)
        states[f"{b}>{a}"] = asdict(link.back or link.forward)
    return Targets(
        links=tuple("--".join(link.between) for link in profile.links),
        processes=tuple(f"{name}/{service}" for name, service in processes),
        clocks=tuple(profile.nodes),
        disks=tuple(profile.nodes),
        dependencies=tuple(f"{name}/{service}" for name, service in processes if service == DATABASE),
        states=states,
    )


def of_deployment(deployment: Any) -> Targets:
    """What this deployment offers. A kind that it cannot break is in `missing`, with its own reason where it gives
    one."""
    nodes = tuple(deployment.nodes)
    missing: dict[str, str] = {}
    why = {str(getattr(key, "value", key)): reason for key, reason in deployment.missing.items()}
    links: tuple[str, ...] = ()
    states: dict[str, Mapping[str, Any]] = {}
    if Capability.PACKET_LINKS in deployment.capabilities:
        links = tuple(deployment.links.names())
        states = {f"{each['a']}>{each['b']}": each["asked"] for each in deployment.network.ask("show")["links"]}
    elif Capability.LINK_CUTS in deployment.capabilities:
        links = tuple(deployment.links.names())
    else:
        missing["link"] = why.get("link-cuts", "no links that can be changed")
    if Capability.PROCESS_CONTROL not in deployment.capabilities:
        missing["process"] = why.get("process-control", "no control of processes")
    if Capability.CLOCK_CONTROL not in deployment.capabilities:
        missing["clock"] = why.get("clock-control", "no clock that can be set")
    disks = getattr(deployment, "disks", None)
    if disks is None or "disk-faults" in why:
        missing["disk"] = why.get("disk-faults", "this deployment has no disks that can be broken")
    dependencies = getattr(deployment, "dependencies", None)
    if dependencies is None:
        missing["dependency"] = "this deployment has no proxies in front of its dependencies"
    return Targets(
        links=links,
        processes=tuple(f"{name}/{service}" for name in nodes for service in deployment.nodes[name].services),
        clocks=nodes,
        disks=nodes,
        dependencies=tuple(dependencies.names()) if dependencies is not None else (),
        missing=missing,
        states=states,
    )
