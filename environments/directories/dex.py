"""The customer's OpenID provider: the server of Dex, people from their LDAP directory.

Dex was chosen before Keycloak: 23 MB and ready in 0.1 s, against some 200 MB of jars and ten seconds of a JVM.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from environments.directories import GROUPS, LOCKED, PEOPLE, READER

BINARY = Path("/usr/bin/dex-server")
CLIENT = "companyos"


@dataclass(frozen=True)
class Provider:
    """port: where it listens, on loopback; ldap_port: of its directory, on loopback."""

    port: int
    ldap_port: int
    redirect_uri: str
    client_secret: str
    reader_password: str

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}/dex"

    def document(self) -> dict[str, Any]:
        people = {
            "baseDN": PEOPLE,
            "filter": f"(&(objectClass=inetOrgPerson)(!({LOCKED}=*)))",
            "username": "uid",
            "idAttr": "uid",
            "emailSuffix": "customer.example",
            "nameAttr": "cn",
            "preferredUsernameAttr": "uid",
        }
        groups = {
            "baseDN": GROUPS,
            "filter": "(objectClass=groupOfNames)",
            "userMatchers": [{"userAttr": "DN", "groupAttr": "member"}],
            "nameAttr": "cn",
        }
        ldap = {
            "host": f"127.0.0.1:{self.ldap_port}",
            "insecureNoSSL": True,
            "bindDN": READER,
            "bindPW": self.reader_password,
            "userSearch": people,
            "groupSearch": groups,
        }
        return {
            "listen": f"127.0.0.1:{self.port}",
            "issuer": self.issuer,
            "client_id": CLIENT,
            "client_secret": self.client_secret,
            "redirect_uris": [self.redirect_uri],
            "ldap": ldap,
        }


def write_config(path: Path, provider: Provider) -> None:
    """Readable by its owner alone: it holds secrets."""
    path.touch(mode=0o600)
    path.write_text(json.dumps(provider.document(), indent=1), encoding="utf-8")
