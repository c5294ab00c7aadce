"""What a check is given. Suites import this package and nothing else of `environments`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from environments.contract.browser import Browser
from environments.contract.containers import ContainerFacts, ImageFile
from environments.contract.custody import Custody
from environments.contract.faults import Clock, Disks
from environments.contract.messages import Response
from environments.contract.payments import Payments
from environments.contract.release import Release
from environments.contract.resources import Resources
from environments.link import LinkState

if TYPE_CHECKING:
    from environments.contract.directory import Directory


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
    DISK_FAULTS = "disk-faults"  # make the disk of a node full, read-only or slow
    FILE_ACCESS = "file-access"  # the node's configuration and data files can be read
    LISTENERS = "listeners"  # the sockets that listen in a site can be enumerated
    PAYMENTS = "payments"  # the payment provider of hosted nodes is a stand-in that records and can fail
    CONTAINERS = "containers"  # services run in containers of images whose digests and settings can be inspected
    GRAPH_DATABASE = "graph-database"  # the graph of a core node is kept in a database of its own
    POLICY_SERVER = "policy-server"  # policy is decided by a server beside the API, which can be broken
    MODEL_SERVER = "model-server"  # the node serves a language model
    DIRECTORY = "directory"  # the customer's LDAP directory or identity provider, whose accounts the suite manages
    KEY_CUSTODY = "key-custody"  # the customer's HSM or the node's TPM, whose keys the suite can take away
    BROWSER = "browser"  # a Chromium of this host, that runs inside a node's site
    RESOURCE_LIMITS = "resource-limits"  # the memory and CPU of a node are limited by the kernel, and measured


@dataclass(frozen=True)
class LinkCounters:
    offered: int
    delivered: int
    dropped: Mapping[str, int]  # by cause: loss, queue, down, mtu, half_open
    bytes_offered: int
    bytes_delivered: int
    duplicated: int = 0
    reordered: int = 0
    corrupted: int = 0
    fragmented: int = 0
    queue_s: float = 0.0  # what waits for the rate now
    queue_bytes: int = 0
    most_queue_s: float = 0.0


@dataclass(frozen=True)
class EgressAttempt:
    """One row of the egress ledger; docs/egress.md says what each column can and cannot tell."""

    t_s: float  # seconds since the epoch
    site: str
    protocol: str  # tcp, udp, icmp, icmp6, dns (a question over UDP), other
    destination: str
    port: int | None
    name: str | None = None  # DNS question, SNI, Host, or the name that was answered with this address
    ip_version: int = 4
    phase: str = ""  # of the run; or canary, or allowed (by the profile)
    service: str = ""  # dns, dot, doh, https, http, ntp, quic, stun, syslog, mdns, ...; empty: not recognised
    warning: bool = False  # talk to neighbours (mDNS, LLMNR, SSDP, DHCP), which no router would let out
    pid: int | None = None  # who sent it; None if it had ended before it was found
    command: str | None = None  # its command line, shortened
    flow: int = 0  # number of the attempt
    source_port: int | None = None
    trusted: bool = False  # its client took the certificate of the answering sentinel, for which nobody vouches
    said: str | None = None  # what it told the answering sentinel, inside TLS too if it trusted it

    @property
    def counts(self) -> bool:
        """Whether it is an attempt to leave that nobody allowed."""
        return not self.warning and self.phase not in ("allowed", "canary")


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


class Stream(Protocol):
    """An answer that goes on, as of server-sent events; what has come of it so far, at most 4 MiB."""

    status: int

    @property
    def body(self) -> bytes: ...
    @property
    def ended(self) -> bool:
        """Whether the other side ended it, or it was cut off."""
        ...


class HttpSession(Protocol):
    """Raw HTTP from inside a site. Raises TransportError when there is no answer. Never follows redirects."""

    def relay(self, url: str) -> AbstractContextManager[str]:
        """A base URL on this host's loopback through which another program reaches `url` (scheme, host and port) as
        from inside the site."""
        ...

    def stream(
        self, url: str, *, headers: Mapping[str, str] | None = None, timeout_s: float = 10.0
    ) -> AbstractContextManager[Stream]:
        """GET, and keep reading until the block ends. timeout_s: for the head of the answer. TransportError."""
        ...

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

    def browser(self) -> AbstractContextManager[Browser]:
        """A real browser at the node's site; needs Capability.BROWSER."""
        ...

    def login(self, user: User, origin: str | None = None) -> Client: ...
    def anonymous(self, origin: str | None = None) -> Client: ...
    def alive(self, service: str) -> bool: ...
    def kill(self, service: str) -> None:
        """SIGKILL, and wait until it is gone. Expected by the supervisor: not counted as a crash."""
        ...

    def pause(self, service: str) -> None:
        """SIGSTOP to it and its children: it holds its connections and answers nothing. It is not crashed."""
        ...

    def resume(self, service: str) -> None:
        """Go on after `pause`; nothing happens if it is not paused."""
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
    def containers(self) -> Sequence[ContainerFacts]:
        """Every container that shares the network of the node's site; needs Capability.CONTAINERS."""
        ...

    def sql(self) -> Any:
        """A psycopg superuser connection (autocommit) to the node's PostgreSQL; needs Capability.SQL_AUDIT."""
        ...

    def image_files(self, container: ContainerFacts) -> Sequence[ImageFile]:
        """Every file that the container's image brought, as its processes see it; needs Capability.CONTAINERS."""
        ...

    def image_file(self, container: ContainerFacts, path: str) -> bytes:
        """One of them. FileNotFoundError."""
        ...

    def resources(self) -> Resources:
        """What its services may use and what they use; needs Capability.RESOURCE_LIMITS."""
        ...

    def files(self) -> Sequence[Path]:
        """Configuration, log and release files of the node, for scans; needs Capability.FILE_ACCESS."""
        ...

    @property
    def data_dir(self) -> Path: ...
    def host_path(self, path: str) -> Path:
        """A path as a service of the node writes it, as this host has it: a container sees other names."""
        ...

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
    def attempts(self, site: str, since_s: float = 0.0, *, include_canaries: bool = False) -> Sequence[EgressAttempt]:
        """Those that count, and the canaries if asked: neither what the profile allows nor warnings."""
        ...

    def ledger(
        self, site: str | None = None, since_s: float = 0.0, *, include_canaries: bool = False
    ) -> Sequence[EgressAttempt]:
        """Every row, allowed ones and warnings too."""
        ...

    def plant(self, site: str) -> Mapping[str, bool]:
        """Send one canary of each kind from inside the sealed site: kind -> seen by the ledger."""
        ...

    def mode(self, answer: str) -> None:
        """How the sentinel answers: drop, reject or answer."""
        ...


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
    measure: str  # delay_s, jitter_s, rate_bps, trace_s, loss, burst, outage_s per direction; rtt_s per link
    asked: float
    measured: float
    tolerance: float
    ok: bool
    samples: int
    low: float | None = None  # 99 % confidence interval of what was measured, where one can be given
    high: float | None = None
    cached_at: str | None = None  # when it was measured, if earlier on this host


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
    def disks(self) -> Disks: ...
    @property
    def vendor(self) -> Vendor: ...
    @property
    def payments(self) -> Mapping[str, Payments]:
        """Node -> its payment provider; hosted nodes have one."""
        ...

    @property
    def directories(self) -> Mapping[str, Directory]:
        """Node -> the directory of its customer's people; those of B and C have one."""
        ...

    @property
    def release(self) -> Release: ...
    def custody(self, node: str) -> Custody:
        """Who keeps the keys of the node. Needs Capability.KEY_CUSTODY."""
        ...

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
        """Undo every fault: links, sentinel mode, clocks, disks, withdrawn keys, paused and dead services; wait until
        all nodes are ready."""
        ...


@dataclass
class Evidence:
    """What a check observed; goes to the journal with its verdict. Values must be JSON-serialisable."""

    expected: str = ""
    observed: str = ""
    items: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str, value: Any) -> None:
        self.items[name] = value
