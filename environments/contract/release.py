"""What a deployment is made of: the signed manifest of its release, and where the suite finds what really runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Artifact:
    kind: str  # payload (the product's own code), policy, model, image
    name: str
    digest: str  # sha256:<hex>


class Release(Protocol):
    @property
    def manifest(self) -> str:
        """Compact JWS of the vendor, typ `companyos-release`, payload `{product, version, artifacts: [{kind, name,
        digest}]}`. Digest of a payload: SHA-256 over the lines `<sha256>  <path>` of its files, in order of path;
        of a policy or a model: of its file; of an image: its id."""
        ...

    def payloads(self, node: str) -> Mapping[str, Path]:
        """Service -> folder of the product's code, as the process that runs now sees it. Needs FILE_ACCESS."""
        ...

    def models(self, node: str) -> Mapping[str, Path]:
        """Name -> file of each model that the node serves. Needs FILE_ACCESS."""
        ...
