"""Faults between a node and what it depends on inside its site: a Toxiproxy in the node's own site, on loopback.

    with provision(profile, dependencies=True) as deployment:
        deployment.dependencies.set("saas/postgres", "latency", delay_s=0.5)
        deployment.dependencies.cut("saas/postgres")          # refused, living connections closed
        deployment.dependencies.heal("saas/postgres")

Only where it is asked for: a proxy costs each query some tenths of a millisecond.
"""

from __future__ import annotations

from collections.abc import Sequence

import psycopg

from environments.contract import SuiteError, untestable
from environments.drivers.local import postgres
from environments.drivers.local.hosts import SiteHost, service_environment
from environments.drivers.local.node import LocalNode
from environments.network.toxics import kinds
from environments.network.toxics.client import Toxiproxy, ToxiproxyError
from environments.network.toxics.running import command, listening

PROXY_PORT = 15432  # in a site with a namespace of its own


class DependencyFaults:
    """`node/dependency` -> faults of every connection of that node to it. Today: the PostgreSQL of each node."""

    def __init__(self) -> None:
        self._clients: dict[str, Toxiproxy] = {}

    def names(self) -> Sequence[str]:
        return list(self._clients)

    def set(
        self, name: str, toxic: str, *, stream: str = "downstream", toxicity: float = 1.0, **attributes: float
    ) -> None:
        """A toxic by its Toxiproxy name (latency, bandwidth, slow_close, timeout, reset_peer, slicer, limit_data) with
        attributes in our units (see toxics/kinds.py); a second of the same kind and stream takes the first's place.

        stream: downstream (what the dependency answers) or upstream (what the node asks). ValueError, KeyError.
        """
        client, proxy = self._at(name)
        made = kinds.made(toxic, **attributes)
        present = f"{made.kind}_{stream}"
        try:
            if present in client.toxics(proxy):
                client.update_toxic(proxy, present, made, toxicity=toxicity)
            else:
                client.add(proxy, made, stream=stream, toxicity=toxicity)
        except ToxiproxyError as error:
            raise _broken(name, error) from error

    def cut(self, name: str) -> None:
        """Connections are refused from now on, and living ones closed. For silence: set(name, "timeout", after_s=0)."""
        client, proxy = self._at(name)
        try:
            client.disable(proxy)
        except ToxiproxyError as error:
            raise _broken(name, error) from error

    def heal(self, name: str | None = None) -> None:
        """No faults; without a name, of every dependency."""
        for each in [name] if name else self.names():
            client, _ = self._at(each)
            try:
                client.reset()
            except ToxiproxyError as error:
                raise _broken(each, error) from error

    def _at(self, name: str) -> tuple[Toxiproxy, str]:
        if not self._clients:
            untestable("dependency faults were not asked for: provision(..., dependencies=True)")
        if name not in self._clients:
            raise KeyError(f"no dependency {name!r}; dependencies: {', '.join(self._clients)}")
        return self._clients[name], name.partition("/")[2]

    def interpose(self, node: LocalNode, client: Toxiproxy, port: int) -> None:
        """Before a node is installed: its way to its database leads through a proxy of the server in its site, that
        listens at `port` there. SuiteError if that cannot be."""
        try:
            client.create("postgres", f"127.0.0.1:{node.config['ports']['postgres']}", f"127.0.0.1:{port}")
        except ToxiproxyError as error:
            raise _broken(f"{node.name}/postgres", error) from error
        password = psycopg.conninfo.conninfo_to_dict(node.config["postgres_app_dsn"])["password"]
        node.config["postgres_app_dsn"] = postgres.app_dsn(port, str(password))
        self._clients[f"{node.name}/postgres"] = client


def builtin(node: LocalNode, host: SiteHost, seed: int) -> Toxiproxy:
    """Our server, as a process of the node's site."""
    with listening() as api:  # made here: the suite reaches the API, whatever namespace the proxies are in
        client = Toxiproxy(port=api.getsockname()[1])
        node.instruments.add(
            host.spawn(
                command(0, seed),
                env=service_environment(sealed=False),
                log_path=node.home / "logs" / "toxics.log",
                stdin=api.fileno(),
            )
        )
    return client


def _broken(name: str, error: Exception) -> SuiteError:
    return SuiteError(f"the proxy of {name} failed, so what ran through it proves nothing: {error}")
