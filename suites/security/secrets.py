"""SEC-10: secrets that a file gives away, and credentials that a stock list opens."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence

from environments.contract import vacuous

# name -> pattern. Patterns of published scanners (gitleaks, trufflehog), narrowed to what can stand in such files.
PATTERNS: Mapping[str, re.Pattern[bytes]] = {
    "private key": re.compile(rb"-----BEGIN (?:RSA |EC |OPENSSH |ENCRYPTED )?PRIVATE KEY-----"),
    "private JWK": re.compile(rb'"d"\s*:\s*"[A-Za-z0-9_-]{40,}"'),
    "Stripe key": re.compile(rb"\b[sr]k_(?:live|test)_[0-9A-Za-z]{8,}"),
    "AWS key id": re.compile(rb"\bAKIA[0-9A-Z]{16}\b"),
    "GitHub token": re.compile(rb"\bgh[pousr]_[0-9A-Za-z]{30,}"),
    "Slack token": re.compile(rb"\bxox[abprs]-[0-9A-Za-z-]{10,}"),
    "literal secret": re.compile(
        rb"""(?i)["']?(?:password|passwd|secret|hmac_?key|api_?key|jwt_secret)["']?\s*[:=]\s*["']?"""
        rb"""(?:admin|password|changeme|change_me|secret|letmein|default|postgres|neo4j|companyos|minioadmin|"""
        rb"""dev-secret[\w-]*|test|123456\d*|your[-_]secret[\w-]*)["'\s,}]"""
    ),
}


# Only tokens of sessions are secrets: licences, bundles and policies are signed documents too.
_JWS = re.compile(rb"\b(eyJ[\w-]{10,})\.eyJ[\w-]{20,}\.[\w-]{40,}")


def _session_token(header: bytes) -> bool:
    """By its type alone: three letters of a key id can be j, w and t by chance."""
    try:
        document = json.loads(base64.urlsafe_b64decode(header + b"=" * (-len(header) % 4)))
    except ValueError:  # binascii.Error and JSONDecodeError are
        return False
    return isinstance(document, dict) and "jwt" in str(document.get("typ", "")).lower()


def findings(content: bytes, known: Mapping[str, str] | None = None) -> list[str]:
    """Names of what `content` gives away. known: label -> secret value that must not be in clear."""
    found = [name for name, pattern in PATTERNS.items() if pattern.search(content)]
    found += ["session token"] if any(_session_token(match[1]) for match in _JWS.finditer(content)) else []
    return found + [label for label, value in (known or {}).items() if len(value) >= 8 and value.encode() in content]


def judge_files(scanned: Mapping[str, Sequence[str]]) -> list[str]:
    """`scanned`: file -> findings in it; vacuous when no file was read."""
    if not scanned:
        vacuous("no file was scanned")
    return [f"{file}: {finding}" for file, found in scanned.items() for finding in found]


def judge_stock_credentials(attempts: Sequence[tuple[str, str, int]]) -> list[str]:
    """`attempts`: (listener, tenant/user, status). 401 is the refusal; vacuous when none was tried."""
    if not attempts:
        vacuous("no stock credential was tried")
    accepted = [f"{where} accepts {who}" for where, who, status in attempts if 200 <= status < 300]
    crashed = [
        f"{where} answers {status} to {who}" for where, who, status in attempts if status >= 500 and status != 501
    ]
    return accepted + crashed
