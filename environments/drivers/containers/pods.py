"""Sites made of containers: one that only waits holds the network namespace, and the others of the site share it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from environments.contract import SuiteError
from environments.drivers.containers import labels
from environments.drivers.containers.engine import Containers, Spec
from environments.network import addresses

if TYPE_CHECKING:
    from environments.images.manifest import Built

MEMORY_BYTES = 64 << 20


@dataclass(frozen=True)
class Pod:
    """The network namespace of a site."""

    container_id: str
    netns: Path


def write_names(folder: Path, sites: Iterable[str]) -> Mapping[Path, str]:
    """Files by which containers find names, and where they belong: a site's own name is its loopback, since servers
    look it up when they start, and the router is asked for all others."""
    texts = {
        "hosts": f"127.0.0.1 localhost {' '.join(sites)}\n::1 localhost\n",
        "resolv.conf": f"nameserver {addresses.RESOLVER_V4}\noptions timeout:2 attempts:1\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="ascii")
        (folder / name).chmod(0o644)
    return {folder / name: f"/etc/{name}" for name in texts}


def start_pods(containers: Containers, image: Built, sites: Iterable[str]) -> Mapping[str, Pod]:
    """A pod for each site, all at once. The engine gives it loopback alone; the site's agent brings the rest."""
    names = list(sites)
    with ThreadPoolExecutor(len(names)) as pool:
        return dict(zip(names, pool.map(lambda site: _start(containers, image, site), names), strict=True))


def _start(containers: Containers, image: Built, site: str) -> Pod:
    started = containers.start(
        Spec(
            image,
            f"{site}-pod",
            {labels.SITE: site, labels.SERVICE: labels.PAUSE},
            network="none",
            memory_bytes=MEMORY_BYTES,
            more={"hostname": site},
        )
    )
    if started.handle is None:
        raise SuiteError(f"the container that holds site {site} ended at once. Run `conform images verify`")
    return Pod(started.id, Path(f"/proc/{started.pid}/ns/net"))
