"""An image of one program of ours that only waits, for tests of what the engine says: no base, no registry."""

from __future__ import annotations

import io
import struct
import tarfile

# pause(); and again. x86_64.
CODE = bytes.fromhex("b8220000000f05ebf7")
LOAD_AT, HEADERS = 0x400000, 64 + 56


def program() -> bytes:
    """An ELF executable of one segment."""
    size = HEADERS + len(CODE)
    elf = b"\x7fELF\x02\x01\x01" + bytes(9)
    elf += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, LOAD_AT + HEADERS, 64, 0, 0, 64, 56, 1, 64, 0, 0)
    elf += struct.pack("<IIQQQQQQ", 1, 5, 0, LOAD_AT, LOAD_AT, size, size, 0x1000)
    return elf + CODE


def archive() -> bytes:
    """Its file system, as `docker import` takes it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("usr", "tmp"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(folder)
        info = tarfile.TarInfo("wait")
        info.size, info.mode = len(program()), 0o755
        tar.addfile(info, io.BytesIO(program()))
    return buffer.getvalue()
