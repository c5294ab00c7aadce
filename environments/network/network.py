"""The network of a deployment: sites, the router between them, its links and its egress ledger.

with Network.start("run-1", [SitePlan("core", 0), SitePlan("edge-1", 1, sealed=True)],
                   {("edge-1", "core"): LinkState(delay_s=0.3, rate_bps=250_000)}, seed=42, workdir=path) as network:
    network.site("core").spawn(["python", "-m", "http.server", "4000"])
    network.links.cut("edge-1", "core")
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from environments.contract.deployment import Calibration, LinkCounters
from environments.contract.requirement import SuiteError
from environments.link import LinkState, traces
from environments.network import addresses, calibration, zygote
from environments.network.capture import LIMIT_BYTES
from environments.network.client import RouterClient, RouterGone
from environments.network.egress import NetworkEgress
from environments.network.ledger import ANSWERED
from environments.network.site import NamespacesUnavailable, Site, SitePlan, end_process, start_process

__all__ = ["NamespacesUnavailable", "Network", "NetworkEgress", "NetworkLinks", "Site", "SitePlan", "probe"]

_START_S = 20.0
CAPTURE = "capture"  # folder of the captures, in the deployment's


class NetworkLinks:
    """The contract's Links, by commands to the router; a change holds when the call returns."""

    def __init__(self, network: Network, names: Sequence[str]) -> None:
        self._network, self._names = network, list(names)

    def names(self) -> Sequence[str]:
        return list(self._names)

    def get(self, a: str, b: str) -> LinkState:
        for link in self._network.ask("show")["links"]:
            if (link["a"], link["b"]) == (a, b):
                return LinkState(**link["asked"])
        raise KeyError(f"no link {a}--{b}; links: {', '.join(self._names) or 'none'}")

    def set(self, a: str, b: str, state: LinkState, *, both: bool = True) -> None:
        self._network.ask("set", a=a, b=b, state=asdict(state), both=both)

    def cut(self, a: str, b: str, *, both: bool = True, reject: bool = False, half_open: bool = False) -> None:
        """Nothing arrives from now on; what was on its way is lost too.

        reject: refused at once (RST, ICMP unreachable). half_open: connections that are open now hear nothing more.
        """
        self._network.ask("cut", a=a, b=b, both=both, reject=reject, half_open=half_open)

    def heal(self, a: str | None = None, b: str | None = None) -> None:
        self._network.ask("heal", a=a, b=b)

    def lacking(self) -> Mapping[str, str]:
        """Packets can do all that a profile asks."""
        return {}

    def counters(self, a: str, b: str) -> LinkCounters:
        [counters] = self._network.ask("counters", a=a, b=b)["counters"].values()
        return LinkCounters(**counters)


