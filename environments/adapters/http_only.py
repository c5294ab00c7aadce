"""The smallest adapter: a deployment that exists, of which nothing is at hand but HTTP and accounts.

    COMPANYOS_SITE=site.json conform run --driver environments.adapters.http_only:HttpOnly --profile saas

The file says where the nodes of the profile are and who may sign in:

    {"nodes": {"saas": {"urls": {"data": "http://10.0.0.5:4000", "identity": "http://10.0.0.5:4100"},
                        "node_id": "saas-1", "customer": "companyos", "instance": "…", "version": "1.4.0",
                        "users": [{"tenant": "acme", "username": "ada", "password": "…", "roles": ["admin"]}]}},
     "most_s": 5}

`most_s`, if given, is the most that one request may take. Roles `admin` and `control` of `urls` may be left out.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from environments.contract import Calibration, Capability, Client, HttpSession, Mode, TransportError, User, untestable
from environments.contract.client import HttpClient, login
from environments.contract.http import SocketSession
from profiles import NodeSpec, Profile

SITE = "COMPANYOS_SITE"  # environment variable: path of the file
WHY = "this adapter has HTTP and accounts only. Write an adapter that offers it: docs/writing-an-adapter.md"
MISSING = {capability: WHY for capability in Capability}  # noqa: C420 (a why of its own for each is what you write)
OF_A_NODE = {  # member of a Node -> the capability without which it cannot be had
    **dict.fromkeys(("alive", "kill", "pause", "resume", "start"), Capability.PROCESS_CONTROL),
    **dict.fromkeys(("containers", "image_files", "image_file"), Capability.CONTAINERS),
    **dict.fromkeys(("files", "data_dir", "host_path", "logs"), Capability.FILE_ACCESS),
    "listeners": Capability.LISTENERS,
    "resources": Capability.RESOURCE_LIMITS,
    "sql": Capability.SQL_AUDIT,
}


def lacking(capability: Capability) -> NoReturn:
    untestable(f"{capability.value}: {MISSING[capability]}")


class Absent:
    """Stands where an instrument would be: using it is `untestable`, naming the capability. Never a made-up answer."""

    def __init__(self, capability: Capability) -> None:
        self._capability = capability

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        lacking(self._capability)


class HttpNode:
    """The contract's Node, by its URLs and accounts."""

    def __init__(self, name: str, spec: NodeSpec, told: Mapping[str, Any], session: HttpSession) -> None:
        self.name, self.site, self.mode, self.variant = name, spec.site, Mode(spec.mode), spec.variant
        self.node_id, self.customer = str(told["node_id"]), str(told["customer"])
        self.instance, self.version = str(told["instance"]), str(told["version"])
        self.users = tuple(User(u["tenant"], u["username"], u["password"], tuple(u["roles"])) for u in told["users"])
        self.services: tuple[str, ...] = ()
        self.declared_ports = tuple(told.get("ports", ()))
        self._urls, self._session = dict(told["urls"]), session

    def url(self, role: str) -> str:
        return str(self._urls[role])

    def user(self, role: str, tenant: str | None = None) -> User:
        for user in self.users:
            if role in user.roles and tenant in (None, user.tenant):
                return user
        raise KeyError(f"{self.name} has no user with role {role} in tenant {tenant}")

    def http(self, origin: str | None = None) -> HttpSession:
        if origin not in (None, self.site):
            untestable(f"packet-links: requests go out from this machine, not from site {origin}")
        return self._session

    def login(self, user: User, origin: str | None = None) -> Client:
        return login(self, self.http(origin), user)

    def anonymous(self, origin: str | None = None) -> Client:
        return HttpClient(self, self.http(origin))

    def wait_ready(self, deadline_s: float = 30.0) -> float:
        began = time.monotonic()
        while time.monotonic() - began <= deadline_s:
            try:
                if self._session.request("GET", self.url("data") + "/readyz", timeout_s=2).status == 200:
                    return time.monotonic() - began
            except TransportError:
                pass
            time.sleep(0.1)
        raise TimeoutError(f"{self.name} was not ready within {deadline_s:g} s")

    def __getattr__(self, name: str) -> Any:
        if name not in OF_A_NODE:
            raise AttributeError(f"a node has no {name}")
        lacking(OF_A_NODE[name])


class HttpOnly:
    """The contract's Deployment. What it cannot do it says in `missing`, and checks that need it are `untestable`."""

    capabilities: frozenset[Capability] = frozenset()
    missing: Mapping[Capability, str] = MISSING
    links = egress = Absent(Capability.LINK_CUTS)
    clock = Absent(Capability.CLOCK_CONTROL)
    disks = Absent(Capability.DISK_FAULTS)
    vendor = Absent(Capability.VENDOR_KEYS)
    release = Absent(Capability.FILE_ACCESS)
    payments: Mapping[str, Any] = {}
    directories: Mapping[str, Any] = {}
    calibration: tuple[Calibration, ...] = ()  # no link is ours, so none is measured
    canaries: Mapping[str, Mapping[str, bool]] = {}
    ready_s: Mapping[str, float] = {}  # it was there before us
    run_id: str
    profile: str
    path: str | None
    seed: int
    nodes: dict[str, HttpNode]
    modes: dict[str, Mode]
    subject: HttpNode
    target: HttpNode | None
    parent: HttpNode | None
    ready_limit_s: dict[str, float]
    workdir: Path

    def __init__(self, profile: Profile, *, run_id: str, seed: int) -> None:
        told = json.loads(Path(os.environ[SITE]).read_text(encoding="utf-8"))
        session = SocketSession(most_s=told.get("most_s"))
        self.run_id, self.profile, self.path, self.seed = run_id, profile.id, profile.path, seed
        self.nodes = {name: HttpNode(name, spec, told["nodes"][name], session) for name, spec in profile.nodes.items()}
        self.modes = {name: node.mode for name, node in self.nodes.items()}
        above = profile.nodes[profile.subject].parent
        self.subject, self.parent = self.nodes[profile.subject], self.nodes[above] if above else None
        self.target = self.nodes[profile.target] if profile.target else None
        self.ready_limit_s = {name: spec.limits.ready_s for name, spec in profile.nodes.items()}
        self.workdir = Path(tempfile.mkdtemp(prefix="companyos-conform-"))

    def custody(self, node: str) -> Any:
        return Absent(Capability.KEY_CUSTODY)

    def heal(self) -> None:
        """Nothing can be broken through this adapter, so there is nothing to mend."""

    def close(self, *, keep_files: bool = False) -> None:
        if not keep_files:
            shutil.rmtree(self.workdir, ignore_errors=True)
