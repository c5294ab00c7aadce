"""What runs the services of a node: the one thing, beside where a site comes from, in which drivers differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from environments.contract import ContainerFacts, Resources


@dataclass(frozen=True)
class Component:
    """A server of somebody else's in a node's site. argv: its program and arguments, with paths as it sees them."""

    image: str  # where nodes run in containers
    argv: Sequence[str]  # none: those of its image
    port: int  # where it listens, on loopback
    mounts: Mapping[Path, tuple[str, str]] = field(default_factory=dict)  # folder here -> (as it sees it, ro or rw)
    env: Mapping[str, str] = field(default_factory=dict)
    memory_bytes: int = 256 << 20


class Runner(Protocol):
    """Services of one node, by name. SuiteError where what runs them (the site's agent, the engine) is gone."""

    components: dict[str, Component]  # services that are neither the product's nor its PostgreSQL

    def write_config(self, path: Path, config: Mapping[str, Any]) -> None:
        """The configuration in a file that its services alone read, with paths as they see them."""
        ...

    def start(self, service: str, config: Path, env: Mapping[str, str]) -> int:
        """Start it; the id of its main process on this host. config: what it reads (PostgreSQL reads none)."""
        ...

    def ended(self, service: str) -> str | None:
        """How the process that was started last has ended, in words; None while it runs."""
        ...

    def signal(self, service: str, number: int) -> None:
        """To its main process; nothing happens if that has ended."""
        ...

    def kill(self, service: str) -> None:
        """SIGKILL, paused or not."""
        ...

    def pause(self, service: str) -> None:
        """It and its children stand still, and keep what they hold open."""
        ...

    def resume(self, service: str) -> None: ...
    def logs(self, service: str) -> str:
        """All that it has said since the node was made."""
        ...

    def host_path(self, path: str) -> Path:
        """Of a path as its services write it."""
        ...

    def abandon(self) -> None:
        """End everything at once, so that whoever waits for it hears of its end, and start nothing any more."""

    def facts(self) -> Sequence[ContainerFacts]:
        """The containers in the node's site; none where services are processes."""
        ...

    def resources(self) -> Resources:
        """Of its product's services; `untestable` where the kernel limits nothing."""
        ...

    def keep_logs(self) -> None:
        """Have them as files in the node's folder of logs."""
        ...
