"""The wrapping key in a file that its owner alone reads, apart from the data."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from environments.companyos import files
from environments.companyos.config import KeyStoreConfig
from environments.companyos.keys import KeyUnavailable, required

KEY_BYTES, NONCE_BYTES = 32, 12


class FileKeyStore:
    kind = "file"

    def __init__(self, config: KeyStoreConfig) -> None:
        self.path = Path(required(config.path, "path", "file"))

    def _key(self) -> AESGCM:
        try:
            return AESGCM(self.path.read_bytes())
        except (OSError, ValueError) as error:
            raise KeyUnavailable(f"the key file cannot be used ({type(error).__name__})") from None

    def wrap(self, data_key: bytes, context: str) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._key().encrypt(nonce, data_key, context.encode())

    def unwrap(self, wrapped: bytes, context: str) -> bytes:
        try:
            return self._key().decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], context.encode())
        except (InvalidTag, ValueError):
            raise KeyUnavailable("the data key was wrapped by another key") from None

    def check(self) -> None:
        self._key()


def prepare(config: KeyStoreConfig) -> None:
    """Make the key, unless there is one."""
    path = Path(required(config.path, "path", "file"))
    if not path.exists():
        files.write_atomic(path, os.urandom(KEY_BYTES))
