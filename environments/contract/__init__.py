"""The contract between suites and deployments: see docs/contract.md."""

from environments.contract.browser import Browser, ConsoleLine, PageRequest
from environments.contract.containers import ContainerFacts, ImageFile, Mount, ProcessFacts
from environments.contract.custody import Custody, KeyFacts
from environments.contract.deployment import (
    Calibration,
    Capability,
    Client,
    Deployment,
    EgressAttempt,
    Evidence,
    HttpSession,
    LinkCounters,
    Links,
    Listener,
    Mode,
    Node,
    Stream,
    User,
    Vendor,
)
from environments.contract.directory import Directory
from environments.contract.faults import Clock, Disks
from environments.contract.messages import Request, Response, TransportError
from environments.contract.payments import PaymentRequest, Payments
from environments.contract.release import Artifact, Release
from environments.contract.requirement import SuiteError, Untestable, Vacuous, requirement, untestable, vacuous
from environments.contract.resources import Limits, Resources, Use
from environments.link import Episode, LinkState

__all__ = [
    "Artifact",
    "Browser",
    "Calibration",
    "Capability",
    "Client",
    "Clock",
    "ConsoleLine",
    "ContainerFacts",
    "Custody",
    "Deployment",
    "Directory",
    "Disks",
    "EgressAttempt",
    "Episode",
    "Evidence",
    "HttpSession",
    "ImageFile",
    "KeyFacts",
    "Limits",
    "LinkCounters",
    "LinkState",
    "Links",
    "Listener",
    "Mode",
    "Mount",
    "Node",
    "PageRequest",
    "PaymentRequest",
    "Payments",
    "ProcessFacts",
    "Release",
    "Request",
    "Resources",
    "Response",
    "Stream",
    "SuiteError",
    "TransportError",
    "Untestable",
    "Use",
    "User",
    "Vacuous",
    "Vendor",
    "requirement",
    "untestable",
    "vacuous",
]
