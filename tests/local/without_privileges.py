"""Run a command as an ordinary user who may have no namespaces: python without_privileges.py COMMAND...

In a user namespace of its own, where this user is no root and owns the same files as before; there no further user
namespace is allowed (user.max_user_namespaces=0), no program can gain a privilege, and exec leaves no capability.
Temporary files go to a memory file system at /mnt that it alone sees (a short path: sockets are among them).
Exit 77: this kernel does not let even that be made; standard error says why.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

CLONE_NEWUSER, CLONE_NEWNS, PR_SET_NO_NEW_PRIVS = 0x10000000, 0x00020000, 38
NOBODY, TEMPORARY = 65534, "/mnt"


def main() -> None:
    uid, gid = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        _succeeded(libc.unshare(CLONE_NEWUSER | CLONE_NEWNS), "unshare")
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{NOBODY if uid == 0 else uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{NOBODY if gid == 0 else gid} {gid} 1")
        _succeeded(libc.mount(b"tmpfs", TEMPORARY.encode(), b"tmpfs", 0, b"mode=1777"), f"mount on {TEMPORARY}")
        Path("/proc/sys/user/max_user_namespaces").write_text("0")
    except OSError as error:
        sys.stderr.write(f"a user namespace that allows no other cannot be made here: {error}\n")
        sys.exit(77)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    os.environ["TMPDIR"] = os.environ["HOME"] = TEMPORARY
    os.execvp(sys.argv[1], sys.argv[1:])


def _succeeded(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


if __name__ == "__main__":
    main()
