"""What this node runs, by digest: its own code, the policy that came with it, the model it serves. `GET /version`.

The digest of the code is taken of the files that this process was started from, not of a note that came with them: a
copy that was built again has another one, whatever it is called.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from environments.companyos.services import Services

PRODUCT = "companyos"
CODE = Path(__file__).parent
NOT_SHIPPED = (Path("vendor.py"),)  # the vendor's signing: it lies beside the code here, and in no image


def files(root: Path) -> dict[str, str]:
    """Path below `root` -> SHA-256 of each file, without what Python caches and what no node is given."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.relative_to(root) not in NOT_SHIPPED
    }


def digest_of(found: Mapping[str, str]) -> str:
    """One digest of a tree: SHA-256 over its lines `<sha256>  <path>`, in order of path."""
    lines = "".join(f"{sha256}  {path}\n" for path, sha256 in sorted(found.items()))
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


@lru_cache(maxsize=4)
def file_digest(path: Path, size_bytes: int, mtime_ns: int) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def payload_digest() -> str:
    return digest_of(files(CODE))


def artifacts(services: Services) -> list[dict[str, str]]:
    """`{kind, name, digest}` of everything that this process knows itself to run."""
    config = services.config
    found = [
        {"kind": "payload", "name": PRODUCT, "digest": str(services.extra["payload"])},
        {"kind": "policy", "name": "authz", "digest": f"sha256:{services.policy.shipped}"},
    ]
    if config.image is not None:
        found.append({"kind": "image", "name": PRODUCT, "digest": config.image})
    if config.model_file is not None:
        facts = config.model_file.stat()
        digest = file_digest(config.model_file, facts.st_size, facts.st_mtime_ns)
        found.append({"kind": "model", "name": config.model_file.name, "digest": digest})
    return found


def document(services: Services) -> dict[str, Any]:
    config = services.config
    return {
        "product": PRODUCT,
        "version": config.version,
        "schema_version": config.schema_version,
        "artifacts": artifacts(services),
    }


def routes(services: Services) -> list[Route]:
    services.extra["payload"] = payload_digest()  # now: files that are exchanged later are not what runs

    def version(request: Request) -> Response:
        return JSONResponse(document(services))

    return [Route("/version", version)]
