"""Who keeps the keys of a node in containers: a file in A and B, SoftHSM in C, a TPM (swtpm) in D.

SoftHSM is a library, so the customer's HSM is a folder that the product's containers see, and only its security
officer's PIN, which they are not given, opens it for management. The TPM is a container of the site that has no
network of its own to be found on: the product reaches it by a socket."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from environments.drivers.containers import labels
from environments.drivers.containers.engine import Containers, Spec
from environments.drivers.containers.runner import TPM, ContainerRunner, own
from environments.drivers.custody import HSM_VARIANTS, LIMIT_S, TOKEN, Execute, NodeCustody, file_store, wrapped_keys
from environments.drivers.local.node import LocalNode
from environments.drivers.local.processes import write_private

if TYPE_CHECKING:
    from environments.images.manifest import Built

MODULE = "/usr/lib/softhsm/libsofthsm2.so"
TPM_MEMORY_BYTES = 128 << 20


def settle(containers: Containers, images: Mapping[str, Built], node: LocalNode) -> str:
    """Give the node its key store, before it is installed. -> what it lacks; empty: what its mode promises is there."""
    if node.variant in HSM_VARIANTS:
        return _hsm(images["companyos"], node)
    if node.variant == "edge" and "tpm" in images:
        return _tpm(containers, images, node)
    node.custody = file_store(node, node.home / "config" / "wrapping-key")
    own(node.home / "config", images["companyos"])
    return ""


def _hsm(product: Built, node: LocalNode) -> str:
    folder = node.home / "hsm"
    (folder / "tokens").mkdir(parents=True, mode=0o700)
    runner = _runner(node)
    inside = runner.folders.inside[folder]
    write_private(folder / "softhsm2.conf", f"directories.tokendir = {inside}/tokens\nlog.level = ERROR\n")
    own(folder, product)
    pins = {"COMPANYOS_SO_PIN": secrets.token_hex(12), "COMPANYOS_USER_PIN": secrets.token_hex(12)}
    pin = node.home / "config" / "pin"
    write_private(pin, pins["COMPANYOS_USER_PIN"])
    own(pin, product)
    node.config["key_store"] = {
        "kind": "pkcs11",
        "module": MODULE,
        "module_config": str(folder / "softhsm2.conf"),
        "token": TOKEN,
        "pin_file": str(pin),
    }
    node.custody = NodeCustody(_within(runner), lambda: wrapped_keys(node), pins)
    return ""


def _tpm(containers: Containers, images: Mapping[str, Built], node: LocalNode) -> str:
    folder = node.home / "tpm"
    folder.mkdir(mode=0o710)  # the TPM's; the product may pass
    (folder / "state").mkdir(mode=0o700)
    own(folder, images["tpm"])
    os.chown(folder, images["tpm"].uid, images["companyos"].uid)
    runner = _runner(node)
    place = runner.place
    address = f"{TPM}/sock"
    containers.start(
        Spec(
            images["tpm"],
            f"{place.node}-tpm",
            {labels.SITE: place.site, labels.NODE: place.node, labels.SERVICE: "tpm"},
            f"container:{place.pod.container_id}",
            [
                *("socket", "--tpm2", "--tpmstate", f"dir={TPM}/state", "--flags", "not-need-init,startup-clear"),
                *("--server", f"type=unixio,path={address},mode=0666"),  # whoever may pass the folder
                *("--ctrl", f"type=unixio,path={address}.ctrl,mode=0666"),
            ],
            ["/usr/bin/swtpm"],
            mounts={folder: (TPM, "rw")},
            memory_bytes=TPM_MEMORY_BYTES,
        )
    )
    node.config["key_store"] = {"kind": "tpm", "tcti": f"swtpm:path={address}"}
    node.custody = NodeCustody(_within(runner), lambda: wrapped_keys(node))
    return ""


def _runner(node: LocalNode) -> ContainerRunner:
    assert isinstance(node.runner, ContainerRunner)
    return node.runner


def _within(runner: ContainerRunner) -> Execute:
    """Run the tool in a container of the product's image, in the node's site: where its HSM or TPM can be reached."""

    def execute(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str]:
        return runner.keys(arguments, environment, LIMIT_S)

    return execute
