"""Custody of keys: the tenants' data keys are kept wrapped by a key that stays with whoever owns the data.

`file`: a key of the node's own in a file apart from its data. `pkcs11`: a key in the customer's HSM that it never
leaves. `tpm`: a key in the TPM of the machine. Which one is configuration; the rest of the product sees `KeyStore`.
"""

from __future__ import annotations

from typing import Protocol

from environments.companyos.config import KeyStoreConfig


class KeyUnavailable(Exception):
    """The wrapping key cannot be used now: withdrawn, locked, or its holder is gone. Says why, never holds a key."""


class KeyStore(Protocol):
    """Wraps data keys. Every call goes to whatever holds the wrapping key; nothing of it stays here between calls."""

    kind: str

    def wrap(self, data_key: bytes, context: str) -> bytes:
        """`context` (the tenant) is needed to unwrap. Raises KeyUnavailable."""
        ...

    def unwrap(self, wrapped: bytes, context: str) -> bytes:
        """Raises KeyUnavailable, also for what another key wrapped or another context."""
        ...

    def check(self) -> None:
        """Raises KeyUnavailable unless the wrapping key can be used."""
        ...


def open_key_store(config: KeyStoreConfig) -> KeyStore:
    """The store that the configuration names; it is not asked for anything yet. SystemExit: one that cannot be."""
    if config.kind == "file":
        from environments.companyos.keys.filed import FileKeyStore

        return FileKeyStore(config)
    if config.kind == "pkcs11":
        from environments.companyos.keys.hsm import HsmKeyStore

        return HsmKeyStore(config)
    from environments.companyos.keys.tpm import TpmKeyStore

    return TpmKeyStore(config)


def required(value: object, name: str, kind: str) -> str:
    """A setting that this kind of key store needs. SystemExit: it is not there."""
    if value is None:
        raise SystemExit(f"key_store.{name} is required for kind {kind}")
    return str(value)
