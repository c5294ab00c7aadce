"""The steps by which a profile becomes real, the same for every driver that runs nodes on this host."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, Protocol

import psycopg

from environments.companyos import log as companyos_log
from environments.companyos.vendor import VendorAuthority
from environments.contract import Capability, LinkState
from environments.drivers import browsing, directories, models, servers
from environments.drivers import defects as driver_defects
from environments.drivers.directories import Programs
from environments.drivers.local import payments
from environments.drivers.local.clock import NoClock, SiteClock, prove
from environments.drivers.local.dependencies import PROXY_PORT
from environments.drivers.local.deployment import LocalDeployment
from environments.drivers.local.disks import NOT_ASKED, NodeDisks, NoDisks, make_disks, unmount_under
from environments.drivers.local.hosts import free_port
from environments.drivers.local.node import LocalNode
from environments.drivers.local.nodes import VERSION, make_nodes
from environments.drivers.local.postgres import cache_dir
from environments.drivers.local.processes import write_private
from environments.drivers.models import ModelServer
from environments.drivers.release import InstalledRelease, sign_manifest
from environments.drivers.runner import Runner
from environments.drivers.servers import Servers
from environments.network.toxics.client import Toxiproxy
from profiles import Profile

ROOT = Path(tempfile.gettempdir()) / f"companyos-conform-{os.geteuid()}"  # users of a host do not share it
Progress = Callable[[str], None]
Clocks = Literal["knob", "faketime"]
POSTGRES_S = 20.0
PATIENCE_S = 120.0  # several deployments start at once here; whether a node keeps its profile's limit is for checks


class Driver(Protocol):
    """What a driver adds to these steps."""

    name: str
    missing: Mapping[Capability, str]  # what no deployment of it can do

    @property
    def images(self) -> Mapping[str, str]:
        """Name -> id of those that services run from; none where they run from this checkout."""
        ...

    def sites(
        self, profile: Profile, run_id: str, seed: int, workdir: Path, network_defects: Sequence[str]
    ) -> LocalDeployment:
        """Sites and links; whatever it has made when it raises is gone again."""
        ...

    def runner(self, deployment: LocalDeployment, name: str, config: dict[str, Any], home: Path) -> Runner:
        """Of the node of that name, whose configuration may still be added to."""
        ...

    def custody(self, deployment: LocalDeployment, node: LocalNode) -> str:
        """Give the node its key store and whoever keeps it, before it is installed. What its mode promises and is not
        to be had here, with the remedy; empty if there is nothing."""
        ...

    def clock(self, nodes: Mapping[str, LocalNode], how: Clocks) -> SiteClock | NoClock: ...
    def servers(self) -> Servers:
        """What core nodes stand on, beside PostgreSQL."""
        ...

    def models(self) -> ModelServer | str:
        """What serves a model on nodes that have one; else what is missing, and the remedy."""
        ...

    def directories(self) -> Programs | str:
        """The servers of a customer's directory; else what is missing, and the remedy."""
        ...

    def toxiproxy(self, deployment: LocalDeployment, node: LocalNode) -> Toxiproxy:
        """A server in the node's site, that runs from now on, for faults of what the node depends on."""
        ...

    def install(self, deployment: LocalDeployment, node: LocalNode) -> None:
        """The product's own installation, up to where its services can be started."""
        ...


def new_run_id() -> str:
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"


def workdir_of(run_id: str, name: str) -> Path:
    """A fresh folder for one deployment. Others may pass through (the PostgreSQL account must) but not look. Its name
    is short: sockets are made deep in it, and the address of one has 107 bytes."""
    ROOT.mkdir(mode=0o711, exist_ok=True)
    run = ROOT / run_id
    run.mkdir(mode=0o711, exist_ok=True)
    path = run / f"{''.join(word[0] for word in name.split('-'))}-{secrets.token_hex(2)}"
    path.mkdir(mode=0o711)
    write_private(path / "owner.json", json.dumps({"pid": os.getpid(), "started_at_s": time.time()}))
    return path


