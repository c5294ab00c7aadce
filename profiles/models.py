"""The strict models that a profile file is validated by."""

from __future__ import annotations

import contextlib
import ipaddress
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from environments.link import LinkState

# The last label has a letter: what looks like an address, and is none, is no name either.
_HOST_NAME = re.compile(
    r"(?=.{1,253}\.?\Z)(?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?\.)*[a-z](?:[a-z0-9-]*[a-z0-9])?\.?", re.I
)
ModeName = Literal["A", "B", "Ct", "Ca", "D"]
Variant = Literal["saas", "dedicated", "connected", "tethered", "airgapped", "edge"]
SuiteName = Literal[
    "functional",
    "isolation",
    "licensing",
    "airgap",
    "sync",
    "tether",
    "migration",
    "inference",
    "security",
    "operations",
    "meta",
]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")]

MODE_OF_VARIANT: dict[str, str] = {
    "saas": "A",
    "dedicated": "B",
    "connected": "Ct",
    "tethered": "Ct",
    "airgapped": "Ca",
    "edge": "D",
}


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Site(Strict):
    """One place with one network namespace."""

    sealed: bool = False  # nothing may leave: every attempt is a finding
    mtu_bytes: int = Field(default=1500, ge=1280, le=65535)  # of its interface
    congestion_control: str | None = None  # of its TCP, pinned; None: cubic, else reno, and reported


class Limits(Strict):
    ready_s: float = Field(gt=0)  # from start to ready
    memory_bytes: int = Field(gt=0)  # resident memory of the node's own processes, PostgreSQL aside
    cpus: float | None = Field(default=None, gt=0)  # processors, where the kernel can limit them; None: all


class Licence(Strict):
    """What the licence installed at the start grants."""

    seats: int = Field(default=25, ge=1)
    features: list[str] = ["core", "maestro"]
    days: int = Field(default=365, ge=1)


class NodeSpec(Strict):
    """One installation of CompanyOS."""

    site: Name
    variant: Variant
    tenants: list[Name] = Field(min_length=1)
    customer: str
    parent: Name | None = None  # edge: the node it syncs to, if any; tethered: the node whose control plane it uses
    licence: Licence | None = None
    limits: Limits

    @property
    def mode(self) -> str:
        return MODE_OF_VARIANT[self.variant]


class Preset(Strict):
    """A named link of links.yaml. `up` leads from the first site of a link (the edge) to the second."""

    title: str
    up: LinkState
    down: LinkState | None = None  # None: as up
    source: str  # where the figures come from
    measured: str = ""  # what of them was measured by the source
    estimated: str = ""  # what is ours

    @property
    def states(self) -> tuple[LinkState, LinkState]:
        return self.up, self.down or self.up


class LinkSpec(Strict):
    between: tuple[Name, Name]
    forward: LinkState = LinkState()  # from the first site to the second
    back: LinkState | None = None  # None: as forward
    preset: str | None = None  # a name of links.yaml, instead of forward and back


def _addressable(entry: str) -> str:
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_network(entry, strict=False))
    if not _HOST_NAME.fullmatch(entry):
        raise ValueError(f"{entry!r} is neither a CIDR (10.1.0.0/16, fd00::/8) nor a host name (updates.example.org)")
    return entry.lower().rstrip(".")


Allowed = Annotated[str, AfterValidator(_addressable)]


class EgressRule(Strict):
    answer: Literal["drop", "reject", "answer"] = "drop"
    allow: list[Allowed] = []  # CIDRs and host names that may be addressed; all else outside the sites is a finding


class Profile(Strict):
    """An environment and the suites that apply to it: a file under profiles/."""

    id: Name
    title: str
    promise: str  # what the strategy document promises here, with its section
    sites: dict[Name, Site]
    nodes: dict[Name, NodeSpec]
    subject: Name  # the node that the verdicts are about
    links: list[LinkSpec] = []
    egress: EgressRule = EgressRule()
    suites: list[SuiteName]
    path: Literal["A>B", "B>C"] | None = None  # a migration path: source is the subject
    target: Name | None = None  # the node that a path leads to

    @property
    def mode(self) -> str:
        return self.nodes[self.subject].mode

    @model_validator(mode="after")
    def _references_exist(self) -> Profile:
        for name, node in self.nodes.items():
            if node.site not in self.sites:
                raise ValueError(f"nodes.{name}.site: no site {node.site!r}; sites are {sorted(self.sites)}")
            if node.parent is not None and node.parent not in self.nodes:
                raise ValueError(f"nodes.{name}.parent: no node {node.parent!r}; nodes are {sorted(self.nodes)}")
            if node.variant == "tethered" and node.parent is None:
                raise ValueError(f"nodes.{name}.parent: a node of variant {node.variant} needs one")
        for key in ("subject", "target"):
            value = getattr(self, key)
            if value is not None and value not in self.nodes:
                raise ValueError(f"{key}: no node {value!r}; nodes are {sorted(self.nodes)}")
        for index, link in enumerate(self.links):
            for site in link.between:
                if site not in self.sites:
                    raise ValueError(f"links.{index}.between: no site {site!r}; sites are {sorted(self.sites)}")
            if link.between[0] == link.between[1]:
                raise ValueError(f"links.{index}.between: a link joins two different sites")
        return self


class PathFile(Strict):
    """A migration path names two profiles; the deployment has the sites and nodes of both."""

    id: Name
    title: str
    promise: str
    path: Literal["A>B", "B>C"]
    source: Name
    target: Name
    suites: list[SuiteName]
