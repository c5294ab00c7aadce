"""What the air-gap checks do with a node."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from environments.contract import Client, Deployment, Node, Response
from suites.airgap.judges import Answered
from suites.airgap.vectors import Vector, good
from suites.exchange import assert_no_crash, document, shown

NEVER_APPLIED = "0.0.0"  # what GET /v1/bundle may say when nothing was applied yet


def operator(node: Node) -> Client:
    return node.login(node.user("operator"))


def admin_service(node: Node) -> str:
    """The service that answers the role admin."""
    return "edge" if "edge" in node.services else "control" if "control" in node.services else "data"


def apply(client: Client, body: bytes, path: str = "/v1/bundle", **headers: str) -> Response:
    sent = {"Content-Type": "application/x-tar", **headers}
    return client.admin("PUT", path, body=body, headers=sent, timeout_s=30.0)


def applied(client: Client) -> dict[str, Any]:
    """`{version, digest, members}`; version is None before the first bundle."""
    answer = client.admin("GET", "/v1/bundle")
    assert_no_crash(answer, "GET /v1/bundle")
    if answer.status == 404:
        return {"version": None, "digest": None, "members": []}
    assert answer.status == 200, f"GET /v1/bundle: {shown(answer)}"
    return document(answer)


def version_of(text: str | None) -> tuple[int, int, int]:
    numbers = [int(part) for part in (text or NEVER_APPLIED).split(".")]
    return numbers[0], numbers[1], numbers[2]


def next_version(client: Client) -> str:
    """Higher than everything this run has applied: the minor counts seconds, and never falls."""
    major, minor, _ = version_of(applied(client)["version"])
    return f"{major}.{max(minor + 1, int(time.time()) - 1_600_000_000)}.0"


def apply_good(deployment: Deployment, client: Client, version: str | None = None, body: bytes | None = None) -> str:
    """The positive control: a genuine bundle is accepted and in force. Returns its version."""
    version = version or next_version(client)
    answer = apply(client, body if body is not None else good(deployment.vendor, version))
    assert_no_crash(answer, "a genuine bundle")
    assert answer.status < 300, f"a genuine bundle was refused: {shown(answer)}"
    assert applied(client)["version"] == version, f"a genuine bundle is not in force: {applied(client)}"
    return version


def apply_all(client: Client, vectors: Iterable[Vector]) -> list[Answered]:
    answers = []
    for each in vectors:
        answer = apply(client, each.body)
        answers.append(Answered(each.name, each.codes, answer.status, answer.error_code))
    return answers


STANDS_ON = frozenset({"postgres", "neo4j", "opa", "llama", "tpm"})


def restart(
    node: Node,
    *,
    env: Mapping[str, str] | None = None,
    config: Mapping[str, Any] | None = None,
    limit_s: float = 30.0,
) -> float:
    """kill -9 of every service that reads the node's configuration, and a start with what is given; seconds until it
    was ready. What they stand on (database, graph, policy server, key store) goes on.

    TimeoutError if it is not after limit_s."""
    services = [service for service in node.services if service not in STANDS_ON]
    for service in services:
        node.kill(service)
    for service in services:
        node.start(service, env=env, config=config)
    return node.wait_ready(limit_s)


# files


def releases(node: Node) -> dict[str, str]:
    """Everything under the releases folder, links unfollowed: path -> digest, target or kind."""
    root = node.data_dir / "releases"
    return {str(path.relative_to(root)): _fingerprint(path) for path in walk(root)}


def walk(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root, followlinks=False):
        for name in (*folders, *files):
            yield Path(folder) / name


def _fingerprint(path: Path) -> str:
    try:
        if path.is_symlink():
            return f"-> {path.readlink()}"
        if path.is_file():
            return f"{path.stat().st_mode:o} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        return f"{path.stat().st_mode:o}"
    except OSError as error:
        return type(error).__name__


def marked(roots: Iterable[Path], mark: str, but: Path) -> list[str]:
    """Paths below the roots whose name carries the mark, except inside `but`."""
    found = {str(p) for root in roots for p in walk(root) if mark in p.name and but not in p.parents}
    return sorted(found)


@contextmanager
def victim_folder(deployment: Deployment, mark: str) -> Iterator[Path]:
    """A folder that anybody may write to, with a file `keep`: where an escape would show."""
    folder = deployment.workdir / f"victim-{mark}"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    keep = folder / "keep"
    keep.write_text("untouched\n")
    keep.chmod(0o666)
    try:
        yield folder
    finally:
        for path in sorted(walk(folder), reverse=True):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        folder.rmdir()


def watched(node: Node, victim: Path) -> dict[str, str]:
    """Digests of the files that no bundle may touch: the victim's, and the node's keys and configuration."""
    found = {str(path): _fingerprint(path) for path in walk(victim)}
    keys = node.data_dir / "keys"
    return found | {str(path): _fingerprint(path) for path in walk(keys)}