def provision(
    driver: Driver,
    profile: Profile,
    *,
    run_id: str | None = None,
    seed: int = 0,
    defects: Sequence[str] = (),
    network_defects: Sequence[str] = (),
    calibrate: bool = True,
    clocks: Clocks = "knob",
    disks: bool = False,
    dependencies: bool = False,
    progress: Progress = lambda _: None,
) -> LocalDeployment:
    """Sites, links, services; returns when every node is ready and links, ledger and clocks have been tried.

    clocks: how the clock of a node is set, by the product's own knob or by libfaketime. disks: each node's data is on
    a disk of its own, which can be broken (root only).

    dependencies: nodes reach their databases through proxies, for `deployment.dependencies`.
    Raises NotReady or TimeoutError (which service, its last log lines) after tearing everything down."""
    run_id = run_id or new_run_id()
    product_defects, mend = driver_defects.apply(defects, driver.name)
    companyos_log.configure("WARNING")  # parts of the product run in this process
    workdir = workdir_of(run_id, profile.id)
    started: list[LocalDeployment] = []
    try:
        own_disks = make_disks(profile.nodes, workdir) if disks else NoDisks(NOT_ASKED)
        deployment = driver.sites(profile, run_id, seed, workdir, network_defects)
        started.append(deployment)
        deployment.on_close(mend)
        deployment.driver = driver.name
        deployment.missing |= driver.missing
        if lacking := browsing.missing():
            deployment.missing[Capability.BROWSER] = lacking
        vendor = VendorAuthority()
        deployment.vendor = vendor
        make_nodes(deployment, vendor, product_defects, lambda *node: driver.runner(deployment, *node))
        _custody(driver, deployment)
        _payments(deployment)
        servers.put_within(deployment, driver.servers(), vendor)
        _release(driver, deployment, vendor, models.put_within(deployment, driver.models()))
        _directories(deployment, driver.directories())
        _disks(deployment, own_disks)
        deployment.clock = driver.clock(deployment.locals, clocks)
        if dependencies:
            _interpose(driver, deployment)
        _start(driver, deployment, progress)
        _prove_network(deployment, calibrate, progress)
        _licences(deployment, vendor)
        _prove_clocks(deployment, progress)
    except BaseException:
        for each in started:
            each.close()
        mend()
        unmount_under(workdir)
        shutil.rmtree(workdir, ignore_errors=True)
        with contextlib.suppress(OSError):  # another deployment of the run is there
            workdir.parent.rmdir()
        raise
    write_private(workdir / "deployment.json", json.dumps(deployment.describe()))
    return deployment


def directions(profile: Profile) -> dict[tuple[str, str], LinkState]:
    """The state of each direction of the profile's links."""
    links = {}
    for link in profile.links:
        links[link.between] = link.forward
        links[(link.between[1], link.between[0])] = link.back or link.forward
    return links


def _release(driver: Driver, deployment: LocalDeployment, vendor: VendorAuthority, served: Mapping[str, str]) -> None:
    """What the vendor signed, and where it is to be seen."""
    for node in deployment.locals.values():
        if "companyos" in driver.images:
            node.config["image"] = driver.images["companyos"]
    manifest = sign_manifest(vendor, VERSION, images=driver.images, models=served)
    deployment.release = InstalledRelease(manifest, deployment.locals)


def _custody(driver: Driver, deployment: LocalDeployment) -> None:
    for name, node in deployment.locals.items():
        lacking = driver.custody(deployment, node)
        if lacking and name == deployment.spec.subject:
            deployment.missing[Capability.KEY_CUSTODY] = lacking


def _payments(deployment: LocalDeployment) -> None:
    """Hosted nodes bill; the provider's double is there before they are, and no part of them."""
    namespaced = Capability.PACKET_LINKS in deployment.capabilities
    for name, node in deployment.locals.items():
        if node.variant not in payments.VARIANTS:
            continue
        port = payments.PORT if namespaced else free_port()
        double = payments.StripeDouble(deployment.workdir / name / "payments", node.config["stripe_key"])
        node.instruments.add(double.start(deployment.hosts[node.site], port))
        node.config["stripe_url"] = f"http://127.0.0.1:{port}"
        deployment.payments[name] = double


def _directories(deployment: LocalDeployment, programs: Programs | str) -> None:
    if isinstance(programs, str):
        deployment.missing[Capability.DIRECTORY] = programs
        return
    directories.put_beside(deployment, programs)
    subject = deployment.spec.subject
    if programs.dex is None and deployment.locals[subject].variant in directories.OIDC:
        deployment.missing[Capability.DIRECTORY] = "no OpenID provider is on this host. Use --driver containers"


