"""OpenLDAP's server for one customer: its configuration, and how it is started. See slapd.conf(5), slapo-ppolicy(5)."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from environments.directories import MANAGER, READER, SUFFIX

SOCKET = "ldapi"
CONFIG = """\
{schemas}
modulepath {modules}
moduleload back_mdb
moduleload ppolicy
pidfile {run}/slapd.pid
argsfile {run}/slapd.args
sizelimit 500
threads 4

database mdb
maxsize 67108864
suffix "{suffix}"
rootdn "{manager}"
rootpw {password}
directory {data}
index objectClass,uid,member eq
overlay ppolicy
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="{reader}" read by anonymous auth by * none
"""


@dataclass(frozen=True)
class Layout:
    """Where things are, as the server sees them. schemas, modules: of the installation."""

    schemas: Path = Path("/etc/ldap/schema")
    modules: Path = Path("/usr/lib/ldap")
    binary: Path = Path("/usr/sbin/slapd")
    home: Path = Path("/var/lib/directory")  # config/, data/ and run/ of this directory


def installed() -> Layout | None:
    """The server of this host; None without one."""
    found = shutil.which("slapd", path="/usr/sbin:/usr/local/sbin:/usr/lib/openldap:/usr/libexec")
    schemas = [path for path in (Path("/etc/ldap/schema"), Path("/etc/openldap/schema")) if path.is_dir()]
    modules = [path for path in (Path("/usr/lib/ldap"), Path("/usr/lib64/openldap")) if path.is_dir()]
    return Layout(schemas[0], modules[0], Path(found)) if found and schemas and modules else None


def write_config(folder: Path, layout: Layout, password: str) -> None:
    """Make the folders of a directory and its slapd.conf. folder: layout.home as this process sees it. The manager's
    password is in the file; it is readable by its owner alone."""
    for name in ("config", "data", "run"):
        (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    schemas = "\n".join(f"include {layout.schemas}/{name}.schema" for name in ("core", "cosine", "inetorgperson"))
    text = CONFIG.format(
        schemas=schemas,
        modules=layout.modules,
        run=layout.home / "run",
        data=layout.home / "data",
        suffix=SUFFIX,
        manager=MANAGER,
        reader=READER,
        password=password,
    )
    path = folder / "config" / "slapd.conf"
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")


def command(layout: Layout, port: int) -> list[str | Path]:
    """In the foreground, on loopback, and on a socket in run/ that the suite alone uses."""
    socket = quote(str(layout.home / "run" / SOCKET), safe="")
    listens = f"ldap://127.0.0.1:{port}/ ldapi://{socket}/"
    return [layout.binary, "-d", "0", "-h", listens, "-f", layout.home / "config" / "slapd.conf"]
