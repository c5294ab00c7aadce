"""Who keeps the keys of a local node: SoftHSM for on-prem nodes where the host has it, else a file apart from data."""

from __future__ import annotations

import importlib.util
import os
import secrets
from pathlib import Path

from environments.drivers.custody import HSM_VARIANTS, TOKEN, NodeCustody, beside, file_store, wrapped_keys
from environments.drivers.local.node import LocalNode
from environments.drivers.local.processes import write_private

LIBRARIES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
)


def softhsm() -> Path | str:
    """SoftHSM's library (SOFTHSM2_MODULE in the environment names another), or what is missing and what to do."""
    asked = os.environ.get("SOFTHSM2_MODULE")
    found = [Path(name) for name in ([asked] if asked else LIBRARIES) if Path(name).exists()]
    if not found:
        return "an HSM: softhsm2 is not installed. apt install softhsm2, or use --driver containers"
    if importlib.util.find_spec("pkcs11") is None:
        return "an HSM: the package python-pkcs11 is not installed. pip install python-pkcs11"
    return found[0]


def settle(node: LocalNode) -> str:
    """Give the node its key store, before it is installed. -> what it lacks; empty if it has what its mode promises."""
    folder = node.home / "keys"
    folder.mkdir(mode=0o700)
    library = softhsm() if node.variant in HSM_VARIANTS else ""
    if isinstance(library, str):
        node.custody = file_store(node, folder / "wrapping-key")
        return library
    (folder / "tokens").mkdir(mode=0o700)
    write_private(folder / "softhsm2.conf", f"directories.tokendir = {folder / 'tokens'}\nlog.level = ERROR\n")
    pins = {"COMPANYOS_SO_PIN": secrets.token_hex(12), "COMPANYOS_USER_PIN": secrets.token_hex(12)}
    write_private(folder / "pin", pins["COMPANYOS_USER_PIN"])
    node.config["key_store"] = {
        "kind": "pkcs11",
        "module": str(library),
        "module_config": str(folder / "softhsm2.conf"),
        "token": TOKEN,
        "pin_file": str(folder / "pin"),
    }
    node.custody = NodeCustody(beside(node), lambda: wrapped_keys(node), pins)
    return ""
