"""A deployment of local processes: what a check is given."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from environments import jsonlines
from environments.contract import Calibration, Capability, Custody, HttpSession, Mode, Node, Release, SuiteError, Vendor
from environments.contract.http import SocketSession
from environments.directories.signing_in import CustomerDirectory
from environments.drivers.local.clock import NoClock, SiteClock
from environments.drivers.local.dependencies import DependencyFaults
from environments.drivers.local.disks import NodeDisks, NoDisks
from environments.drivers.local.hosts import SiteHost
from environments.drivers.local.node import LocalNode
from environments.drivers.local.payments import StripeDouble
from profiles import Profile

HEALED_S = 60.0  # a graph database that was killed takes its time on a busy host


class LocalDeployment:
    """The contract's Deployment. Made by `provision`; `close` ends and removes everything it made."""

    def __init__(
        self,
        run_id: str,
        profile: Profile,
        seed: int,
        workdir: Path,
        hosts: Mapping[str, SiteHost],
        network: Any,
        capabilities: Mapping[Capability, str | None],
    ) -> None:
        self.run_id, self.profile, self.path, self.seed, self.workdir = run_id, profile.id, profile.path, seed, workdir
        self.spec, self.driver = profile, "local"
        self.hosts, self.network = hosts, network
        self.missing = {each: why for each, why in capabilities.items() if why is not None}
        self.locals: dict[str, LocalNode] = {}
        self.vendor: Vendor
        self.release: Release
        self.clock: SiteClock | NoClock = NoClock("no clock was made")
        self.disks: NodeDisks | NoDisks = NoDisks("no disk was made")
        self.payments: dict[str, StripeDouble] = {}
        self.directories: dict[str, CustomerDirectory] = {}
        self.calibration: Sequence[Calibration] = ()
        self.dependencies = DependencyFaults()
        self.canaries: Mapping[str, Mapping[str, bool]] = {}
        self.ready_s: dict[str, float] = {}
        self.ready_limit_s = {name: node.limits.ready_s for name, node in profile.nodes.items()}
        self.watches: list[Callable[[Callable[[str], None]], None]] = []  # what else it stands on: see watch
        self._sessions: dict[str, HttpSession] = {}
        self._on_close: list[Callable[[], object]] = []
        self._before_heal: list[Callable[[], object]] = []

    # -- the contract

    @property
    def nodes(self) -> Mapping[str, Node]:
        return dict(self.locals)

    @property
    def modes(self) -> Mapping[str, Mode]:
        return {name: node.mode for name, node in self.locals.items()}

    @property
    def subject(self) -> Node:
        return self.locals[self.spec.subject]

    @property
    def target(self) -> Node | None:
        return self.locals[self.spec.target] if self.spec.target else None

    @property
    def parent(self) -> Node | None:
        name = self.spec.nodes[self.spec.subject].parent
        return self.locals[name] if name else None

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset(Capability) - self.missing.keys()

    @property
    def links(self) -> Any:
        return self.network.links

    @property
    def egress(self) -> Any:
        return self.network.egress

    def custody(self, node: str) -> Custody:
        return self.locals[node].custody

    def session(self, site: str) -> HttpSession:
        """HTTP from inside a site; one pool of connections per site."""
        if site not in self._sessions:
            self._sessions[site] = SocketSession(self.hosts[site].socket)
        return self._sessions[site]

    def url_from(self, site: str, url: str) -> str:
        """A service's URL as another site writes it: behind the proxy of its link where links are streams."""
        return url if Capability.PACKET_LINKS in self.capabilities else str(self.network.url_from(site, url))

    def heal(self) -> None:
        """Undo every fault and wait until all nodes are ready. SuiteError if that cannot be."""
        while self._before_heal:
            self._before_heal.pop()()
        if Capability.LINK_CUTS in self.capabilities:
            if not self.network.router_alive():
                raise SuiteError("the router of this deployment died")
            self.links.heal()
        if Capability.EGRESS_LEDGER in self.capabilities:
            self.egress.mode(self.spec.egress.answer)
        self.dependencies.heal()
        for provider in self.payments.values():
            provider.answer("ok")
        self.clock.release_all()
        self.disks.heal()
        for node in self.locals.values():
            node.custody.heal()
        for node in self.locals.values():
            node.restore()
        for node in self.locals.values():
            try:
                node.wait_ready(max(HEALED_S, 2 * self.ready_limit_s[node.name]))
            except Exception as error:
                raise SuiteError(f"the deployment could not be healed: {error}") from error

    # -- beyond it: for the plugin, the command line, the report

    @property
    def congestion_control(self) -> Mapping[str, str]:
        """Site -> how its TCP finds its rate; "not pinned" where the kernel would not be told."""
        if Capability.PACKET_LINKS not in self.capabilities:
            return {}
        facts = {name: site.facts for name, site in self.network.sites.items()}
        return {
            name: each.congestion_control + ("" if each.congestion_pinned else " (not pinned)")
            for name, each in facts.items()
        }

    def watch(self, lost: Callable[[str], None]) -> None:
        """Call `lost` from a thread, with the reason, when what the deployment stands on is gone: the suite's fault."""
        if Capability.LINK_CUTS in self.capabilities:
            self.network.watch(lost)
        for watch in self.watches:
            watch(lost)

    def crashed(self) -> list[str]:
        """Services that ended by themselves since the last call."""
        return [line for node in self.locals.values() for line in node.crashed()]

    def timeline(self) -> list[dict[str, Any]]:
        """State changes of the links, as the router logged them."""
        return jsonlines.read(self.workdir / "links.jsonl")

    def describe(self) -> dict[str, Any]:
        """What `conform up` prints and other shells read."""
        return {
            "run_id": self.run_id,
            "profile": self.profile,
            "driver": self.driver,
            "pid": os.getpid(),
            "started_at_s": time.time(),
            "workdir": str(self.workdir),
            "router_socket": str(self.workdir / "router.sock"),
            "nodes": {name: self._describe_node(node) for name, node in self.locals.items()},
            "missing": {str(key): why for key, why in self.missing.items()},
        }

    def _describe_node(self, node: LocalNode) -> dict[str, Any]:
        roles = ("data", "identity", "admin", "control")
        urls = {}
        for role in roles:
            with contextlib.suppress(KeyError):
                urls[role] = node.url(role)
        return {
            "mode": str(node.mode),
            "variant": node.variant,
            "site": node.site,
            "node_id": node.node_id,
            "urls": urls,
            "users": [
                {"tenant": u.tenant, "username": u.username, "password": u.password, "roles": list(u.roles)}
                for u in node.users
            ],
            "pids": {service: node.pid(service) for service in node.services},
            "ready_s": self.ready_s.get(node.name),
        }

    def before_heal(self, action: Callable[[], object]) -> None:
        """Do this once, at the start of the next heal: what goes on breaking things must end first."""
        self._before_heal.append(action)

    def on_close(self, action: Callable[[], object]) -> None:
        self._on_close.append(action)

    def close(self, *, keep_files: bool = False) -> None:
        """End every process, then remove the files. Safe to call twice."""
        if self.locals:
            with ThreadPoolExecutor(len(self.locals)) as pool:
                list(pool.map(lambda node: node.close(keep_files=keep_files), self.locals.values()))
        while self._on_close:
            with contextlib.suppress(Exception):
                self._on_close.pop()()
        self.disks.unmount(keep_files=keep_files)
        if not keep_files:
            shutil.rmtree(self.workdir, ignore_errors=True)
            with contextlib.suppress(OSError):
                self.workdir.parent.rmdir()

    def __enter__(self) -> LocalDeployment:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
