"""Bodies of requests, with a limit: small ones into memory, large ones into a file."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from starlette.requests import ClientDisconnect, Request

from environments.companyos.errors import ApiError
from environments.companyos.services import Services


async def read(request: Request, limit: int, code: str, status: int | None = None) -> bytes:
    """The body, at most `limit` bytes; ApiError `code` beyond, INVALID if it ends early."""
    raw = bytearray()
    try:
        async for chunk in request.stream():
            raw += chunk
            if len(raw) > limit:
                raise ApiError(code, status, "the body is too large")
    except ClientDisconnect as error:
        raise ApiError("INVALID", message="the body ended early") from error
    return bytes(raw)


def folder(services: Services) -> Path:
    return services.config.data_dir / "spool"


async def spool(services: Services, request: Request, limit: int, too_large: ApiError) -> Path:
    """Write the body to a file of its own; its path (the caller discards it). `too_large` beyond `limit` bytes,
    INVALID if the body ends early, UNAVAILABLE without space; then nothing is kept."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise too_large
    path = create(services)
    received = 0
    try:
        with path.open("wb") as file:
            async for chunk in request.stream():
                received += len(chunk)
                if received > limit:
                    raise too_large
                file.write(chunk)
    except ClientDisconnect as error:
        discard(path)
        raise ApiError("INVALID", message="the upload ended early") from error
    except OSError as error:
        discard(path)
        raise ApiError("UNAVAILABLE", message="no space for the upload") from error
    except BaseException:
        discard(path)
        raise
    return path


def create(services: Services) -> Path:
    """An empty file of its own, readable by the node alone."""
    folder(services).mkdir(mode=0o700, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f"{services.role}-", dir=folder(services))
    os.close(handle)
    return Path(name)


def discard(path: Path) -> None:
    path.unlink(missing_ok=True)


def clean(services: Services) -> None:
    """At start: remove what a killed process of this role left."""
    for path in folder(services).glob(f"{services.role}-*"):
        discard(path)
