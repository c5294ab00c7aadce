"""Data keys sealed under a key of the machine's TPM, which unseals them nowhere else.

The key is a primary of the owner hierarchy at a persistent handle. It is derived from the TPM's own seed, so that the
same TPM makes the same key again, and no other TPM can. Needs tpm2-pytss (of Debian: there are no wheels)."""

from __future__ import annotations

import os
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from environments.companyos.config import KeyStoreConfig
from environments.companyos.keys import KeyUnavailable, required

TEMPLATE = "ecc256:aes128cfb"


def binding() -> Any:
    """The package tpm2_pytss. Raises KeyUnavailable where there is none that loads."""
    os.environ.setdefault("TSS2_LOG", "all+NONE")  # its errors are exceptions here; its log goes to stderr
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # names of `cryptography` that will move
            import tpm2_pytss
    except (ImportError, TypeError) as error:  # TypeError: a release before 2.3 beside a current `cryptography`
        raise KeyUnavailable(f"tpm2-pytss does not load ({error})") from None
    return tpm2_pytss


class TpmKeyStore:
    kind = "tpm"

    def __init__(self, config: KeyStoreConfig) -> None:
        self.tcti = required(config.tcti, "tcti", "tpm")
        self.handle = config.handle

    @contextmanager
    def context(self) -> Iterator[tuple[Any, Any]]:
        """(the binding, a connection to the TPM). Raises KeyUnavailable."""
        tss = binding()
        try:
            with tss.ESAPI(self.tcti) as esapi:
                yield tss, esapi
        except (tss.TSS2_Exception, RuntimeError, ValueError, struct.error) as error:
            raise KeyUnavailable(f"the TPM refuses ({str(error)[:120]})") from None

    def wrap(self, data_key: bytes, context: str) -> bytes:
        named = context.encode()
        secret = struct.pack(">H", len(named)) + named + data_key
        with self.context() as (tss, esapi):
            attributes = tss.TPMA_OBJECT.FIXEDTPM | tss.TPMA_OBJECT.FIXEDPARENT | tss.TPMA_OBJECT.USERWITHAUTH
            sensitive = tss.TPMS_SENSITIVE_CREATE(data=tss.TPM2B_SENSITIVE_DATA(secret))
            private, public, *_ = esapi.create(
                parent_handle=esapi.tr_from_tpmpublic(self.handle),
                in_sensitive=tss.TPM2B_SENSITIVE_CREATE(sensitive),
                in_public=tss.TPM2B_PUBLIC.parse("keyedhash", objectAttributes=attributes),
            )
            parts = [bytes(private.marshal()), bytes(public.marshal())]
        return struct.pack(">H", len(parts[0])) + parts[0] + parts[1]

    def unwrap(self, wrapped: bytes, context: str) -> bytes:
        with self.context() as (tss, esapi):
            length = struct.unpack(">H", wrapped[:2])[0]
            private, _ = tss.TPM2B_PRIVATE.unmarshal(wrapped[2 : 2 + length])
            public, _ = tss.TPM2B_PUBLIC.unmarshal(wrapped[2 + length :])
            parent = esapi.tr_from_tpmpublic(self.handle)
            loaded = esapi.load(parent_handle=parent, in_private=private, in_public=public)
            try:
                secret = bytes(esapi.unseal(loaded))
            finally:
                esapi.flush_context(loaded)  # a TPM has room for three objects
        named = context.encode()
        head = struct.pack(">H", len(named)) + named
        if not secret.startswith(head):
            raise KeyUnavailable("the data key of another tenant")
        return secret[len(head) :]

    def check(self) -> None:
        with self.context() as (_, esapi):
            esapi.read_public(esapi.tr_from_tpmpublic(self.handle))


def prepare(config: KeyStoreConfig) -> None:
    """Derive the key and make it persistent, unless it is."""
    store = TpmKeyStore(config)
    try:
        store.check()
        return
    except KeyUnavailable:
        pass
    with store.context() as (tss, esapi):
        owner = tss.ESYS_TR.OWNER
        primary, *_ = esapi.create_primary(
            primary_handle=owner, in_sensitive=tss.TPM2B_SENSITIVE_CREATE(), in_public=TEMPLATE
        )
        esapi.evict_control(auth=owner, object_handle=primary, persistent_handle=config.handle)
        esapi.flush_context(primary)


def evict(config: KeyStoreConfig) -> None:
    """Take the key out of the TPM."""
    with TpmKeyStore(config).context() as (tss, esapi):
        handle = esapi.tr_from_tpmpublic(config.handle)
        esapi.evict_control(auth=tss.ESYS_TR.OWNER, object_handle=handle, persistent_handle=config.handle)


def extractable(config: KeyStoreConfig) -> bool:
    """Whether the key could be moved to another TPM."""
    store = TpmKeyStore(config)
    with store.context() as (tss, esapi):
        public, *_ = esapi.read_public(esapi.tr_from_tpmpublic(store.handle))
        attributes = public.publicArea.objectAttributes
        return not (attributes & tss.TPMA_OBJECT.FIXEDTPM and attributes & tss.TPMA_OBJECT.FIXEDPARENT)