class Network:
    """Sites joined by one router. Made by `start`; `stop` ends it, and so does the end of this process."""

    def __init__(self, run_id: str, workdir: Path, seed: int, sites: Mapping[str, Site]) -> None:
        self.run_id, self.workdir, self.seed, self.sites = run_id, workdir, seed, sites
        self._defects: Sequence[str] = ()
        self.links = NetworkLinks(self, [])
        self.egress = NetworkEgress(self)
        self._answerer: Site | None = None
        self._client: RouterClient | None = None
        self._channel: socket.socket
        self._router: zygote.Started

    @classmethod
    def start(
        cls,
        run_id: str,
        sites: Sequence[SitePlan],
        links: Mapping[tuple[str, str], LinkState],
        seed: int,
        workdir: Path,
        *,
        allow: Sequence[str] = (),
        answer: str = "drop",
        defects: Sequence[str] = (),
    ) -> Network:
        """Stand it up; about 0.2 s for two sites.

        links: (a, b) -> state of a -> b, and of b -> a too unless (b, a) is given. allow: CIDRs and host names whose
        attempts the ledger marks `allowed`. answer: see NetworkEgress.mode.
        Raises NamespacesUnavailable, ValueError (names, indices), SuiteError.
        """
        _check(sites, links)
        workdir.mkdir(parents=True, exist_ok=True)
        network = cls(run_id, workdir, seed, {})
        network._defects = defects
        network._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        network._channel.settimeout(_START_S)
        network._channel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        flags = [each for name in defects for each in ("--defect", name)]
        with theirs:
            network._router = start_process("environments.network.router", theirs.fileno(), run_id, *flags)
        network.sites = {plan.name: Site(plan, run_id) for plan in sites}
        tuns, owners = [], []
        try:
            for site in network.sites.values():
                tun, owner = site.ready()
                tuns.append(tun)
                owners.append(owner)
            names = {pair: f"{pair[0]}--{pair[1]}" for pair in _pairs(links)}
            directions = {(b, a): state for (a, b), state in links.items()} | dict(links)
            config = {
                "run_id": run_id,
                "seed": seed,
                "workdir": str(workdir.resolve()),
                "sites": {plan.name: plan.index for plan in sites},
                "links": [
                    {"link": names.get((a, b)) or names[b, a], "a": a, "b": b, "state": asdict(state)}
                    for (a, b), state in directions.items()
                ],
                "allow": list(allow),
            }
            network._tell(config, tuns)
            network._tell({"owners": list(network.sites)}, owners)
            network._client = RouterClient(workdir)
            network.egress.mode(answer)
        except BaseException:
            network.stop()
            raise
        finally:
            for fd in (*tuns, *owners):
                os.close(fd)
        network.links = NetworkLinks(network, list(names.values()))
        return network

    def _tell(self, message: Mapping[str, Any], fds: Sequence[int]) -> None:
        try:
            socket.send_fds(self._channel, [json.dumps(message).encode()], list(fds))
            answer = self._channel.recv(65536)
        except OSError as error:
            raise SuiteError(f"the router does not answer ({error}); its own error is on standard error") from error
        if not answer:
            raise SuiteError(f"the router ended with exit code {self._router.wait()}; its error is on standard error")

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """A command to the router (see control.py). ValueError if refused, SuiteError if the router is gone."""
        if self._client is None:
            raise SuiteError("the network is stopped")
        try:
            return self._client.ask(command, **arguments)
        except RouterGone as error:
            raise SuiteError(
                f"{error} (exit code {self._router.poll()}): what ran on its links proves nothing"
            ) from error

    def site(self, name: str) -> Site:
        try:
            return self.sites[name]
        except KeyError:
            raise KeyError(f"no site {name!r}; sites: {', '.join(self.sites)}") from None

    def address(self, name: str) -> str:
        return self.site(name).address

    def address_v6(self, name: str) -> str:
        return self.site(name).address_v6

    def watch(self, lost: Callable[[str], None]) -> None:
        """Call `lost` from a thread, with the reason, at once when the router ends without having been told to."""

        def wait() -> None:
            ended = os.pidfd_open(self._router.pid)
            try:
                select.select([ended], [], [])
            finally:
                os.close(ended)
            if self._client is not None:
                lost(f"the router of this deployment died (exit code {self._router.wait()})")

        threading.Thread(target=wait, name="router watch", daemon=True).start()

    def router_alive(self) -> bool:
        """Whether the router answers, now."""
        with contextlib.suppress(SuiteError):
            return bool(self.ask("show"))
        return False

    def calibrate(
        self, effort: calibration.Effort = calibration.QUICK, cache_folder: Path | None = None
    ) -> list[Calibration]:
        """Measure every link (about 1 s), then start counters and random sequences afresh. See calibration."""
        return calibration.calibrate(self.sites, self.ask, effort, None if self._defects else cache_folder)

    def play(self, name: str, events: Sequence[Mapping[str, Any]]) -> float:
        """Let the router play link changes (see control.py) from now on, in place of what plays; the monotonic time
        that their `at_s` count from. ValueError: a link or state that is none."""
        return float(self.ask("play", name=name, events=list(events))["from_s"])

    def playing(self) -> bool:
        """Whether events of the schedule are still to come."""
        return self.ask("show")["playing"] is not None

    def stop_playing(self) -> int:
        """Drop the events still to come; how many."""
        return int(self.ask("stop-play")["left"])

    def capture_sites(self, on: bool = True, *, limit_bytes: int = LIMIT_BYTES) -> dict[str, int]:
        """Begin a pcapng per site in <workdir>/capture, each of limit_bytes at most, or end it; site -> packets."""
        folder = CAPTURE if on else None
        return dict(self.ask("capture", folder=folder, limit_bytes=limit_bytes)["packets"])

    def start_answerer(self) -> None:
        """The namespace in which a server accepts any connection to any address; once, 0.2 s."""
        if self._answerer:
            return
        site = Site(SitePlan("sentinel", addresses.SENTINEL_INDEX, answers_all=True), self.run_id)
        tun, owner = site.ready()
        os.close(owner)  # what happens there leaves nothing
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            log = self.workdir / ANSWERED
            argv: list[str | Path] = [sys.executable, "-m", "environments.network.answering", log]
            site.spawn(argv, stdin=theirs.fileno(), log_path=self.workdir / "answering.log")
            self._tell({"answerer": True}, [tun, ours.fileno()])
        finally:
            os.close(tun)
            ours.close()
            theirs.close()
        self._answerer = site

    def stop(self) -> None:
        """End the router and every site with all its processes; may be called twice."""
        if self._client:
            self._client.close()
            self._client = None
        for site in (*self.sites.values(), *filter(None, [self._answerer])):
            site.stop()
        self._channel.close()
        end_process(self._router, 5.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _pairs(links: Mapping[tuple[str, str], LinkState]) -> list[tuple[str, str]]:
    """Each link once, named as it was given first."""
    found: list[tuple[str, str]] = []
    for a, b in links:
        if (b, a) not in found:
            found.append((a, b))
    return found


def _check(sites: Sequence[SitePlan], links: Mapping[tuple[str, str], LinkState]) -> None:
    names = [plan.name for plan in sites]
    if len(set(names)) != len(names) or len({plan.index for plan in sites}) != len(sites):
        raise ValueError("two sites have the same name or index")
    for plan in sites:
        if not 0 <= plan.index < addresses.MAX_SITES:
            raise ValueError(f"site {plan.name}: index {plan.index} is not within 0..{addresses.MAX_SITES - 1}")
        if "--" in plan.name or ">" in plan.name:
            raise ValueError(f"site {plan.name}: a name may not contain -- or >")
    for state in links.values():
        if state.trace:
            traces.load(state.trace)
    for pair in links:
        unknown = [end for end in pair if end not in names]
        if unknown or pair[0] == pair[1]:
            raise ValueError(f"link {pair[0]}--{pair[1]}: {unknown[0] if unknown else pair[0]} is no other site")


def probe() -> str:
    """Make a site and end it: what this kernel grants. Raises NamespacesUnavailable, with the remedy."""
    site = Site(SitePlan("probe", 0), "probe")
    try:
        for fd in site.ready():
            os.close(fd)
    finally:
        site.stop()
    facts = site.facts
    names = "names resolve through the router" if not facts.resolver else f"no resolver of its own ({facts.resolver})"
    return f"IPv4{', IPv6' if facts.ipv6 else ''}, TCP {facts.congestion_control}, {names}"
