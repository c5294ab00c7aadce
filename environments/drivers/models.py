"""The model server of a node: llama.cpp on a language model that is small enough for any core.

Edges and hosted nodes have one; on-prem has one only with a GPU. The model is a file of the release that the product
is given too, so that it can say by digest what it serves. On a plain host, it is used where CONFORM_LLAMA names it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from environments.contract import Capability, SuiteError
from environments.drivers.local.deployment import LocalDeployment
from environments.drivers.local.hosts import free_port
from environments.drivers.local.node import LocalNode
from environments.drivers.runner import Component

LLAMA = "CONFORM_LLAMA"  # llama.cpp's llama-server
VARIANTS = ("edge", "saas", "dedicated")
ALIAS, FILE = "companyos-tiny", "tiny.gguf"
SHIPPED, FOLDER = "/usr/share/models", "/var/lib/models"  # in its image; where a node in containers has the release's
PORT, PROGRAM, MEMORY_BYTES, READY_S = 8080, "/usr/bin/llama-server", 256 << 20, 30.0
NO_GPU = "on-prem nodes serve a model with a GPU only, and this deployment has none"


@dataclass(frozen=True)
class ModelServer:
    """program: where nodes run as processes, none in containers. model: GGUF."""

    program: Sequence[str]
    model: bytes


def of_this_host() -> ModelServer | str:
    program = os.environ.get(LLAMA)
    if program is None or not os.access(program, os.X_OK):
        return f"plain processes here, and {LLAMA} names no llama-server. Use --driver containers"
    if importlib.util.find_spec("gguf") is None:
        return "the package gguf is not installed. pip install 'companyos-conform[containers]'"
    from environments.images import model

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, FILE)
        model.write(path)
        return ModelServer((program,), path.read_bytes())


def served(deployment: LocalDeployment) -> list[LocalNode]:
    return [node for node in deployment.locals.values() if node.variant in VARIANTS]


def put_within(deployment: LocalDeployment, server: ModelServer | str) -> dict[str, str]:
    """The server into each node that has one. -> the models of the release: name -> digest."""
    if deployment.locals[deployment.spec.subject].variant not in VARIANTS:
        deployment.missing[Capability.MODEL_SERVER] = NO_GPU
    elif isinstance(server, str):
        deployment.missing[Capability.MODEL_SERVER] = server
    if isinstance(server, str) or not served(deployment):
        return {}
    namespaced = Capability.PACKET_LINKS in deployment.capabilities
    for node in served(deployment):
        _put(node, server, PORT if namespaced else free_port())
    return {FILE: f"sha256:{hashlib.sha256(server.model).hexdigest()}"}


def _put(node: LocalNode, server: ModelServer, port: int) -> None:
    folder = node.home / "models"
    folder.mkdir(mode=0o755)
    (folder / FILE).write_bytes(server.model)
    (folder / FILE).chmod(0o644)
    seen = str(folder) if server.program else FOLDER
    argv = [*(server.program or (PROGRAM,)), "--model", f"{seen}/{FILE}", "--alias", ALIAS]
    argv += ["--host", "127.0.0.1", "--port", str(port), "--threads", "1", "--ctx-size", "512"]
    argv += ["--parallel", "1", "--no-webui", "--seed", "1"]
    mounts = {folder: (FOLDER, "ro")}
    node.put_within("llama", Component("llama", argv, port, mounts, memory_bytes=MEMORY_BYTES))
    node.config["model_server"] = f"http://127.0.0.1:{port}"
    node.config["model_file"] = str(folder / FILE)


def await_answer(node: LocalNode) -> None:
    """Until the node says that it can infer: a check that is quicker would see a capability come up."""
    if "llama" not in node.services:
        return
    url = node.url("data") + "/.well-known/companyos"
    deadline = time.monotonic() + READY_S
    while True:
        if "inference" in node.http().request("GET", url).json()["capabilities"]:
            return
        if not node.alive("llama") or time.monotonic() > deadline:
            raise SuiteError(f"{node.name}: llama-server does not answer. It said: {node.logs('llama')[-500:]}")
        time.sleep(0.05)  # the poll interval of a named condition with a deadline
