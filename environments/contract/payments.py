"""The payment provider of a hosted node, as the suite holds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class PaymentRequest:
    """One request that reached the provider."""

    t_s: float  # seconds since the epoch
    path: str
    key: str | None  # its Idempotency-Key
    parameters: Mapping[str, str]
    status: int | None  # of the answer; None if none went out
    applied: bool  # it changed what is billed
    replayed: bool  # answered with the first answer to that key
    how: str  # how it was answered on purpose: see Payments.answer


class Payments(Protocol):
    """A stand-in for Stripe beside one node. Needs Capability.PAYMENTS."""

    def requests(self) -> Sequence[PaymentRequest]: ...
    def answer(self, how: str, *, times: int | None = None, delay_s: float = 0.0) -> None:
        """How it answers from now on, or so many times: ok, fail (500), limit (429), refuse (the connection is closed,
        nothing is taken), drop (taken, and the connection is closed without an answer), delay."""
        ...

    def signature(self, body: bytes, *, at_s: float | None = None) -> str:
        """The header that the provider signs a webhook with. at_s: seconds since the epoch; None: now."""
        ...
