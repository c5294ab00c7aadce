"""Custody of a node's keys, from the side of whoever owns the data. Needs Capability.KEY_CUSTODY."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class KeyFacts:
    kind: str  # file, pkcs11 (an HSM), tpm
    extractable: bool  # whether whoever keeps the wrapping key hands it out: tried, not asked


class Custody(Protocol):
    """The wrapping key of one node. `Deployment.heal` gives it back."""

    def facts(self) -> KeyFacts: ...
    def withdraw(self) -> None:
        """Take it away: the HSM's user gets another PIN, the TPM loses the key, the key file is gone."""
        ...

    def give_back(self) -> None:
        """The same key again."""
        ...

    def data_keys(self) -> Sequence[bytes]:
        """The data keys in clear, as the owner of the wrapping key can have them: to look for them where they must
        not be."""
        ...
