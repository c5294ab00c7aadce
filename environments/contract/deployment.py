"""What a check is given. Suites import this package and nothing else of `environments`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol


class Mode(StrEnum):
    """The deployment modes of the strategy document, section 2, as the catalogue writes them."""

    A = "A"  # SaaS multi-tenant
    B = "B"  # dedicated single-tenant
    CT = "Ct"  # on-prem, connected or tethered
    CA = "Ca"  # on-prem, air-gapped
    D = "D"  # edge node


class Capability(StrEnum):
    """What an environment can do; a check that needs one that is missing is `untestable`, naming it."""

    LINK_CUTS = (
        "link-cuts"  # links that can be cut, delayed and slowed: packets, or TCP streams where those are refused
    )
    PACKET_LINKS = "packet-links"  # links that carry packets: loss, bursts, MTU, reordering; UDP and ICMP too
    EGRESS_LEDGER = "egress-ledger"  # sealed sites whose attempts to leave are recorded
    PROCESS_CONTROL = "process-control"  # kill, stop and start services
    CLOCK_CONTROL = "clock-control"  # set the clock that a node reads
    SQL_AUDIT = "sql-audit"  # superuser SQL session for white-box evidence
    VENDOR_KEYS = "vendor-keys"  # signing keys of the vendor, to make vectors
    FILE_ACCESS = "file-access"  # the node's configuration and data files can be read
    LISTENERS = "listeners"  # the sockets that listen in a site can be enumerated


@dataclass(frozen=True)
class LinkState:
    """State of one direction of a link. Delay is one-way."""

    up: bool = True
    delay_s: float = 0.0
    jitter_s: float = 0.0
    loss: float = 0.0  # long-run fraction of packets lost, 0..1
    burst: float = 1.0  # mean length of a run of losses, packets (Gilbert-Elliott)
    rate_bps: float | None = None  # None: unlimited
    queue_s: float = 1.0  # longest time a packet may wait for the rate; beyond it, tail drop


@dataclass(frozen=True)
class LinkCounters:
    offered: int
    delivered: int
    dropped: Mapping[str, int]  # by cause: loss, queue, down
    bytes_offered: int
    bytes_delivered: int


@dataclass(frozen=True)
class EgressAttempt:
    """One row of the egress ledger."""

    t_s: float  # seconds since the epoch
    site: str
    protocol: str  # tcp, udp, icmp, icmp6, dns, other
    destination: str
    port: int | None
    name: str | None = None  # DNS question, where there is one
    ip_version: int = 4
    phase: str = ""


@dataclass(frozen=True)
class Listener:
    protocol: str  # tcp, tcp6, udp, udp6
    address: str
    port: int
    service: str | None = None  # the service whose process owns it, where known


@dataclass(frozen=True)
class User:
    tenant: str
    username: str
    password: str
    roles: tuple[str, ...]


@dataclass(frozen=True)
class Response:
    """An HTTP answer, at most `limit` bytes of it (see HttpSession)."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    elapsed_s: float

    def json(self) -> Any:
        import json

        return json.loads(self.body)

    @property
    def error_code(self) -> str | None:
        """`error.code` (REST) or the first `errors[].extensions.code` (GraphQL); None without an error in the body."""
        try:
            document = self.json()
        except ValueError:
            return None
        if not isinstance(document, dict):
            return None
        if isinstance(document.get("error"), dict):
            return str(document["error"].get("code"))
        for error in document.get("errors") or []:
            return str((error.get("extensions") or {}).get("code"))
        return None


