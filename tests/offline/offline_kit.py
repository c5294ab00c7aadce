"""Nodes in this process, with a vendor that they trust and a clock that the test holds."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nodes import node_config

from environments.companyos import apps
from environments.companyos.errors import ApiError
from environments.companyos.install import install
from environments.companyos.services import Services
from environments.companyos.vendor import VendorAuthority, enrol

VENDOR = VendorAuthority()


def node(folder: Path, mode: str = "D", variant: str = "edge", role: str = "edge", **config: Any) -> Services:
    """A node installed in `folder`, its services built, its threads not started. The clock is frozen by clock(...)."""
    folder.mkdir(parents=True, exist_ok=True)
    more = {"trust_roots": VENDOR.trust_roots(), "clock_file": str(folder / "clock"), **config}
    made = node_config(folder, mode, variant, **more)
    install(made)
    enrol(VENDOR, made.data_dir, made.node_id)
    return apps.build_services(made, role)


def clock(services: Services, at_s: float) -> None:
    assert services.config.clock_file is not None
    services.config.clock_file.write_text(str(at_s))


def code_of(call: Callable[..., Any], *arguments: Any) -> str | None:
    """The code of the refusal, None if there was none."""
    try:
        call(*arguments)
    except ApiError as error:
        return error.code
    return None


def tree(root: Path) -> dict[str, str]:
    """path -> content, target or kind of everything below."""
    found = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder) / name
            shown = f"-> {path.readlink()}" if path.is_symlink() else "folder"
            with contextlib.suppress(OSError):
                shown = path.read_bytes().hex() if path.is_file() and not path.is_symlink() else shown
            found[str(path.relative_to(root))] = shown
    return found
