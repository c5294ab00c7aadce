"""The wrapping key in an HSM, by PKCS#11: an AES key that is made there and never leaves it.

Each call opens a session of its own and ends it: a session that stays logged in would go on working after the PIN was
withdrawn. One call at a time: the library is initialised anew for each, because SoftHSM reads a PIN only then, and a
session whose login was refused stays open."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from environments.companyos.config import KeyStoreConfig
from environments.companyos.keys import KeyUnavailable, required

NONCE_BYTES = 12


class HsmKeyStore:
    kind = "pkcs11"

    def __init__(self, config: KeyStoreConfig) -> None:
        self.config = config
        self.module = required(config.module, "module", "pkcs11")
        self.token = required(config.token, "token", "pkcs11")
        self.pin_file = Path(required(config.pin_file, "pin_file", "pkcs11"))
        if config.module_config is not None:
            os.environ["SOFTHSM2_CONF"] = str(config.module_config)  # read when the library is loaded

    @contextmanager
    def session(self, **opening: Any) -> Iterator[Any]:
        """A session with the token, as its user unless told otherwise. Raises KeyUnavailable."""
        import pkcs11

        try:
            library = pkcs11.lib(self.module)
            library.reinitialize()  # what a refused session left is gone, and what the token became meanwhile is seen
            with library.get_token(token_label=self.token).open(**(opening or self._user())) as session:
                yield session
        except (pkcs11.PKCS11Error, pkcs11.NoSuchToken, pkcs11.NoSuchKey, RuntimeError, OSError) as error:
            raise KeyUnavailable(f"the HSM refuses ({type(error).__name__})") from None

    def _user(self) -> dict[str, Any]:
        return {"user_pin": self.pin_file.read_text().strip()}

    def key(self, session: Any) -> Any:
        from pkcs11 import KeyType, ObjectClass

        return session.get_key(ObjectClass.SECRET_KEY, KeyType.AES, label=self.config.label)

    def _mechanism(self, nonce: bytes, context: str) -> dict[str, Any]:
        from pkcs11 import GCMParams, Mechanism

        return {
            "mechanism": Mechanism.AES_GCM,
            "mechanism_param": GCMParams(nonce, aad=context.encode(), tag_bits=128),
        }

    def wrap(self, data_key: bytes, context: str) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        with self.session() as session:
            sealed: bytes = self.key(session).encrypt(data_key, **self._mechanism(nonce, context))
        return nonce + sealed

    def unwrap(self, wrapped: bytes, context: str) -> bytes:
        with self.session() as session:
            data_key: bytes = self.key(session).decrypt(
                wrapped[NONCE_BYTES:], **self._mechanism(wrapped[:NONCE_BYTES], context)
            )
        return data_key

    def check(self) -> None:
        with self.session() as session:
            self.key(session)


def initialise(config: KeyStoreConfig, so_pin: str, pin: str) -> None:
    """Make the token, as whoever delivers an HSM does; nothing if it is there. python-pkcs11 has no such call, and
    SoftHSM's own library exports it. Raises KeyUnavailable."""
    import pkcs11

    store = HsmKeyStore(config)
    try:
        pkcs11.lib(store.module).reinitialize()
        pkcs11.lib(store.module).get_token(token_label=store.token)
        return
    except pkcs11.NoSuchToken:
        pass
    except (pkcs11.PKCS11Error, RuntimeError) as error:
        raise KeyUnavailable(f"the HSM's library does not start ({type(error).__name__})") from None
    slot = pkcs11.lib(store.module).get_slots()[-1]  # SoftHSM keeps one free slot, behind those in use
    library, label = ctypes.CDLL(store.module), store.token.encode().ljust(32)
    code = library.C_InitToken(ctypes.c_ulong(slot.slot_id), so_pin.encode(), ctypes.c_ulong(len(so_pin)), label)
    if code != 0:
        raise KeyUnavailable(f"the token cannot be made (0x{code:x})")
    change_pin(config, so_pin, pin)


def prepare(config: KeyStoreConfig) -> None:
    """Make the key in a token that was initialised, unless it has one."""
    from pkcs11 import Attribute, KeyType, MechanismFlag

    store = HsmKeyStore(config)
    try:
        store.check()
        return
    except KeyUnavailable:
        pass
    with store.session(rw=True, **store._user()) as session:
        session.generate_key(
            KeyType.AES,
            256,
            label=config.label,
            store=True,
            capabilities=MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT,
            template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False, Attribute.PRIVATE: True},
        )


def change_pin(config: KeyStoreConfig, so_pin: str, pin: str) -> None:
    """The security officer of the token gives its user another PIN."""
    with HsmKeyStore(config).session(rw=True, so_pin=so_pin) as session:
        session.init_pin(pin)


def extractable(config: KeyStoreConfig) -> bool:
    """Whether the HSM hands the key out when it is asked to."""
    from pkcs11 import Attribute
    from pkcs11.exceptions import AttributeSensitive, AttributeTypeInvalid

    store = HsmKeyStore(config)
    with store.session() as session:
        try:
            return bool(store.key(session)[Attribute.VALUE])
        except (AttributeSensitive, AttributeTypeInvalid):
            return False
