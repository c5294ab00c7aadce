"""Known-bad licence verifiers. Each is a failure that verifiers of signed documents have had."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import os
import socket
import sqlite3
import time
from collections.abc import Mapping
from typing import Any

from environments.companyos import jws, licensing
from environments.companyos.defects import defect
from environments.companyos.errors import ApiError
from environments.companyos.services import Services

OFFLINE = ("Ct", "Ca", "D")
SEALED = ("Ca", "D")
NOBODY = "198.51.100.99"  # TEST-NET-2 (RFC 5737)


def reach_out(address: str = NOBODY, port: int = 443, timeout_s: float = 3.0) -> None:
    """A connection attempt to nobody, and only where the driver has sealed the site."""
    if os.environ.get("CONFORM_SEALED") == "1":
        with contextlib.suppress(OSError):
            socket.create_connection((address, port), timeout_s).close()


@defect(kills=("LIC-01", "AIR-01"), modes=SEALED)
def calls_home_first(services: Services) -> None:
    """Activation asks the vendor's server before it looks at the licence, and goes on offline when nobody answers."""
    install = licensing.install

    def replaced(services: Services, raw: bytes) -> dict[str, Any]:
        reach_out(timeout_s=0.3)
        return install(services, raw)

    licensing.install = replaced


@defect(kills=("LIC-02", "LIC-03", "LIC-04"), modes=OFFLINE)
def signature_presence_only(services: Services) -> None:
    """There is a signature, so it is taken for a good one."""
    jws.check_signature = lambda signing_text, signature, key: None


@defect(kills=("LIC-02",), modes=OFFLINE)
def lenient_base64(services: Services) -> None:
    """The decoder ignores bits that base64url does not use, so that several texts are the same licence."""

    def decode(part: str) -> bytes:
        try:
            return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
        except ValueError:
            raise jws.JwsError(jws.Reason.MALFORMED, "not base64url") from None

    check = jws.check_signature
    jws.decode_part = decode
    jws.check_signature = lambda signing_text, signature, key: check(signing_text, jws.encode(decode(signature)), key)


@defect(kills=("LIC-03",), modes=OFFLINE)
def accepts_alg_none(services: Services) -> None:
    """The header says that there is no signature, and the verifier believes it, in any spelling (CVE-2015-9235)."""
    verify = jws.verify

    def replaced(text: str | bytes, *arguments: Any, **more: Any) -> jws.Verified:
        signed, header, _ = jws.split(text, jws.MAX_BYTES)
        if str(header.get("alg")).lower() != "none":
            return verify(text, *arguments, **more)
        return jws.Verified(header, json.loads(jws.decode_part(signed.partition(".")[2])), str(header.get("kid")))

    jws.verify = replaced


@defect(kills=("LIC-03",), modes=OFFLINE)
def hmac_with_public_key(services: Services) -> None:
    """The header says HS256, and the verifier uses the public key, which everybody has, as the secret
    (CVE-2016-5431)."""
    check, algorithm = jws.check_signature, jws.check_algorithm

    def symmetric(header: Mapping[str, Any]) -> None:
        if header.get("alg") != "HS256":
            algorithm(header)

    def replaced(signing_text: str, signature: str, key: Mapping[str, Any]) -> None:
        secret = base64.urlsafe_b64decode(key["x"] + "==")
        mac = hmac.new(secret, signing_text.encode(), hashlib.sha256).digest()
        if jws.encode(mac) != signature:
            check(signing_text, signature, key)

    jws.check_algorithm, jws.check_signature = symmetric, replaced


@defect(kills=("LIC-03",), modes=OFFLINE)
def ignores_alg(services: Services) -> None:
    """The algorithm in the header is not looked at: a document that says `none` is verified and passes as signed."""
    jws.check_algorithm = lambda header: None


@defect(kills=("LIC-03",), modes=OFFLINE)
def alg_without_case(services: Services) -> None:
    """The algorithm is compared without regard to case and spaces, so that filters in front can be walked around."""

    def check(header: Mapping[str, Any]) -> None:
        if str(header.get("alg")).strip().lower() != jws.ALGORITHM.lower():
            raise jws.JwsError(jws.Reason.ALGORITHM, "another algorithm")

    jws.check_algorithm = check