class TransportError(Exception):
    """No HTTP answer. `kind` says why: refused, timeout, reset, dns, too-large, other."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class HttpSession(Protocol):
    """Raw HTTP from inside a site. Raises TransportError when there is no answer. Never follows redirects."""

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        json: Any = None,
        timeout_s: float = 10.0,
    ) -> Response: ...


class Client(Protocol):
    """Typed client of one identity at one node. Raw answers, so that a check can judge refusals too."""

    user: User | None
    token: str | None

    def graphql(
        self,
        query: str,
        variables: Mapping[str, Any] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 10.0,
    ) -> Response: ...
    def data(self, method: str, path: str, **kwargs: Any) -> Response: ...
    def admin(self, method: str, path: str, **kwargs: Any) -> Response: ...
    def control(self, method: str, path: str, **kwargs: Any) -> Response: ...


class Node(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def site(self) -> str: ...
    @property
    def mode(self) -> Mode: ...
    @property
    def variant(self) -> str: ...
    @property
    def node_id(self) -> str: ...
    @property
    def customer(self) -> str: ...
    @property
    def instance(self) -> str:
        """Licence fingerprint."""
        ...

    @property
    def version(self) -> str: ...
    @property
    def services(self) -> Sequence[str]: ...
    @property
    def users(self) -> Sequence[User]: ...
    @property
    def declared_ports(self) -> Sequence[tuple[str, int]]:
        """(interface address, port) that may listen, from the profile."""
        ...

    def url(self, role: str) -> str:
        """Base URL of role data, identity, admin or control. KeyError if the mode has none."""
        ...

    def user(self, role: str, tenant: str | None = None) -> User: ...
    def http(self, origin: str | None = None) -> HttpSession:
        """HTTP from inside `origin` (a site; default: the node's own)."""
        ...

    def login(self, user: User, origin: str | None = None) -> Client: ...
    def anonymous(self, origin: str | None = None) -> Client: ...
    def alive(self, service: str) -> bool: ...
    def kill(self, service: str) -> None:
        """SIGKILL, and wait until it is gone. Expected by the supervisor: not counted as a crash."""
        ...

    def start(
        self, service: str, *, env: Mapping[str, str] | None = None, config: Mapping[str, Any] | None = None
    ) -> None:
        """Start with extra environment and top-level configuration overrides for this start only; returns at once."""
        ...

    def wait_ready(self, deadline_s: float = 30.0) -> float:
        """Wait for /readyz of every HTTP service; seconds it took. TimeoutError: which, and its last log lines."""
        ...

    def listeners(self) -> Sequence[Listener]: ...
    def sql(self) -> Any:
        """A psycopg superuser connection (autocommit) to the node's PostgreSQL; needs Capability.SQL_AUDIT."""
        ...

    def files(self) -> Sequence[Path]:
        """Configuration, log and release files of the node, for scans; needs Capability.FILE_ACCESS."""
        ...

    @property
    def data_dir(self) -> Path: ...
    def logs(self, service: str) -> str: ...


class Links(Protocol):
    def names(self) -> Sequence[str]:
        """Links as `a--b`."""
        ...

    def get(self, a: str, b: str) -> LinkState:
        """State of the direction a -> b."""
        ...

    def set(self, a: str, b: str, state: LinkState, *, both: bool = True) -> None: ...
    def cut(self, a: str, b: str, *, both: bool = True) -> None: ...
    def heal(self, a: str | None = None, b: str | None = None) -> None:
        """Back to the profile's states; without arguments, every link."""
        ...

    def counters(self, a: str, b: str) -> LinkCounters: ...
    def lacking(self) -> Mapping[str, str]:
        """Direction a>b -> what the profile asks of it and cannot be had here. Where links are packets: nothing."""
        ...


class Egress(Protocol):
    def attempts(
        self, site: str, since_s: float = 0.0, *, include_canaries: bool = False
    ) -> Sequence[EgressAttempt]: ...
    def plant(self, site: str) -> Mapping[str, bool]:
        """Send one canary of each kind from inside the sealed site: kind -> seen by the ledger."""
        ...

    def mode(self, answer: str) -> None:
        """How the sentinel answers: drop, reject or answer."""
        ...


class Clock(Protocol):
    def freeze(self, node: str, at_s: float) -> None: ...
    def release(self, node: str) -> None: ...


class Vendor(Protocol):
    """The vendor's signing keys (test keys, trusted by the deployment)."""

    def sign(
        self,
        kind: str,
        payload: Mapping[str, Any] | bytes,
        *,
        header: Mapping[str, Any] | None = None,
        key: str = "vendor",
    ) -> str:
        """Compact JWS. kind: licence, bundle, policy, export (sets `typ`); key: vendor, or stranger (not trusted).
        `header` entries override; a `typ` of None drops it."""
        ...

    def public_jwk(self, key: str = "vendor") -> Mapping[str, Any]: ...
    def licence_claims(self, node: Node, **changes: Any) -> dict[str, Any]:
        """Claims of a licence valid for the node now, with changes; a value of None drops the claim."""
        ...


@dataclass(frozen=True)
class Calibration:
    """Asked against measured, one row per link direction and measure."""

    link: str
    measure: str  # rtt_s, rate_bps, loss
    asked: float
    measured: float
    tolerance: float
    ok: bool
    samples: int


class Deployment(Protocol):
    @property
    def run_id(self) -> str: ...
    @property
    def profile(self) -> str: ...
    @property
    def path(self) -> str | None:
        """ "A>B", "B>C" for migration paths."""
        ...

    @property
    def modes(self) -> Mapping[str, Mode]: ...
    @property
    def subject(self) -> Node:
        """The node that the profile is about (source node for a path)."""
        ...

    @property
    def target(self) -> Node | None:
        """Target node of a path."""
        ...

    @property
    def parent(self) -> Node | None:
        """Parent (edge) or remote control plane (tethered)."""
        ...

    @property
    def nodes(self) -> Mapping[str, Node]: ...
    @property
    def capabilities(self) -> frozenset[Capability]: ...
    @property
    def missing(self) -> Mapping[Capability, str]:
        """Capability -> why, and what to do."""
        ...

    @property
    def links(self) -> Links: ...
    @property
    def egress(self) -> Egress: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def vendor(self) -> Vendor: ...
    @property
    def calibration(self) -> Sequence[Calibration]: ...
    @property
    def canaries(self) -> Mapping[str, Mapping[str, bool]]:
        """Site -> kind -> seen."""
        ...

    @property
    def seed(self) -> int: ...
    @property
    def ready_s(self) -> Mapping[str, float]:
        """Node -> seconds from start to ready."""
        ...

    @property
    def ready_limit_s(self) -> Mapping[str, float]:
        """Node -> limit of the profile."""
        ...

    @property
    def workdir(self) -> Path: ...

    def heal(self) -> None:
        """Undo every fault: links, sentinel mode, clocks, dead services; wait until all nodes are ready."""
        ...


@dataclass
class Evidence:
    """What a check observed; goes to the journal with its verdict. Values must be JSON-serialisable."""

    expected: str = ""
    observed: str = ""
    items: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str, value: Any) -> None:
        self.items[name] = value
