"""The node's licence: verified offline, judged by the node's clock, one file of state.

Valid iff `nbf <= now < exp`, whole seconds since the epoch, UTC. The licence is judged again at every question, so
there is no state to go stale; the file keeps the licence text and the latest time at which the node has seen this
licence, so that a clock set back does not revive an expired one. The way out of a clock that once ran ahead is a
licence with another text.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from environments.companyos import files, jws, log
from environments.companyos.errors import ApiError
from environments.companyos.services import Services

PREFIX = "LICENCE_"
BACKWARDS_TOLERANCE_S = 3600  # a clock may be corrected by this much
CODES: Mapping[jws.Reason, str] = {
    jws.Reason.MALFORMED: "LICENCE_MALFORMED",
    jws.Reason.UNSIGNED: "LICENCE_SIGNATURE",
    jws.Reason.SIGNATURE: "LICENCE_SIGNATURE",
    jws.Reason.ALGORITHM: "LICENCE_ALGORITHM",
    jws.Reason.KEY: "LICENCE_KEY",
    jws.Reason.TYPE: "LICENCE_TYPE",
}
ISSUER = "companyos-vendor"
AUDIENCE = PRODUCT = "companyos"
_lock = threading.Lock()


def state_file(services: Services) -> Path:
    return services.config.data_dir / "licence.json"


def verify(services: Services, text: str | bytes) -> dict[str, Any]:
    """Claims of a genuine licence. ApiError 422 with the reason; nothing is installed."""
    try:
        verified = jws.verify(text, services.config.trust_roots, "licence")
    except jws.JwsError as error:
        raise ApiError(CODES[error.reason], message=str(error)) from None
    check_shape(verified.payload)
    return verified.payload


def check_shape(claims: Mapping[str, Any]) -> None:
    """Claims of the right types. A missing claim that check_scope compares is left to it, for its own reason."""
    times_ok = all(type(claims.get(name)) is int and claims[name] >= 0 for name in ("nbf", "exp"))
    seats_ok = type(claims.get("seats", 0)) is int and claims.get("seats", 0) >= 0
    features = claims.get("features", [])
    features_ok = isinstance(features, list) and all(isinstance(feature, str) for feature in features)
    serial_ok = isinstance(claims.get("serial"), int | str) and not isinstance(claims.get("serial"), bool)
    if not (times_ok and seats_ok and features_ok and serial_ok) or claims.get("iss") != ISSUER:
        raise ApiError("LICENCE_MALFORMED", message="claims are missing or of the wrong type")


def check_scope(services: Services, claims: Mapping[str, Any]) -> None:
    """Is the licence for this product, mode, customer and instance? Each mismatch has its own reason."""
    config = services.config
    expected = (
        ("LICENCE_AUDIENCE", "aud", AUDIENCE),
        ("LICENCE_PRODUCT", "product", PRODUCT),
        ("LICENCE_MODE", "mode", config.mode),
        ("LICENCE_CUSTOMER", "customer", config.customer),
        ("LICENCE_INSTANCE", "instance", config.instance),
    )
    for code, claim, value in expected:
        if claims.get(claim) != value:
            raise ApiError(code, message=f"the licence has another {claim}")


def now_s(services: Services) -> int:
    """The time that licences are judged by: whole seconds since the epoch."""
    return int(services.clock.now())


def window(claims: Mapping[str, Any], now: int) -> str:
    """valid, not_yet_valid or expired. Valid: nbf <= now < exp."""
    if now < claims["nbf"]:
        return "not_yet_valid"
    return "valid" if now < claims["exp"] else "expired"


def rolled_back(seen: int, now: int) -> bool:
    """Was the clock set back further than a correction?"""
    return now < seen - BACKWARDS_TOLERANCE_S


def judge(services: Services, text: str | bytes, seen: int) -> tuple[str, str | None, dict[str, Any]]:
    """-> (state, reason, claims) now; `seen` is the latest time known of this licence. ApiError if it is not
    genuine."""
    claims = verify(services, text)
    check_scope(services, claims)
    now = now_s(services)
    state = window(claims, now)
    if rolled_back(seen, now):
        return ("expired" if window(claims, seen) == "expired" else state), "CLOCK_ROLLBACK", claims
    reason = {"not_yet_valid": "LICENCE_NOT_YET_VALID", "expired": "LICENCE_EXPIRED"}.get(state)
    return state, reason, claims


def read_state(services: Services) -> tuple[str, int] | None:
    """-> (licence text, latest time seen), None if there is no licence. ValueError if the file is damaged."""
    try:
        document = json.loads(state_file(services).read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ValueError("unreadable") from error
    if not isinstance(document, dict) or not isinstance(document.get("licence"), str):
        raise ValueError("damaged")
    if type(document.get("seen")) is not int:
        raise ValueError("damaged")
    return document["licence"], document["seen"]


def write_state(services: Services, text: str, seen: int) -> None:
    files.write_atomic(state_file(services), json.dumps({"licence": text, "seen": seen}).encode())


def install(services: Services, raw: bytes) -> dict[str, Any]:
    """Install a licence that is valid now; the status after it. ApiError 422: the installed one stays."""
    with _lock:
        try:
            before = read_state(services)
        except ValueError:
            before = None
        same = before is not None and before[0].encode() == raw
        state, _, _ = judge(services, raw, before[1] if same and before else 0)
        if state != "valid":
            raise ApiError(PREFIX + state.upper(), message="now is outside nbf <= now < exp")
        text = raw.decode("ascii")
        write_state(services, text, max(now_s(services), before[1] if same and before else 0))
    log.info("licence installed")
    return status(services)


def status(services: Services) -> dict[str, Any]:
    """`{state, reason, claims}` now. A file that is damaged or no longer genuine counts as none, with its reason."""
    nothing: dict[str, Any] = {"state": "none", "reason": None, "claims": None}
    try:
        stored = read_state(services)
        if stored is None:
            return nothing
        text, seen = stored
        state, reason, claims = judge(services, text, seen)
    except ValueError:
        return {**nothing, "reason": "LICENCE_STATE"}
    except ApiError as error:
        return {**nothing, "reason": error.code}
    remember(services, text, seen, claims)
    return {"state": state, "reason": reason, "claims": claims}


def look(services: Services) -> str:
    """The state alone, by whoever keeps none: two services of a node see its licence, and one writes."""
    try:
        stored = read_state(services)
        return "none" if stored is None else judge(services, *stored)[0]
    except (ValueError, ApiError):
        return "none"


def remember(services: Services, text: str, seen: int, claims: Mapping[str, Any]) -> None:
    """Keep the latest time: at once when the licence has run out, otherwise at most every minute."""
    now = now_s(services)
    ran_out = now >= claims["exp"] > seen
    if not ran_out and now < seen + 60:
        return
    with _lock:
        try:
            current = read_state(services)
            if current is not None and current[0] == text and current[1] < now:
                write_state(services, text, now)
        except (OSError, ValueError):
            log.warning("licence state cannot be kept")