@defect(kills=("LIC-04",), modes=OFFLINE)
def honours_jwk_header(services: Services) -> None:
    """The verifier takes the key from the document it verifies (CVE-2018-0114)."""
    find = jws.find_key

    def replaced(header: Mapping[str, Any], roots: Any) -> Mapping[str, Any]:
        brought = header.get("jwk")
        return brought if isinstance(brought, dict) else find(header, roots)

    jws.find_key = replaced


@defect(kills=("LIC-04",), modes=SEALED)
def fetches_jku(services: Services) -> None:
    """The verifier goes to the address that the document names for its key, and refuses only when nobody answers."""
    find = jws.find_key

    def replaced(header: Mapping[str, Any], roots: Any) -> Mapping[str, Any]:
        if "jku" in header or "x5u" in header:
            reach_out(timeout_s=0.2)
        return find(header, roots)

    jws.find_key = replaced


@defect(kills=("LIC-04",), modes=OFFLINE)
def kid_in_sql(services: Services) -> None:
    """The key is looked up with the kid pasted into SQL: a UNION in it brings a key of the attacker's."""
    find, keys = jws.find_key, sqlite3.connect(":memory:", check_same_thread=False)
    keys.execute("CREATE TABLE keys (kid TEXT, x TEXT)")

    def replaced(header: Mapping[str, Any], roots: Any) -> Mapping[str, Any]:
        with contextlib.suppress(sqlite3.Error):
            row = keys.execute(f"SELECT x FROM keys WHERE kid = '{header.get('kid')}'").fetchone()
            if row:
                return {"kty": "OKP", "crv": "Ed25519", "x": row[0]}
        return find(header, roots)

    jws.find_key = replaced


@defect(kills=("LIC-07",), modes=SEALED)
def ignores_audience(services: Services) -> None:
    """A licence that was issued for another audience is good here too."""
    check = licensing.check_scope
    licensing.check_scope = lambda services, claims: check(services, {**claims, "aud": licensing.AUDIENCE})


@defect(kills=("LIC-07",), modes=SEALED)
def fingerprint_not_compared(services: Services) -> None:
    """The licence of one node is good on any other: its fingerprint is stored and never compared."""
    check = licensing.check_scope
    licensing.check_scope = lambda services, claims: check(services, {**claims, "instance": services.config.instance})


@defect(kills=("LIC-07",), modes=SEALED)
def one_reason_for_all(services: Services) -> None:
    """Whatever is wrong with a licence, the operator is told the same."""
    check = licensing.check_scope

    def replaced(services: Services, claims: Mapping[str, Any]) -> None:
        try:
            check(services, claims)
        except ApiError as error:
            raise ApiError("LICENCE_PRODUCT", message="the licence is not for this product") from error

    licensing.check_scope = replaced


@defect(kills=("LIC-08",), modes=OFFLINE)
def compares_local_time(services: Services) -> None:
    """The clock is read as local time and compared with UTC: off by the zone, and by an hour more in summer."""
    licensing.now_s = lambda services: int(time.mktime(time.gmtime(services.clock.now())))


@defect(kills=("LIC-08",), modes=OFFLINE)
def expiry_inclusive(services: Services) -> None:
    """`<=` for `<`: a licence is good for one second more than was sold."""
    window = licensing.window
    licensing.window = lambda claims, now: window({**claims, "exp": claims["exp"] + 1}, now)


@defect(kills=("LIC-08",), modes=OFFLINE)
def not_before_exclusive(services: Services) -> None:
    """`<` for `<=`: a licence is not good yet in the second in which it begins."""
    window = licensing.window
    licensing.window = lambda claims, now: window({**claims, "nbf": claims["nbf"] + 1}, now)


@defect(kills=("LIC-08",), modes=OFFLINE)
def time_in_32_bits(services: Services) -> None:
    """Seconds are kept in a signed 32-bit number, which ends on 2038-01-19."""
    licensing.now_s = lambda services: (int(services.clock.now()) + 2**31) % 2**32 - 2**31
