"""The real toxiproxy-server: found on PATH or in the cache, or built from its Go module.

    python -m environments.network.toxics.real      builds it where Go is, and prints its path

The version is pinned in go/go.mod, and go/go.sum verifies all that Go downloads.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

VERSION = "2.12.0"
_MODULE = "github.com/Shopify/toxiproxy/v2"
_GO = Path(__file__).parent / "go"
_BUILD_S = 600.0


class NoToxiproxy(Exception):
    """There is no real server here and none can be made; the message says why."""


def cache_dir() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "companyos-conform"


def found() -> Path | None:
    """The server of the pinned version in the cache, else the one on PATH, whatever its version."""
    built = cache_dir() / f"toxiproxy-server-{VERSION}"
    if built.exists():
        return built
    installed = shutil.which("toxiproxy-server")
    return Path(installed) if installed else None


def found_or_built() -> Path:
    """Raises NoToxiproxy: what is missing, or what Go said."""
    server = found()
    if server:
        return server
    go = shutil.which("go")
    if not go:
        raise NoToxiproxy("no toxiproxy-server on PATH or in the cache, and no Go to build it with")
    target = cache_dir() / f"toxiproxy-server-{VERSION}"
    part = target.with_suffix(f".{os.getpid()}")
    target.parent.mkdir(parents=True, exist_ok=True)
    argv = [go, "build", "-mod=readonly", "-trimpath", "-buildvcs=false"]
    argv += ["-ldflags", f"-s -w -X {_MODULE}.Version={VERSION}", "-o", str(part), f"{_MODULE}/cmd/server"]
    try:
        done = subprocess.run(argv, cwd=_GO, capture_output=True, text=True, timeout=_BUILD_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoToxiproxy(f"toxiproxy-server could not be built: {error}") from None
    if done.returncode:
        raise NoToxiproxy(f"toxiproxy-server could not be built: {done.stderr.strip()[-600:]}")
    part.replace(target)
    return target


def main() -> int:
    try:
        sys.stdout.write(f"{found_or_built()}\n")
    except NoToxiproxy as why:
        sys.stderr.write(f"{why}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
