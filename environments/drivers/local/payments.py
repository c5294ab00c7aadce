"""The payment provider of a hosted node: a double of Stripe in the node's own site, on loopback."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from environments import jsonlines
from environments.contract import PaymentRequest
from environments.doubles import stripe
from environments.drivers.local.hosts import SiteHost, service_environment

PORT = 12111  # in a site with a namespace of its own
VARIANTS = ("saas", "dedicated")


class StripeDouble:
    """The contract's Payments, over the files of the double."""

    def __init__(self, folder: Path, key: str) -> None:
        self._folder, self._key = folder, key
        folder.mkdir(mode=0o700, exist_ok=True)

    def start(self, host: SiteHost, port: int) -> int:
        """In the node's site; its pid."""
        argv: list[str | Path] = [sys.executable, "-m", "environments.doubles.stripe", self._folder, str(port)]
        return host.spawn(argv, env=service_environment(sealed=False), log_path=self._folder / "double.log")

    def requests(self) -> Sequence[PaymentRequest]:
        return [PaymentRequest(**row) for row in jsonlines.read(self._folder / stripe.REQUESTS)]

    def answer(self, how: str, *, times: int | None = None, delay_s: float = 0.0) -> None:
        if how not in stripe.HOWS:
            raise ValueError(f"{how!r} is no way to answer; ways: {', '.join(stripe.HOWS)}")
        part = self._folder / "answer.part"
        part.write_text(json.dumps({"how": how, "times": times, "delay_s": delay_s}), encoding="utf-8")
        part.replace(self._folder / stripe.ANSWER)

    def signature(self, body: bytes, *, at_s: float | None = None) -> str:
        return stripe.signature(self._key, body, at_s)