def _interpose(driver: Driver, deployment: LocalDeployment) -> None:
    namespaced = Capability.PACKET_LINKS in deployment.capabilities
    for node in deployment.locals.values():
        if "postgres" in node.services:
            port = PROXY_PORT if namespaced else free_port()
            deployment.dependencies.interpose(node, driver.toxiproxy(deployment, node), port)


def _disks(deployment: LocalDeployment, disks: NodeDisks | NoDisks) -> None:
    deployment.disks = disks
    if isinstance(disks, NodeDisks):
        disks.serve(deployment.locals, deployment.hosts)
    else:
        deployment.missing[Capability.DISK_FAULTS] = disks.why


def _prove_clocks(deployment: LocalDeployment, progress: Progress) -> None:
    """Checks that depend on time are untestable where a node does not go by the clock that was set; META-06 fails."""
    if isinstance(deployment.clock, NoClock):
        deployment.missing[Capability.CLOCK_CONTROL] = deployment.clock.why
        return
    seen = prove(deployment.clock, deployment.nodes)
    if seen:
        told = "; ".join(f"{node}: {why}" for node, why in seen.items())
        deployment.missing[Capability.CLOCK_CONTROL] = f"a clock that is set is not honoured ({told}). See META-06"
    progress("clocks not honoured" if seen else "clocks honoured")


def _start(driver: Driver, deployment: LocalDeployment, progress: Progress) -> None:
    """All nodes at once; a node whose parent is still starting retries, as it does in the field."""
    errors: list[BaseException] = []

    def bring_up(node: LocalNode) -> None:
        try:
            began = time.monotonic()
            for component in node.runner.components:  # they get ready while the product is installed
                if not node.alive(component):
                    node.start(component)
            driver.install(deployment, node)
            for service in node.services:
                if not node.alive(service):
                    node.start(service)
            if node.name in deployment.directories:
                deployment.directories[node.name].prepare()
            node.wait_ready(max(deployment.ready_limit_s[node.name] * 2, PATIENCE_S))
            models.await_answer(node)
            deployment.ready_s[node.name] = time.monotonic() - began
            progress(f"{node.name} ready in {deployment.ready_s[node.name]:.1f} s")
        except BaseException as error:
            errors.append(error)

    nodes = list(deployment.locals.values())
    with ThreadPoolExecutor(len(nodes)) as pool:
        try:
            list(pool.map(bring_up, nodes))
        except BaseException:  # Ctrl-C reaches this thread alone, and the others would go on waiting
            for node in nodes:
                node.runner.abandon()
            raise
    if errors:
        raise errors[0]


def await_postgres(node: LocalNode) -> None:
    """TimeoutError, with its last log lines, if it does not take connections within POSTGRES_S."""
    deadline = time.monotonic() + POSTGRES_S
    while True:
        try:
            node.sql().close()
            return
        except psycopg.OperationalError as error:
            if not node.alive("postgres") or time.monotonic() > deadline:
                raise TimeoutError(
                    f"{node.name}: postgres did not get ready ({error}). Its log:\n{node.logs('postgres')[-1500:]}"
                ) from None
            time.sleep(0.02)  # the poll interval of a named condition with a deadline


def _prove_network(deployment: LocalDeployment, calibrate: bool, progress: Progress) -> None:
    if calibrate and deployment.spec.links and Capability.LINK_CUTS in deployment.capabilities:
        deployment.calibration = deployment.network.calibrate(cache_folder=cache_dir() / "calibration")
        earlier = sum(row.cached_at is not None for row in deployment.calibration)
        progress(f"links calibrated{f' ({earlier} measures of earlier today)' if earlier else ''}")
    if Capability.EGRESS_LEDGER not in deployment.capabilities:
        return
    deployment.canaries = {site: deployment.egress.plant(site) for site in deployment.spec.sites}
    progress("egress canaries planted")


def _licences(deployment: LocalDeployment, vendor: VendorAuthority) -> None:
    for name, spec in deployment.spec.nodes.items():
        if spec.licence is None:
            continue
        node = deployment.locals[name]
        claims = vendor.licence_claims(
            node,
            seats=spec.licence.seats,
            features=spec.licence.features,
            exp=int(time.time()) + spec.licence.days * 86400,
        )
        operator = node.login(node.user("operator"))
        answer = operator.admin("PUT", "/v1/licence", body=vendor.sign("licence", claims).encode())
        if answer.status not in (200, 201, 204):
            raise TimeoutError(f"{name}: the licence was not installed: {answer.status} {answer.body[:300]!r}")
