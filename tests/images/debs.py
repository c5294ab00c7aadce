"""Small Debian packages, made by hand."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path


def ar(members: dict[str, bytes]) -> bytes:
    data = b"!<arch>\n"
    for name, content in members.items():
        data += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
        data += content + b"\n" * (len(content) % 2)
    return data


def tar(*members: tuple[tarfile.TarInfo, bytes], mode: str = "w:xz") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def file(name: str, content: bytes = b"", mode: int = 0o644) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.mode = mode
    return info, content


def special(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, target, 0o755
    return info, b""


def deb(path: Path, *members: tuple[tarfile.TarInfo, bytes], data: str = "data.tar.xz", mode: str = "w:xz") -> Path:
    path.write_bytes(ar({"debian-binary": b"2.0\n", "control.tar.xz": tar(), data: tar(*members, mode=mode)}))
    return path
