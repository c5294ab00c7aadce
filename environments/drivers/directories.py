"""The customer's directory beside a node: LDAP on premises, an OpenID provider before it for a dedicated instance."""

from __future__ import annotations

import secrets
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from environments.contract import Capability
from environments.directories import READER, ROLES, SUFFIX, dex, slapd
from environments.directories.people import People
from environments.directories.signing_in import CustomerDirectory
from environments.drivers.local.deployment import LocalDeployment
from environments.drivers.local.hosts import free_port
from environments.drivers.local.node import LocalNode
from environments.drivers.runner import Component

LDAP, OIDC = ("connected", "tethered", "airgapped"), ("dedicated",)  # variants, by how their people sign in
LDAP_PORT, OIDC_PORT = 1389, 5556  # in a site with a namespace of its own
# The product's defaults are a minute and three seconds; checks wait for them.
SOON = {"recheck_s": 2.0, "answer_s": 1.0}


@dataclass(frozen=True)
class Programs:
    """The servers as they are installed where the nodes run. dex: None where there is none."""

    slapd: slapd.Layout
    dex: str | None
    inside: str | None = None  # where a directory's folder is mounted, in containers; None: it is seen as it is


def of_this_host() -> Programs | str:
    """Those of the host, or what is missing and the remedy."""
    found = slapd.installed()
    if found is None:
        return "no slapd is installed on this host. Install it (Debian: slapd), or use --driver containers"
    return Programs(found, shutil.which(dex.BINARY.name) or shutil.which("dex-server"))


def put_beside(deployment: LocalDeployment, programs: Programs) -> None:
    """A directory beside each node whose customer has one, and the configuration by which the node asks it."""
    namespaced = Capability.PACKET_LINKS in deployment.capabilities
    for name, node in deployment.locals.items():
        if node.variant in LDAP:
            services: tuple[str, ...] = ("directory",)
        elif node.variant in OIDC and programs.dex is not None:
            services = ("directory", "idp")
        else:
            continue
        ports = {"directory": LDAP_PORT, "idp": OIDC_PORT} if namespaced else {}
        tenant = deployment.spec.nodes[name].tenants[0]
        people, reader = _slapd(node, programs, ports.get("directory") or free_port(), tenant)
        if "idp" in services:
            _dex(node, programs, ports.get("idp") or free_port(), reader)
        deployment.directories[name] = CustomerDirectory(node, people, services, reader)


def _slapd(node: LocalNode, programs: Programs, port: int, tenant: str) -> tuple[People, str]:
    """-> (who is in it, the password of the product's account there)."""
    folder = node.home / "directory"
    layout = replace(programs.slapd, home=Path(programs.inside) if programs.inside else folder)
    manager, reader = secrets.token_urlsafe(18), secrets.token_urlsafe(18)
    slapd.write_config(folder, layout, manager)
    argv = [str(each) for each in slapd.command(layout, port)]
    node.put_beside("directory", Component("directory", argv, port, {folder: (str(layout.home), "rw")}))
    node.config["directory"] = {
        "kind": "ldap",
        "tenant": tenant,
        **SOON,
        "roles": ROLES,
        "url": f"ldap://127.0.0.1:{port}",
        "base_dn": SUFFIX,
        "bind_dn": READER,
        "bind_password": reader,
    }
    return People(folder / "run" / slapd.SOCKET, manager, tenant), reader


def _dex(node: LocalNode, programs: Programs, port: int, reader: str) -> None:
    folder = node.home / "idp"
    folder.mkdir(mode=0o700)
    redirect = f"{node.url('identity')}/v1/auth/oidc/callback"
    secret = secrets.token_urlsafe(18)
    provider = dex.Provider(port, node.runner.components["directory"].port, redirect, secret, reader)
    dex.write_config(folder / "config.json", provider)
    seen = "/etc/idp" if programs.inside else str(folder)
    argv = [str(programs.dex), f"{seen}/config.json"]
    node.put_beside("idp", Component("idp", argv, port, {folder: (seen, "rw")}))
    node.config["directory"] = {
        "kind": "oidc",
        "tenant": node.config["directory"]["tenant"],
        **SOON,
        "roles": ROLES,
        "issuer": provider.issuer,
        "client_id": dex.CLIENT,
        "client_secret": secret,
        "redirect_uri": redirect,
    }
