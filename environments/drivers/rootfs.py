"""Files of a container's image, through the root that one of its processes has."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from environments.contract import ContainerFacts, ImageFile, SuiteError

MADE_BY_ENGINES = ("/.dockerenv", "/run/.containerenv")


def files(container: ContainerFacts) -> Sequence[ImageFile]:
    """Regular files on the root's own file system: what is mounted is not of the image, and links are not followed."""
    root = _root(container)
    device = root.stat().st_dev
    found: list[ImageFile] = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if Path(folder, name).lstat().st_dev == device]
        for name in names:
            path = Path(folder, name)
            facts = path.lstat()
            inside = f"/{path.relative_to(root)}"
            if stat.S_ISREG(facts.st_mode) and facts.st_dev == device and inside not in MADE_BY_ENGINES:
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                found.append(ImageFile(inside, facts.st_size, bool(facts.st_mode & 0o111), digest))
    return sorted(found, key=lambda each: each.path)


def read(container: ContainerFacts, path: str) -> bytes:
    """FileNotFoundError; OSError where a link leads out."""
    handle = os.open(_root(container) / path.lstrip("/"), os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(handle, "rb") as file:
        return file.read()


def _root(container: ContainerFacts) -> Path:
    if not container.processes:
        raise SuiteError(f"{container.name} has no process whose files could be seen")
    return Path("/proc", str(container.processes[0].pid), "root")
