"""Programs built from pinned Go modules by a pinned toolchain, so that their bytes are the same everywhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

from environments.images import fetching, store
from environments.images.errors import BuildError
from environments.images.lockfile import FOLDER, Input
from environments.images.recipe import GoSource
from environments.images.tree import Component

BUILD_S = 900.0
JOBS = "2"


def toolchain(item: Input) -> Path:
    """The `go` of the pinned version: the host's if it is that very one, else fetched from the module proxy."""
    installed = shutil.which("go")
    if installed and _version(installed) == item.version:
        return Path(installed)
    place = store.folder("toolchains") / item.version
    if not (place / "bin" / "go").exists():
        archive = fetching.fetch(item)
        with store.scratch() as scratch:
            _unzip(archive, scratch)
            store.put(scratch, place, (place / "bin" / "go").exists)
    return place / "bin" / "go"


def needs_toolchain(item: Input) -> bool:
    """Whether the pinned toolchain must be fetched: the host has none of that version, nor has the cache."""
    installed = shutil.which("go")
    at_hand = installed and _version(installed) == item.version
    return not at_hand and not (store.folder("toolchains") / item.version / "bin" / "go").exists()


def _version(go: str) -> str:
    """Its version, as go.mod would name it: go1.26.8."""
    try:
        argv = [go, "env", "GOVERSION"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False, env=_own_toolchain())
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def _own_toolchain() -> dict[str, str]:
    return os.environ | {"GOTOOLCHAIN": "local"}


def _unzip(archive: Path, target: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as packed:
            for info in packed.infolist():
                inside = info.filename.partition(".linux-amd64/")[2]  # below golang.org/toolchain@<version>
                if not inside or info.is_dir() or ".." in inside.split("/"):
                    continue
                path = target / inside
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(packed.read(info))
                if inside.startswith(("bin/", "pkg/tool/")):
                    path.chmod(0o755)
    except zipfile.BadZipFile as error:
        raise BuildError(f"the Go toolchain {archive} is damaged ({error}). Remove it and build again") from None


def source_digest(source: GoSource) -> dict[str, str]:
    """Name -> sha256 of the files that pin, or are, the program."""
    folder = FOLDER / source.folder
    return {path.name: store.sha256_of(path) for path in sorted(folder.iterdir()) if path.is_file()}


def main_module(source: GoSource) -> str:
    """path@version of the module that has the program; a module of ours has this suite's version."""
    text = (FOLDER / source.folder / "go.mod").read_text(encoding="utf-8")
    for path, version in re.findall(r"^(?:require )?\s*(\S+) (v\S+)(?: // .*)?$", text, re.MULTILINE):
        if path in (source.module, source.package) or source.package.startswith(path + "/"):
            return f"{path}@{version}"
    return f"{text.split()[1]}@"  # the first line: module <path>


def build(source: GoSource, go: Path, target: Path) -> None:
    """Build the program. Module sums come from go.sum alone; Raises BuildError with what Go said."""
    argv = [str(go), "build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-p", JOBS]
    argv += ["-ldflags", f"-s -w -buildid= {source.ldflags}".strip(), "-o", str(target), source.package]
    environment = _own_toolchain() | {
        "CGO_ENABLED": "0",
        "GOOS": "linux",
        "GOARCH": "amd64",
        "GOAMD64": "v1",
        "GOFLAGS": "-modcacherw",
        "GOMODCACHE": str(store.folder("go-modules")),  # kept, and removed, with the rest of the cache
        "GOCACHE": str(store.folder("go-build")),
        "GOWORK": "off",
        "GOSUMDB": "off",  # go.sum holds every sum; a lab without the sum database builds too
        "GOROOT": str(go.resolve().parents[1]),
    }
    try:
        done = subprocess.run(
            argv,
            cwd=FOLDER / source.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=BUILD_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"{source.package} could not be built: {error}. Build again") from None
    if done.returncode:
        said = " ".join(done.stderr.split())[-400:]
        raise BuildError(f"{source.package} could not be built: {said}. Check GOPROXY (docs/images.md)")


def modules(binary: Path, go: Path) -> list[Component]:
    """The modules that Go recorded in a program."""
    done = subprocess.run([str(go), "version", "-m", str(binary)], capture_output=True, text=True, check=True)
    found = []
    for line in done.stdout.splitlines():
        fields = line.split()
        if len(fields) >= 3 and fields[0] in ("dep", "mod"):
            name, version = fields[1], fields[2]
            found.append(Component("go", name, version, f"pkg:golang/{name}@{version}"))
    return found
