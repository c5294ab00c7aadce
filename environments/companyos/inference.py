"""The site's own model server: whether it answers, and completions from it.

It is reached directly, whatever proxy the environment names: prompts do not leave the site."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import Any

from environments.companyos.errors import ApiError

PROBE_TTL_S = 2.0
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_probed: dict[str, tuple[float, bool]] = {}


def answers(url: str | None) -> bool:
    """Does a model server answer there? Asked at most every PROBE_TTL_S, within half a second."""
    if url is None:
        return False
    at, answered = _probed.get(url, (0.0, False))
    if time.monotonic() - at < PROBE_TTL_S and at:
        return answered
    try:
        with _direct.open(url.rstrip("/") + "/v1/models", timeout=0.5) as response:  # fixed by configuration
            answered = response.status == 200
    except (urllib.error.URLError, OSError, ValueError):
        answered = False
    _probed[url] = (time.monotonic(), answered)
    return answered


def complete(url: str, body: dict[str, Any]) -> tuple[int, bytes, str]:
    """Forward to the site's model server: status, body, media type."""
    data = json.dumps(body).encode()
    request = urllib.request.Request(
        url.rstrip("/") + "/v1/chat/completions", data=data, headers={"Content-Type": "application/json"}
    )
    try:
        with _direct.open(request, timeout=300) as answer:
            return answer.status, answer.read(), answer.headers.get("content-type", "application/json")
    except urllib.error.HTTPError as error:
        if error.code < 500:
            raise ApiError("INVALID", message="the model server refused the request") from error
        raise ApiError("UNAVAILABLE", message="the model server failed") from error
    except (urllib.error.URLError, OSError) as error:
        raise ApiError("UNAVAILABLE", message="the model server does not answer") from error
