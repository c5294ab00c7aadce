"""Wheels, laid out as pip would for the image's Python, and its bytecode, made by that Python.

No container runs: the image's own loader starts the image's Python on the host, from a folder.
"""

from __future__ import annotations

import os
import re
import subprocess
import tarfile
import zipfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from environments.images import store
from environments.images.errors import BuildError
from environments.images.layer import Layer, write
from environments.images.tree import Component, Tree

LOADER = "usr/lib64/ld-linux-x86-64.so.2"
LIBRARIES = "usr/lib/x86_64-linux-gnu"
PYTHON = "usr/bin/python3.13"
COMPILE_S = 300.0
SCHEMES = (
    "purelib",
    "platlib",
)  # parts of a wheel's data folder that are modules; its scripts and headers are not wanted


def unpack(path: Path, owner: Component, target: str) -> Tree:
    """The modules of a wheel below `target`, and its metadata. Raises BuildError if it is no wheel."""
    tree = Tree()
    try:
        with zipfile.ZipFile(path) as wheel:
            for info in wheel.infolist():
                name = _module_path(info.filename)
                if name and not info.is_dir():
                    mode = 0o755 if info.external_attr >> 16 & 0o111 else 0o644
                    tree.file(f"{target}/{name}", wheel.read(info), owner, mode)
    except (zipfile.BadZipFile, EOFError) as error:
        raise BuildError(f"{path.name} is no wheel ({error}). Remove {path} and build again") from None
    return tree


def _module_path(name: str) -> str:
    inside = re.match(r"[^/]+\.data/([^/]+)/(.*)$", name)
    if not inside:
        return name
    return inside[2] if inside[1] in SCHEMES else ""


def compiled(modules: Tree, runtime: Iterable[Layer | Tree]) -> Tree:
    """The bytecode of every module in `modules`; `runtime` has the Python and what it needs.

    Its files are marked to be taken unchecked: the root is read-only, and looking at each source costs a start 10 %.
    """
    sources = {path: entry for path, entry in modules.entries.items() if path.endswith(".py") and entry.kind == "file"}
    if not sources:
        return Tree()
    tree = Tree()
    with store.scratch() as scratch:
        for part in [*runtime, modules]:
            _materialise(part, scratch)
        _compile(scratch, sources)
        for path, entry in sources.items():
            folder, _, name = path.rpartition("/")
            made = f"{folder}/__pycache__/{name.removesuffix('.py')}.cpython-313.pyc"
            if (scratch / made).is_file():  # a file that is no Python 3.13 (a template, a test of the parser) has none
                tree.add(made, replace(entry, mode=0o644, data=(scratch / made).read_bytes()))
    return tree


def _materialise(part: Layer | Tree, folder: Path) -> None:
    if isinstance(part, Tree):
        part = write(part, folder / ".part.tar", "")
    with tarfile.open(part.path) as tar:
        tar.extractall(folder, filter="fully_trusted")
    (folder / ".part.tar").unlink(missing_ok=True)


def _compile(scratch: Path, sources: Iterable[str]) -> None:
    listing = scratch / ".sources"
    listing.write_text("".join(f"{scratch / path}\n" for path in sorted(sources)), encoding="utf-8")
    argv = [str(scratch / LOADER), "--library-path", str(scratch / LIBRARIES), str(scratch / PYTHON)]
    argv += ["-S", "-B", "-m", "compileall", "-f", "-q", "-j", "1", "--invalidation-mode", "unchecked-hash"]
    argv += ["-s", str(scratch), "-p", "/", "-i", str(listing)]
    environment = {"PYTHONHOME": str(scratch / "usr"), "PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "PATH": os.defpath}
    try:
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=COMPILE_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"the image's Python could not be started on this host: {error}. Report it") from None
    if "Traceback" in done.stderr or done.returncode not in (0, 1):  # 1: a file could not be compiled
        raise BuildError(f"the image's Python could not compile its modules: {done.stderr.strip()[-300:]}. Report it")
