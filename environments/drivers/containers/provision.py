"""Make a profile real with containers: the same sites, links and checks, on the components a customer runs."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from environments.companyos.vendor import enrol
from environments.contract import Capability, SuiteError
from environments.directories import dex, slapd
from environments.drivers import provisioning
from environments.drivers.containers import classdata, custody
from environments.drivers.containers.clusters import make_cluster
from environments.drivers.containers.engine import MEMORY_BYTES, Containers
from environments.drivers.containers.pods import Pod, start_pods, write_names
from environments.drivers.containers.runner import ContainerRunner, Folders, Place, own
from environments.drivers.directories import Programs
from environments.drivers.local import dependencies, faketime
from environments.drivers.local.clock import NoClock, SiteClock
from environments.drivers.local.deployment import LocalDeployment
from environments.drivers.local.node import LocalNode, NotReady
from environments.drivers.local.nodes import seed_user
from environments.drivers.local.provision import namespaced
from environments.drivers.models import FILE, SHIPPED, ModelServer
from environments.drivers.provisioning import Clocks
from environments.drivers.reaching import Reach
from environments.drivers.runner import Component, Runner
from environments.drivers.servers import CORE, Servers
from environments.images import EngineMissing, ImagesMissing, built, engine
from environments.images.manifest import BUILD, Built, current
from environments.network.toxics.client import Toxiproxy, ToxiproxyError
from profiles import Profile

INSTALL_S, TOXIPROXY_S = 60.0, 20.0
TOXIPROXY_PORT = 8474
NEEDED = ("pause", "companyos", "postgres")
NO_ROOT = (
    "the containers driver joins the network namespaces of containers, for which it has to be root. Run as root, "
    "or leave out --driver containers"
)
NOT_YET: Mapping[Capability, str] = {}


def preflight() -> None:
    """What can be told before anything is made. EngineMissing, ImagesMissing: one line with the remedy."""
    if os.geteuid() != 0:
        raise EngineMissing(NO_ROOT)
    available()


def available() -> Mapping[str, Built]:
    """Images by name: those without which nothing stands (ImagesMissing), and of the others those that are built here
    and given to the engine that is asked. Raises EngineMissing too."""
    client = engine()  # first: without one, an image more or less is no matter
    found = {**current(), **built(*NEEDED)}
    held = {str(each["Id"]) for each in client.api.images()}
    client.close()
    for name in NEEDED:
        if found[name].image_id not in held:
            raise ImagesMissing(f"the engine does not have the image {name}, which is built. Give it: {BUILD} {name}")
    return {name: each for name, each in found.items() if each.image_id in held}


class ContainersDriver:
    """See provisioning.Driver. One for each deployment."""

    name = "containers"
    missing: Mapping[Capability, str] = NOT_YET

    def __init__(self) -> None:
        preflight()
        self.built = available()
        self.images: Mapping[str, str] = {name: each.image_id for name, each in self.built.items()}
        self._containers: Containers
        self._pods: Mapping[str, Pod] = {}
        self._core = False  # whether a node of it stands on servers

    def sites(
        self, profile: Profile, run_id: str, seed: int, workdir: Path, network_defects: Sequence[str]
    ) -> LocalDeployment:
        self._core = any(node.variant in CORE for node in profile.nodes.values())
        names = write_names(workdir, profile.sites)
        self._containers = Containers(run_id, f"{profile.id}-{workdir.name.rpartition('-')[2]}", names)
        try:
            self._pods = start_pods(self._containers, self.built["pause"], profile.sites)
            netns = {site: pod.netns for site, pod in self._pods.items()}
            deployment = namespaced(profile, run_id, seed, workdir, network_defects, netns)
        except BaseException:
            self._containers.close()
            raise
        deployment.on_close(self._containers.close)
        deployment.watches.append(self._containers.watch)
        return deployment

    def runner(self, deployment: LocalDeployment, name: str, config: dict[str, Any], home: Path) -> Runner:
        spec = deployment.spec.nodes[name]
        data = Path(config["data_dir"])
        config["clock_file"] = str(home / "config" / "clock")  # in a folder that its services see
        place = Place(
            name,
            spec.site,
            self._pods[spec.site],
            deployment.spec.sites[spec.site].sealed,
            spec.limits.memory_bytes if spec.variant == "edge" else MEMORY_BYTES,
            spec.limits.cpus,
        )
        folders = Folders(home, data, data.with_name("postgres"))
        return ContainerRunner(self._containers, self.built, place, folders, config["ports"].get("postgres"))

    def custody(self, deployment: LocalDeployment, node: LocalNode) -> str:
        return custody.settle(self._containers, self.built, node)

    def clock(self, nodes: Mapping[str, LocalNode], how: Clocks) -> SiteClock | NoClock:
        if how == "knob":
            return faketime.clock_of(nodes, how)
        return NoClock("libfaketime is not in the images. Use --clocks knob, or --driver local")

    def servers(self) -> Servers:
        def had(name: str) -> Sequence[str] | str:
            return () if name in self.images else f"no image {name}. Run `conform images build`"

        if "neo4j" not in self.images or not self._core:
            return Servers(had("neo4j"), had("opa"), inside=True)
        folder = classdata.kept(self._containers, self.built["neo4j"], self.built["companyos"])
        return Servers((), had("opa"), True, {folder: (classdata.FOLDER, "ro")}, classdata.USE)

    def models(self) -> ModelServer | str:
        if "llama" not in self.built:
            return "no image llama. Run `conform images build`"
        return ModelServer((), self._containers.file_of(self.built["llama"], f"{SHIPPED}/{FILE}"))

    def directories(self) -> Programs | str:
        absent = [name for name in ("directory", "idp") if name not in self.built]
        if absent:
            return f"no image {absent[0]}. Run `conform images build`"
        return Programs(slapd.Layout(), str(dex.BINARY), str(slapd.Layout().home))

    def toxiproxy(self, deployment: LocalDeployment, node: LocalNode) -> Toxiproxy:
        """The real one, where its image is built."""
        if "toxiproxy" not in self.built:
            return dependencies.builtin(node, deployment.hosts[node.site], deployment.seed)
        server = ["/usr/bin/toxiproxy-server", "-host", "127.0.0.1", "-port", str(TOXIPROXY_PORT)]
        argv = [*server, "-seed", str(deployment.seed)]
        node.put_beside("toxiproxy", Component("toxiproxy", argv, TOXIPROXY_PORT))
        node.start("toxiproxy")
        reach = Reach(deployment.hosts[node.site].socket, TOXIPROXY_PORT)
        deployment.on_close(reach.close)
        client = Toxiproxy(port=reach.port)
        deadline = time.monotonic() + TOXIPROXY_S
        while True:
            try:
                client.version()
                return client
            except ToxiproxyError as error:
                if not node.alive("toxiproxy") or time.monotonic() > deadline:
                    said = node.logs("toxiproxy")[-300:]
                    raise SuiteError(f"{node.name}: Toxiproxy does not answer ({error}). It said: {said}") from None
                time.sleep(0.02)  # the poll interval of a named condition with a deadline

    def install(self, deployment: LocalDeployment, node: LocalNode) -> None:
        """As at a customer's: by the product's image, within the site."""
        runner = node.runner
        assert isinstance(runner, ContainerRunner)
        product, database = self.built["companyos"], self.built["postgres"]
        for folder in (node.home / "config", node.data_dir):
            own(folder, product)
        sockets = node.home / "sockets"
        sockets.mkdir(mode=0o710)  # the server's; the install step, which is its superuser, may pass
        os.chown(sockets, database.uid, product.uid)
        if "postgres" in node.services:
            # physically separate: a cluster of its own, with its own identifier
            make_cluster(database, node.cluster_dir, separate=node.variant == "dedicated")
            node.start("postgres")
            provisioning.await_postgres(node)
        step = node.config_file.with_name("install.json")
        runner.write_config(step, {**node.config, "seed_users": [seed_user(user) for user in node.users]})
        code, told = runner.install(step, INSTALL_S)
        step.unlink()
        if code != 0:
            last = "\n".join(f"    {line}" for line in told.splitlines()[-12:])
            raise NotReady(f"{node.name}: the install step failed (exit {code}). Its last lines:\n{last}")
        enrol(deployment.vendor, node.data_dir, node.node_id)
        own(node.data_dir, product)
        node.write_config(node.config_file)
        if node.config["key_store"]["kind"] != "file":
            node.custody.prepare()
