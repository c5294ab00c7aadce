"""Make a profile real with local processes."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg

from environments.companyos import install as companyos_install
from environments.companyos.config import NodeConfig
from environments.companyos.vendor import enrol
from environments.contract import Capability, LinkState, SuiteError
from environments.drivers import models, provisioning, servers
from environments.drivers.directories import Programs, of_this_host
from environments.drivers.local import custody, dependencies, faketime, postgres
from environments.drivers.local.clock import NoClock, SiteClock
from environments.drivers.local.deployment import LocalDeployment
from environments.drivers.local.node import LocalNode
from environments.drivers.local.nodes import seed_user
from environments.drivers.local.processes import ProcessRunner
from environments.drivers.models import ModelServer
from environments.drivers.provisioning import Clocks
from environments.drivers.runner import Runner
from environments.drivers.servers import Servers
from environments.network.toxics.client import Toxiproxy
from profiles import Profile

CONTAINERS_ONLY = (
    Capability.CONTAINERS,
    Capability.RESOURCE_LIMITS,
)
_install_lock = threading.Lock()


class LocalDriver:
    """See provisioning.Driver."""

    name = "local"
    images: Mapping[str, str] = {}
    missing: Mapping[Capability, str] = dict.fromkeys(CONTAINERS_ONLY, "plain processes here. Use --driver containers")

    def sites(
        self, profile: Profile, run_id: str, seed: int, workdir: Path, network_defects: Sequence[str]
    ) -> LocalDeployment:
        """In namespaces of their own; on this host's loopback where those are refused."""
        from environments.network import NamespacesUnavailable

        try:
            return namespaced(profile, run_id, seed, workdir, network_defects, {})
        except NamespacesUnavailable as refusal:
            from environments.drivers.local.streams import stream_deployment

            if network_defects:
                raise SuiteError(
                    f"{', '.join(network_defects)}: the network has its defects in a router: {refusal}"
                ) from None
            links: Mapping[tuple[str, str], LinkState] = provisioning.directions(profile)
            return stream_deployment(profile, run_id, seed, workdir, links, f"{refusal.reason}. {refusal.remedy}")

    def runner(self, deployment: LocalDeployment, name: str, config: dict[str, Any], home: Path) -> Runner:
        site = deployment.spec.nodes[name].site
        sealed = Capability.PACKET_LINKS in deployment.capabilities and deployment.spec.sites[site].sealed
        cluster, port = Path(config["data_dir"]).with_name("postgres"), config["ports"].get("postgres")
        return ProcessRunner(deployment.hosts[site], home, cluster, port, sealed)

    def custody(self, deployment: LocalDeployment, node: LocalNode) -> str:
        return custody.settle(node)

    def clock(self, nodes: Mapping[str, LocalNode], how: Clocks) -> SiteClock | NoClock:
        return faketime.clock_of(nodes, how)

    def servers(self) -> Servers:
        return servers.of_this_host()

    def models(self) -> ModelServer | str:
        return models.of_this_host()

    def directories(self) -> Programs | str:
        return of_this_host()

    def toxiproxy(self, deployment: LocalDeployment, node: LocalNode) -> Toxiproxy:
        return dependencies.builtin(node, deployment.hosts[node.site], deployment.seed)

    def install(self, deployment: LocalDeployment, node: LocalNode) -> None:
        """In this process, outside the site."""
        if "postgres" in node.services:
            sockets = node.home / "sockets"
            sockets.mkdir(mode=0o700)
            os.chown(sockets, *postgres.account())
            if node.variant == "dedicated":  # physically separate: a cluster of its own, with its own identifier
                postgres.initialise(node.cluster_dir)
            else:
                postgres.copy_template(node.cluster_dir)
            node.start("postgres")
            provisioning.await_postgres(node)
        seeds = [seed_user(user) for user in node.users]
        reached = {}  # from here the database is reached by its socket
        if "postgres" in node.services:
            password = psycopg.conninfo.conninfo_to_dict(node.config["postgres_app_dsn"])["password"]
            reached["postgres_app_dsn"] = postgres.app_dsn(
                node.config["ports"]["postgres"], str(password), str(node.home / "sockets")
            )
        with _install_lock:  # defects of the install phase patch modules
            companyos_install.install(NodeConfig.model_validate({**node.config, **reached, "seed_users": seeds}))
        enrol(deployment.vendor, node.data_dir, node.node_id)
        node.write_config(node.config_file)
        if node.config["key_store"]["kind"] != "file":
            node.custody.prepare()


def namespaced(
    profile: Profile,
    run_id: str,
    seed: int,
    workdir: Path,
    network_defects: Sequence[str],
    netns: Mapping[str, Path],
) -> LocalDeployment:
    """Sites with a namespace each, joined by a router; that of a site in `netns` exists already. Raises
    NamespacesUnavailable."""
    from environments.network import Network, SitePlan

    plans = [
        SitePlan(
            name,
            index,
            sealed=True,
            netns=netns.get(name),
            mtu_bytes=site.mtu_bytes,
            congestion_control=site.congestion_control,
        )
        for index, (name, site) in enumerate(profile.sites.items())
    ]
    network = Network.start(
        run_id,
        plans,
        provisioning.directions(profile),
        seed,
        workdir,
        defects=network_defects,
        allow=profile.egress.allow,
    )
    hosts = {name: network.site(name) for name in profile.sites}
    deployment = LocalDeployment(run_id, profile, seed, workdir, hosts, network, dict.fromkeys(Capability))
    deployment.on_close(network.stop)
    network.egress.mode(profile.egress.answer)
    return deployment
