"""A policy as OPA's bundle: `.manifest`, the modules, and `.signatures.json`, which OPA itself verifies.

The vendor signs the list of files (ES256: OPA verifies no Ed25519), the node packs them. Names of modules are anybody's
text, so the files are numbered in the order of the names. See OPA's documentation, "Bundle file format" and "Signing".
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from typing import Any

NAME = "policy"  # of the bundle, in OPA's configuration and in its answers
ALGORITHM = "ES256"
KEY_ID = "vendor"
MEDIA_TYPE = "application/vnd.openpolicyagent.bundles"


def files(revision: int, modules: Mapping[str, str]) -> dict[str, bytes]:
    """Path in the bundle -> content, without the signatures."""
    manifest = json.dumps({"revision": str(revision), "roots": [""]}, sort_keys=True, separators=(",", ":"))
    found = {".manifest": manifest.encode()}
    for number, name in enumerate(sorted(modules)):
        found[f"m{number}.rego"] = modules[name].encode()
    return found


def claims(revision: int, modules: Mapping[str, str]) -> dict[str, Any]:
    """What is signed. The digest of the manifest is of its canonical JSON, which it is written in."""
    return {
        "files": [
            {"name": path, "hash": hashlib.sha256(content).hexdigest(), "algorithm": "SHA-256"}
            for path, content in files(revision, modules).items()
        ]
    }


def pack(revision: int, modules: Mapping[str, str], signature: str) -> bytes:
    """The bundle; the same bytes for the same policy."""
    members = {".signatures.json": json.dumps({"signatures": [signature]}).encode(), **files(revision, modules)}
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for path, content in members.items():
            info = tarfile.TarInfo(f"/{path}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def signable(payload: Any) -> bool:
    """Whether a policy's payload is of the shape that has a bundle."""
    if not isinstance(payload, Mapping) or type(payload.get("revision")) is not int:
        return False
    modules = payload.get("modules")
    return isinstance(modules, Mapping) and all(isinstance(each, str) for pair in modules.items() for each in pair)
