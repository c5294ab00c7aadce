"""FUN-02: the manifest of a release, what nodes report of themselves, and what is found on them, side by side."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from environments.contract import Artifact, vacuous

TYPE = "companyos-release"
POLICY = "policies/authz.rego"  # below the payload
VENDORS = "vendor.py"  # of the vendor's own, beside the payload where nodes run from a checkout; no node is given it
REPORTED_BY_ALL = ("payload", "policy")  # what every node runs; a model or an image only some


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def verified(manifest: str, key: Mapping[str, Any]) -> list[Artifact]:
    """The artifacts of a manifest that the vendor's public JWK signed. AssertionError: what is wrong with it."""
    header, _, rest = manifest.partition(".")
    payload, _, signature = rest.partition(".")
    try:
        head, document = json.loads(_decoded(header)), json.loads(_decoded(payload))
        public = Ed25519PublicKey.from_public_bytes(_decoded(str(key["x"])))
        public.verify(_decoded(signature), f"{header}.{payload}".encode())
    except (ValueError, binascii.Error) as error:
        raise AssertionError(f"the release manifest is not a signed document: {error}") from None
    except InvalidSignature:
        raise AssertionError("the release manifest is not signed by the vendor") from None
    assert head.get("alg") == "EdDSA" and head.get("typ") == TYPE, f"the release manifest is something else: {head}"
    return artifacts(document.get("artifacts"))


def artifacts(listed: Any) -> list[Artifact]:
    """From the list of a manifest or of /version. AssertionError for another shape."""
    assert isinstance(listed, list), f"artifacts is no list: {listed!r}"
    found = []
    for each in listed:
        fields = [each.get(name) for name in ("kind", "name", "digest")] if isinstance(each, dict) else [None]
        assert all(isinstance(field, str) for field in fields), f"an artifact without kind, name or digest: {each!r}"
        found.append(Artifact(*(str(field) for field in fields)))
    return found


def tree_digest(root: Path) -> str | None:
    """Digest of a payload as the contract defines it; None if nothing is there."""
    lines = sorted(
        (str(path.relative_to(root)), hashlib.sha256(path.read_bytes()).hexdigest())
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path != root / VENDORS
    )
    if not lines:
        return None
    return f"sha256:{hashlib.sha256(''.join(f'{sha}  {name}' + chr(10) for name, sha in lines).encode()).hexdigest()}"


def file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def judge_release(
    manifest: Sequence[Artifact],
    reported: Mapping[str, Sequence[Artifact]],
    observed: Mapping[str, Sequence[Artifact]],
) -> list[str]:
    """`reported`: node -> what it says; `observed`: place -> what the suite found there. All must be the manifest's.

    Vacuous where the manifest lists nothing, a node says nothing, or nothing was looked at."""
    if not manifest or not reported or not observed or not all(observed.values()):
        vacuous(f"{len(manifest)} artifacts listed, {len(reported)} nodes asked, {len(observed)} places looked at")
    listed = {(each.kind, each.name): each.digest for each in manifest}
    problems = []
    for said, found in (("reports", reported), ("runs", observed)):
        for where, here in found.items():
            for each in here:
                wanted = listed.get((each.kind, each.name))
                if wanted is None:
                    problems.append(f"{where} {said} {each.kind} {each.name}, which is not in the release")
                elif each.digest != wanted:
                    problems.append(f"{where} {said} {each.kind} {each.name} {each.digest}, released was {wanted}")
    for node, here in reported.items():
        kinds = {each.kind for each in here}
        problems += [f"{node} does not report its {kind}" for kind in REPORTED_BY_ALL if kind not in kinds]
    return problems
