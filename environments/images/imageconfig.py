"""The configuration of an image, whose digest is the image's id."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from environments.images.layer import Layer
from environments.images.recipe import Health, Recipe

LABEL = "companyos-conform.image"
SECOND_NS = 1_000_000_000


def config(name: str, made: Recipe, version: str, layers: Sequence[Layer], created: str) -> bytes:
    """The OCI image configuration as JSON; the same for the same arguments."""
    document: dict[str, Any] = {
        "architecture": "amd64",
        "os": "linux",
        "created": created,
        "config": {
            "User": f"{made.uid}:{made.uid}",
            "Env": [f"{key}={value}" for key, value in sorted(made.env.items())],
            "Entrypoint": made.entrypoint,
            "Cmd": made.command or None,
            "WorkingDir": made.home,
            "StopSignal": made.stop_signal,
            "Healthcheck": _health(made.health),
            "Labels": {
                "org.opencontainers.image.title": made.title,
                "org.opencontainers.image.version": version,
                "org.opencontainers.image.vendor": "companyos-conform",
                LABEL: name,
            },
        },
        "rootfs": {"type": "layers", "diff_ids": [each.diff_id for each in layers]},
        "history": [{"created": created, "created_by": f"conform images build: {each.made_by}"} for each in layers],
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def image_id(configuration: bytes) -> str:
    return f"sha256:{hashlib.sha256(configuration).hexdigest()}"


def _health(health: Health) -> dict[str, Any]:
    return {
        "Test": health.test,
        "Interval": int(health.interval_s * SECOND_NS),
        "Timeout": int(health.timeout_s * SECOND_NS),
        "StartPeriod": int(health.start_period_s * SECOND_NS),
        "Retries": health.retries,
    }
