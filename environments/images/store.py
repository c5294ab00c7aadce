"""Where inputs, layers and the manifest of built images are kept between runs: `<cache>/images`."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from environments.network.toxics.real import cache_dir


def root() -> Path:
    path = cache_dir() / "images"
    path.mkdir(parents=True, exist_ok=True)
    return path


def folder(name: str) -> Path:
    path = root() / name
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder on the cache's disk, for what is renamed into its place when it is whole; removed in any case."""
    path = Path(tempfile.mkdtemp(prefix="part-", dir=folder("parts")))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def put(made: Path, place: Path, whole: Callable[[], bool]) -> None:
    """Rename a folder that is whole to its place. Of two processes that made it the first counts: its files may be in
    use; only one that is not `whole` gives way."""
    with locked("store"):
        if place.exists():
            if whole():
                return
            shutil.rmtree(place)
        made.chmod(0o755)
        made.rename(place)


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Holds one lock of the cache: other processes build too."""
    with (root() / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def write_atomically(path: Path, text: str) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
