"""SEC-10: a fresh deployment opens to no credential that a stock list holds or a file gives away."""

from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path

from environments.contract import Capability, Deployment, Evidence, Node, requirement, vacuous
from suites.exchange import assert_no_crash, conclude, http_bases, shown, signed_in, tenants
from suites.security.secrets import findings, judge_files, judge_stock_credentials

STOCK = [
    tuple(line.split())
    for line in (Path(__file__).parent / "stock_credentials.txt").read_text().splitlines()
    if line and not line.startswith("#")
]
LIMIT_BYTES = 8 << 20  # of one file; larger ones are releases and databases


def _bases(node: Node) -> list[str]:
    return list(http_bases(node).values())


@requirement("SEC-10")
def test_stock_credentials_open_no_http_listener(deployment: Deployment, evidence: Evidence) -> None:
    """The stock list is refused by the login and as basic authentication on every listener; a real account is not."""
    node = deployment.subject
    control = signed_in(node).graphql("{ me { sub } }")
    assert control.status == 200, f"a real account is refused: {shown(control)}"
    attempts: list[tuple[str, str, int]] = []
    session = node.http()
    for base in _bases(node):
        for user, password in STOCK:
            for tenant in {*tenants(node), "_system", "default"}:
                document = {"tenant": tenant, "username": user, "password": password}
                answer = assert_no_crash(session.request("POST", base + "/v1/auth/login", json=document), "login")
                attempts.append((f"{base}/v1/auth/login", f"{tenant}/{user}:{password}", answer.status))
        for path in ("/graphql", "/v1/licence", "/v1/policy", "/v1/audit?after=0"):
            for user, password in STOCK:
                value = base64.b64encode(f"{user}:{password}".encode()).decode()
                method, headers = "POST" if path == "/graphql" else "GET", {"Authorization": f"Basic {value}"}
                answer = session.request(method, base + path, headers=headers, json={"query": "{ me { sub } }"})
                attempts.append((base + path, f"Basic {user}:{password}", answer.status))
    evidence.add("attempts", len(attempts))
    conclude(evidence, judge_stock_credentials(attempts), "401 for each", f"{len(attempts)} attempts, none accepted")


@requirement("SEC-10", needs=(Capability.SQL_AUDIT, Capability.LISTENERS))
def test_stock_credentials_open_no_database(deployment: Deployment, evidence: Evidence) -> None:
    """No stock password and no open rule lets anybody into PostgreSQL over TCP; an edge node has no PostgreSQL."""
    node = deployment.subject
    if "postgres" not in node.services:
        postgres = [x for x in node.listeners() if x.port == 5432]
        evidence.expected, evidence.observed = "no PostgreSQL", f"{postgres or 'none listens'}"
        assert not postgres, evidence.observed
        if not node.listeners():
            vacuous("no listener was enumerated")
        return
    with node.sql() as connection:
        roles = [row[0] for row in connection.execute("select rolname from pg_roles where rolcanlogin").fetchall()]
        weak = []
        listen = connection.execute("select setting from pg_settings where name = 'port'").fetchone()[0]
        hosts = connection.execute("select setting from pg_settings where name = 'listen_addresses'").fetchone()[0]
        lax = connection.execute(
            "select line_number, type, auth_method from pg_hba_file_rules"
            " where type like 'host%' and auth_method in ('trust', 'password')"
        ).fetchall()
        for role, stored in connection.execute(
            "select rolname, rolpassword from pg_authid where rolcanlogin"
        ).fetchall():
            for password in {p for _, p in STOCK} | {role, ""}:
                if stored and _matches(stored, role, password):
                    weak.append(f"role {role} has the stock password {password!r}")
    evidence.add("roles", roles)
    evidence.add("listen", f"{hosts}:{listen}")
    problems = weak + [f"pg_hba line {n}: {kind} {method} (no or clear password over TCP)" for n, kind, method in lax]
    assert roles, "no role can log in: the audit saw nothing"
    conclude(
        evidence,
        problems,
        "scram for TCP, no stock password",
        f"{len(roles)} roles, {len(STOCK)} stock passwords, none fits",
    )


def _matches(stored: str, role: str, password: str) -> bool:
    """Does a stored verifier belong to this password? (RFC 5803 form of SCRAM, or md5.)"""
    if stored.startswith("md5"):
        return stored[3:] == hashlib.md5(password.encode() + role.encode()).hexdigest()
    if not stored.startswith("SCRAM-SHA-256$"):
        return stored == password
    head, keys = stored.removeprefix("SCRAM-SHA-256$").split("$")
    rounds, salt = head.split(":")
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), int(rounds))
    client_key = hmac.new(salted, b"Client Key", hashlib.sha256).digest()
    return base64.b64encode(hashlib.sha256(client_key).digest()).decode() == keys.split(":")[0]


@requirement("SEC-10", needs=(Capability.FILE_ACCESS,))
def test_files_give_no_secret_away(deployment: Deployment, evidence: Evidence) -> None:
    """Configuration, log and release files hold no key, token, literal secret or password of a user in clear."""
    node = deployment.subject
    assert findings(b'"password": "changeme"') and findings(b"-----BEGIN PRIVATE KEY-----"), "the scanner is blind"
    known = {f"password of {u.tenant}/{u.username}": u.password for u in node.users}
    client = signed_in(node)
    known["token of a session"] = str(client.token)
    scanned = {}
    for path in node.files():
        if not path.is_file() or path.stat().st_size > LIMIT_BYTES:
            continue
        scanned[str(path)] = _allowed(path, findings(path.read_bytes(), known))
    evidence.add("files", len(scanned))
    conclude(evidence, judge_files(scanned), "no finding", f"{len(scanned)} files scanned, no finding")


def _allowed(path: Path, found: list[str]) -> list[str]:
    """A file that only its owner reads may hold secrets of this installation, but neither a literal nor a token."""
    if path.stat().st_mode & 0o077 or path.suffix == ".log":
        return found
    return [f for f in found if f in {"literal secret", "session token", "token of a session"}]
