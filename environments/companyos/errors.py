"""Refusals: one exception, one table of codes, the same shape on every surface. A refusal is never a 500."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from environments.companyos import log

STATUS: dict[str, int] = {
    "UNAUTHENTICATED": 401,
    "FORBIDDEN": 403,
    "NOT_FOUND": 404,
    "INVALID": 400,
    "CONFLICT": 409,
    "UNSUPPORTED_IN_MODE": 501,
    "POLICY_UNAVAILABLE": 503,
    "CAPABILITY_ABSENT": 501,
    "UNAVAILABLE": 503,
    "KEY_UNAVAILABLE": 503,
    "STORAGE_FULL": 507,
    "RATE_LIMITED": 429,
    "PERSISTED_QUERY_NOT_FOUND": 404,
    "PROMOTION_REFUSED": 409,
}
TRY_AGAIN = frozenset(
    {"UNAVAILABLE", "STORAGE_FULL", "KEY_UNAVAILABLE"}
)  # refusals that say nothing about what was asked


class ApiError(Exception):
    """A refusal with a named reason. `status` defaults to the code's own (422 for codes outside the table)."""

    def __init__(self, code: str, status: int | None = None, message: str = "") -> None:
        super().__init__(message or code)
        self.code = code
        self.status = status if status is not None else STATUS.get(code, 422)
        self.message = message or code.replace("_", " ").lower()


def later(status: int) -> dict[str, str]:
    """Headers of a refusal that asks to be tried again."""
    return {"Retry-After": "1"} if status == 429 else {}


def answer(code: str, status: int, message: str) -> Response:
    return JSONResponse({"error": {"code": code, "message": message}}, status_code=status, headers=later(status))


async def on_api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return answer(error.code, error.status, error.message)


def of_disk(error: OSError) -> ApiError | None:
    """The refusal that a disk which takes no more stands for; None for other errors."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ApiError("STORAGE_FULL", message="there is no space left to keep it")
    if error.errno == errno.EROFS:
        return ApiError("UNAVAILABLE", message="the disk takes no writes")
    return None


async def on_os_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, OSError)
    refusal = of_disk(error)
    return await (on_crash(request, error) if refusal is None else on_api_error(request, refusal))


async def on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: "NOT_FOUND", 401: "UNAUTHENTICATED", 403: "FORBIDDEN"}.get(error.status_code, "INVALID")
    return answer(code, error.status_code, "no such resource" if error.status_code == 404 else str(error.detail))


async def on_crash(request: Request, error: Exception) -> Response:
    """The answer tells nothing of the cause; the log tells its type and place, not its values."""
    log.crash("request", error)
    return answer("INTERNAL", 500, "internal error")


HANDLERS: Mapping[Any, Callable[[Request, Exception], Any]] = {
    ApiError: on_api_error,
    HTTPException: on_http_error,
    OSError: on_os_error,
    Exception: on_crash,
}
