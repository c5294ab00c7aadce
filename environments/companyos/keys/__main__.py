"""The keys of a node, for whoever administers its HSM, its TPM or its key file.

`python -m environments.companyos.keys --config node.json prepare|withdraw|give-back|facts|unwrap`

Answers one JSON object, or `{error}` and exit 1. For an HSM, the environment holds what its owner alone knows:
COMPANYOS_SO_PIN, and COMPANYOS_USER_PIN.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import secrets
import sys
from pathlib import Path
from typing import Any

from environments.companyos.config import KeyStoreConfig, NodeConfig
from environments.companyos.keys import KeyUnavailable, filed, hsm, open_key_store, tpm

WITHDRAWN = ".withdrawn"


def prepare(config: KeyStoreConfig) -> dict[str, Any]:
    """Make the wrapping key, unless there is one, and where it is an HSM's also its token."""
    if config.kind == "pkcs11":
        hsm.initialise(config, os.environ["COMPANYOS_SO_PIN"], os.environ["COMPANYOS_USER_PIN"])
    {"file": filed.prepare, "pkcs11": hsm.prepare, "tpm": tpm.prepare}[config.kind](config)
    return facts(config)


def withdraw(config: KeyStoreConfig) -> dict[str, Any]:
    """The owner takes the key away: another PIN, no key at the handle, no file."""
    if config.kind == "pkcs11":
        hsm.change_pin(config, os.environ["COMPANYOS_SO_PIN"], secrets.token_hex(12))
    elif config.kind == "tpm":
        tpm.evict(config)
    elif config.path is not None:
        config.path.rename(config.path.with_name(config.path.name + WITHDRAWN))
    return {"withdrawn": config.kind}


def give_back(config: KeyStoreConfig) -> dict[str, Any]:
    if config.kind == "pkcs11":
        hsm.change_pin(config, os.environ["COMPANYOS_SO_PIN"], os.environ["COMPANYOS_USER_PIN"])
    elif config.kind == "tpm":
        tpm.prepare(config)
    elif config.path is not None:
        config.path.with_name(config.path.name + WITHDRAWN).rename(config.path)
    return {"given_back": config.kind}


def facts(config: KeyStoreConfig) -> dict[str, Any]:
    """`{kind, extractable}`: extractable as tried, not as configured."""
    open_key_store(config).check()
    leaves = {"file": lambda _: True, "pkcs11": hsm.extractable, "tpm": tpm.extractable}[config.kind](config)
    return {"kind": config.kind, "extractable": bool(leaves)}


def unwrap(config: KeyStoreConfig, wrapped: dict[str, str]) -> dict[str, Any]:
    """tenant -> data key in base64, of tenant -> wrapped key in base64."""
    store = open_key_store(config)
    opened = {tenant: store.unwrap(base64.b64decode(text), tenant) for tenant, text in wrapped.items()}
    return {tenant: base64.b64encode(key).decode() for tenant, key in opened.items()}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="environments.companyos.keys", description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("what", choices=("prepare", "withdraw", "give-back", "facts", "unwrap"))
    parser.add_argument("--wrapped", default="{}", help="unwrap: JSON, tenant -> wrapped key in base64")
    options = parser.parse_args(arguments)
    config = NodeConfig.model_validate_json(options.config.read_bytes()).key_store
    try:
        if config is None:
            raise KeyUnavailable("the node has no key_store")
        if options.what == "unwrap":
            answer = unwrap(config, json.loads(options.wrapped))
        else:
            answer = {"prepare": prepare, "withdraw": withdraw, "give-back": give_back, "facts": facts}[options.what](
                config
            )
    except (KeyUnavailable, OSError, KeyError) as error:
        sys.stdout.write(json.dumps({"error": str(error)}) + "\n")
        return 1
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
