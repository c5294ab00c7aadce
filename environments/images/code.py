"""Our code in the image: which files, their digest (the payload), and the release file that a node reports from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from environments.images.tree import Component, Tree

ROOT = "opt/companyos"
RELEASE = "etc/companyos-release.json"
PACKAGES = Path(__file__).parents[1]  # the folder `environments`
OUT = ("vendor.py",)  # the vendor's signing, which no node has


def sources() -> dict[str, Path]:
    """Path in the image -> file, of all that the services are made of."""
    found = {f"{ROOT}/environments/__init__.py": PACKAGES / "__init__.py"}
    for path in sorted((PACKAGES / "companyos").rglob("*")):
        relative = path.relative_to(PACKAGES)
        if path.is_file() and "__pycache__" not in relative.parts and relative.name not in OUT:
            found[f"{ROOT}/environments/{relative}"] = path
    return found


def sources_digest() -> str:
    """Hex sha256 over the code as it is now; an image that was made of other code has another one."""
    return digest_of({path: file.read_bytes() for path, file in sources().items()})


def digest_of(files: Mapping[str, bytes]) -> str:
    """Hex sha256 over lines `<sha256>  /<path>`, sorted by path: what `sha256sum` prints for the files."""
    lines = [f"{hashlib.sha256(files[path]).hexdigest()}  /{path}\n" for path in sorted(files)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@cache
def version() -> str:
    """The product's version."""
    from environments.companyos.config import NodeConfig

    return str(NodeConfig.model_fields["version"].default)


def component() -> Component:
    return Component("file", "companyos", version(), f"pkg:generic/companyos@{version()}", sources_digest())


def tree() -> Tree:
    made = Tree()
    owner = component()
    for path, file in sources().items():
        made.file(path, file.read_bytes(), owner)
    return made


def payload(code: Tree) -> str:
    """The payload digest: every file below /opt/companyos, bytecode too, since it is what runs."""
    files = {}
    for path, entry in code.entries.items():
        if entry.kind == "file" and path.startswith(f"{ROOT}/"):
            files[path] = entry.data.read_bytes() if isinstance(entry.data, Path) else entry.data
    return digest_of(files)


def release(payload_sha256: str) -> bytes:
    document = {
        "product": "companyos",
        "version": version(),
        "payload_sha256": payload_sha256,
        "payload_root": f"/{ROOT}",
    }
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()
