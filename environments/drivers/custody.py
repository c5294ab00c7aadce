"""The contract's Custody, by the product's own tool for keys, run where the node can reach its HSM or TPM."""

from __future__ import annotations

import base64
import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from environments.companyos.config import KeyStoreConfig
from environments.companyos.keys import filed
from environments.contract import KeyFacts, SuiteError
from environments.drivers.local.hosts import service_environment
from environments.drivers.local.processes import write_private

if TYPE_CHECKING:
    from environments.drivers.local.node import LocalNode

LIMIT_S = 60.0  # the tool for keys, started and done
TOKEN = "companyos"
HSM_VARIANTS = ("connected", "tethered", "airgapped")  # the customer's HSM keeps their keys

Execute = Callable[[Sequence[str], Mapping[str, str]], tuple[int, str]]


class NodeCustody:
    """execute: runs `environments.companyos.keys` with these arguments and this environment beside the node; (exit
    status, what it wrote). wrapped: tenant -> wrapped data key (base64), from the node's database.
    secrets: environment that the owner of an HSM alone knows."""

    def __init__(
        self, execute: Execute, wrapped: Callable[[], Mapping[str, str]], secrets: Mapping[str, str] | None = None
    ) -> None:
        self._execute, self._wrapped, self._secrets = execute, wrapped, dict(secrets or {})
        self.withdrawn = False

    def _do(self, *arguments: str) -> dict[str, Any]:
        what = arguments[0]
        status, output = self._execute(arguments, self._secrets)
        try:
            answer = json.loads(output.strip().splitlines()[-1])
        except (ValueError, IndexError):
            raise SuiteError(f"keys {what}: exit {status}, {output[-300:]!r}") from None
        if status != 0 or not isinstance(answer, dict) or "error" in answer:
            raise SuiteError(f"keys {what}: {answer}")
        return answer

    def prepare(self) -> None:
        self._do("prepare")

    def facts(self) -> KeyFacts:
        found = self._do("facts")
        return KeyFacts(str(found["kind"]), bool(found["extractable"]))

    def withdraw(self) -> None:
        self._do("withdraw")
        self.withdrawn = True

    def give_back(self) -> None:
        self._do("give-back")
        self.withdrawn = False

    def heal(self) -> None:
        if self.withdrawn:
            self.give_back()

    def data_keys(self) -> Sequence[bytes]:
        opened = self._do("unwrap", "--wrapped", json.dumps(self._wrapped()))
        return [base64.b64decode(str(key)) for key in opened.values()]


def file_store(node: LocalNode, key: Path) -> NodeCustody:
    """A key of the node's own in the file `key`, which its services can read. It is managed from this host."""
    node.config["key_store"] = {"kind": "file", "path": str(key)}
    filed.prepare(KeyStoreConfig.model_validate(node.config["key_store"]))
    return NodeCustody(beside(node), lambda: wrapped_keys(node))


def beside(node: LocalNode) -> Execute:
    """Run the tool as a process of this host, with the paths of this host."""

    def execute(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str]:
        config = node.home / "keys" / "custody.json"
        config.parent.mkdir(mode=0o700, exist_ok=True)
        write_private(config, json.dumps(node.config, default=str))
        done = subprocess.run(
            [sys.executable, "-m", "environments.companyos.keys", "--config", str(config), *arguments],
            env=service_environment(False, environment),
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        return done.returncode, done.stdout or done.stderr

    return execute


def wrapped_keys(node: LocalNode) -> dict[str, str]:
    """tenant -> wrapped data key, as the node's database has it."""
    query = "SELECT key, value FROM node_meta WHERE key LIKE 'data_key.%'"
    if "postgres" in node.services:
        with node.sql() as connection:
            rows = connection.execute(query).fetchall()
    else:
        database = node.data_dir / "companyos.sqlite"
        with sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True) as connection:
            rows = connection.execute(query).fetchall()
    return {str(key).removeprefix("data_key."): str(value) for key, value in rows}
