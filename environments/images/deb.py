"""Debian packages, unpacked: an ar archive of three members, of which data.tar.* has the files. No script is run.

The python-debian package reads them too, under the GPL; what is needed of it are the forty lines here.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

from environments.images.errors import BuildError
from environments.images.tree import Component, Entry, Tree

MAGIC = b"!<arch>\n"
HEADER_BYTES = 60
SETUID = 0o6000  # nothing in these images may change its user


def members(path: Path) -> Iterator[tuple[str, bytes]]:
    """(name, contents) of each member of an ar archive. Raises BuildError if it is none, or is cut short."""
    data = path.read_bytes()
    if not data.startswith(MAGIC):
        raise BuildError(f"{path.name} is no Debian package (no ar archive). Remove {path} and build again")
    at = len(MAGIC)
    while at < len(data):
        header = data[at : at + HEADER_BYTES]
        try:
            name, size = header[:16].decode().rstrip(" /"), int(header[48:58])
        except ValueError:
            raise BuildError(f"{path.name} is damaged at byte {at}. Remove {path} and build again") from None
        at += HEADER_BYTES
        if at + size > len(data):
            raise BuildError(f"{path.name} is cut short in {name}. Remove {path} and build again")
        yield name, data[at : at + size]
        at += size + size % 2


def unpack(path: Path, owner: Component) -> Tree:
    """The files of a package, all of the root user, setuid bits taken off. Device files are left out."""
    tree = Tree()
    for name, data in members(path):
        if not name.startswith("data.tar"):
            continue
        try:
            with tarfile.open(fileobj=io.BytesIO(data)) as tar:
                _fill(tree, tar, owner)
        except (tarfile.TarError, EOFError, OSError) as error:
            raise BuildError(f"{path.name}: {name} cannot be read ({error}). Remove {path} and build again") from None
        return tree
    raise BuildError(f"{path.name} has no data.tar. Remove {path} and build again")


def _fill(tree: Tree, tar: tarfile.TarFile, owner: Component) -> None:
    contents: dict[str, bytes] = {}
    for member in tar:
        mode = member.mode & 0o7777 & ~SETUID
        if member.isdir():
            tree.add(member.name, Entry("dir", mode, owner))
        elif member.issym():
            tree.link(member.name, member.linkname, owner)
        elif member.islnk():
            tree.file(member.name, contents[member.linkname.lstrip("./")], owner, mode)
        elif member.isfile():
            file = tar.extractfile(member)
            assert file is not None
            contents[member.name.lstrip("./")] = data = file.read()
            tree.file(member.name, data, owner, mode)
