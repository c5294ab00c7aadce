"""Content is sealed with its tenant's data key; the data key is in memory for a while, and on no disk but wrapped.

Sealed are properties of entities and relationships, inputs of runs, descriptions of investigations, and what waits in
an outbox or in quarantine. Ids, kinds, labels, types, names and times are not: they are what the database looks up and
orders by. AES-256-GCM, a fresh nonce each time; bound to tenant, object and field, so that a value moved to another
row does not open there.

A data key is used for at most `recheck_s` after the wrapping key's keeper was last asked. Then it is asked again, and
while it refuses, nothing opens: KEY_UNAVAILABLE. After a refusal it is left alone for half of that time, because an HSM
locks itself after so many wrong PINs.
"""

from __future__ import annotations

import base64
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from environments.companyos import log
from environments.companyos.errors import ApiError
from environments.companyos.keys import KeyStore, KeyUnavailable

MARK = "s1:"  # in front of what is sealed; no JSON begins so
NONCE_BYTES = 12
KEY_BYTES = 32
ANSWER_S = 3.0  # longest that the keeper of a key is waited for


class KeyTx(Protocol):
    """What sealing asks of a transaction: the tenant's wrapped data key."""

    data_key: str | None  # made in this transaction, and in force only if it commits

    def stored_key(self, tenant: str) -> str | None: ...
    def store_key(self, tenant: str, wrapped: str) -> str:
        """Keep it unless there is one; the one that is there now."""
        ...


@dataclass
class Held:
    """A data key in memory."""

    cipher: AESGCM
    asked_at: float  # monotonic


class Sealer:
    def __init__(self, store: KeyStore, recheck_s: float) -> None:
        self.store, self.recheck_s = store, recheck_s
        self._held: dict[str, Held] = {}  # wrapped key -> the key
        self._wrapped: dict[str, str] = {}  # tenant -> its wrapped key, as the database has it
        self._refused: tuple[float, str] | None = None  # when, and why
        self._checked_at: float | None = None
        self._lock = threading.RLock()
        self._keeper = ThreadPoolExecutor(1, thread_name_prefix="key-keeper")
        self._asking: Future[bytes] | None = None

    # content

    def seal(self, tx: KeyTx, tenant: str, what: str, text: str) -> str:
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._cipher(tx, tenant, new=True).encrypt(nonce, text.encode(), f"{tenant}/{what}".encode())
        return MARK + base64.b64encode(nonce + sealed).decode()

    def open(self, tx: KeyTx, tenant: str, what: str, text: str) -> str:
        """ApiError KEY_UNAVAILABLE: the key cannot be had, or it is not this one's. What is not sealed is not taken."""
        if not text.startswith(MARK):
            raise unavailable("content that was not sealed")
        raw = base64.b64decode(text[len(MARK) :])
        cipher = self._cipher(tx, tenant, new=False)
        try:
            return cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], f"{tenant}/{what}".encode()).decode()
        except (InvalidTag, ValueError):
            raise unavailable("content that was sealed for something else") from None

    # data keys

    def _cipher(self, tx: KeyTx, tenant: str, new: bool) -> AESGCM:
        # The database is asked without the lock: it may wait for a transaction that itself needs a key to go on.
        wrapped = tx.data_key or self._wrapped.get(tenant) or self._find(tx, tenant, new)
        with self._lock:
            held = self._held.get(wrapped)
            if held is None or time.monotonic() - held.asked_at >= self.recheck_s:
                held = self._unwrap(wrapped, tenant)
            return held.cipher

    def _find(self, tx: KeyTx, tenant: str, new: bool) -> str:
        wrapped = tx.stored_key(tenant)
        if wrapped is not None:
            self._wrapped[tenant] = wrapped
            return wrapped
        if not new:
            raise unavailable("the tenant has no data key")
        fresh = self._ask(lambda: self.store.wrap(os.urandom(KEY_BYTES), tenant))
        tx.data_key = tx.store_key(tenant, base64.b64encode(fresh).decode())
        return tx.data_key

    def _unwrap(self, wrapped: str, tenant: str) -> Held:
        self._held.pop(wrapped, None)
        key = self._ask(lambda: self.store.unwrap(base64.b64decode(wrapped), tenant))
        held = Held(AESGCM(key), time.monotonic())
        self._held[wrapped] = held
        return held

    def _ask(self, question: Callable[[], bytes]) -> bytes:
        """Ask the keeper of the wrapping key, unless it refused a moment ago. ApiError KEY_UNAVAILABLE."""
        with self._lock:
            if self._refused is not None and time.monotonic() - self._refused[0] < self.recheck_s / 2:
                raise unavailable(self._refused[1])
            try:
                answer = self._within_time(question)
            except KeyUnavailable as error:
                if self._refused is None:
                    log.warning("key refused", why=str(error))
                self._refused, self._checked_at = (time.monotonic(), str(error)), None
                raise unavailable(str(error)) from None
            self._refused = None
            return answer

    def _within_time(self, question: Callable[[], bytes]) -> bytes:
        """From a thread of its own: an HSM that hangs holds up neither the caller nor whoever asks next."""
        if self._asking is not None and not self._asking.done():
            raise KeyUnavailable("the keeper of the key still does not answer")
        self._asking = self._keeper.submit(question)
        try:
            return self._asking.result(ANSWER_S)
        except FutureTimeout:
            raise KeyUnavailable(f"the keeper of the key does not answer within {ANSWER_S:g} s") from None

    def check(self) -> str:
        """Why content cannot be opened now; empty if it can."""
        with self._lock:
            if self._checked_at is not None and time.monotonic() - self._checked_at < self.recheck_s:
                return ""
            try:
                self._ask(self._checked)
            except ApiError as error:
                return error.message
            self._checked_at = time.monotonic()
            return ""

    def _checked(self) -> bytes:
        self.store.check()
        return b""

    # their end

    def drop(self, tenant: str) -> None:
        """The tenant is no more: whoever is made anew under its name has another key."""
        with self._lock:
            self._held.pop(self._wrapped.pop(tenant, ""), None)

    def forget(self) -> None:
        """Drop the keys whose time is over."""
        with self._lock:
            now = time.monotonic()
            self._held = {name: held for name, held in self._held.items() if now - held.asked_at < self.recheck_s}

    def start(self) -> None:
        """Forget in a thread of its own: a key is not kept because nobody asks for anything."""

        def run() -> None:
            pause = threading.Event()
            while not pause.wait(self.recheck_s / 4):
                self.forget()

        threading.Thread(target=run, name="keys", daemon=True).start()


def unavailable(why: str) -> ApiError:
    return ApiError("KEY_UNAVAILABLE", message=why)
