"""The first line of a journal: what ran, where, and what is asked of each profile."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from conform import catalogue
from conform.matrix import published
from conform.settings import Settings
from profiles import Profile


def header(
    settings: Settings,
    *,
    started_at: str,
    in_force: Iterable[str],
    selected: list[str] | None,
    stood_up: bool = False,
) -> dict[str, Any]:
    """Fields of the header record. in_force: ids that have a check; selected: ids to be checked, None for all."""
    entries, checked = catalogue.catalogue(), set(in_force)
    name = Path(sys.argv[0]).name
    return {
        "run_id": settings.run_id,
        "started_at": started_at,
        "suite_version": _version(),
        "argv": ["conform" if name == "conform" else "pytest", *sys.argv[1:]],
        "seed": settings.seed,
        "driver": settings.driver,
        "host": _host(),
        "strict": settings.strict,
        "catalogue": [entry.model_dump(mode="json") for entry in entries.values()],
        "profiles": [_profile_entry(profile, entries) for profile in settings.profiles],
        "in_force": [identifier for identifier in entries if identifier in checked],
        "selected": selected,
        "stood_up": stood_up,
        "defects_on": list(settings.defects),
        "link": settings.link,
        "profile_names": list(settings.profile_names),
        "schedule": settings.schedule.name if settings.schedule else None,  # its events are in schedule.yaml
        "kill_matrix_digest": (published(driver=settings.driver) or published() or {}).get("digest", ""),
    }


def _profile_entry(profile: Profile, entries: dict[str, catalogue.Requirement]) -> dict[str, Any]:
    applies = {identifier: catalogue.applies(entry, profile) for identifier, entry in entries.items()}
    return {
        "id": profile.id,
        "title": profile.title,
        "mode": None if profile.path else profile.mode,
        "modes": profile.path.split(">") if profile.path else [profile.mode],
        "path": profile.path,
        "applies": {name: {"applies": each.applies, "reason": each.reason} for name, each in applies.items()},
    }


def _version() -> str:
    try:
        return metadata.version("companyos-conform")
    except metadata.PackageNotFoundError:
        return "not installed"


def _host() -> dict[str, Any]:
    return {
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }
