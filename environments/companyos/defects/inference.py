"""Known-bad behaviours of a node without a model server."""

from __future__ import annotations

from typing import Any

from environments.companyos import discovery
from environments.companyos.defects import defect
from environments.companyos.services import Services


@defect(kills=("INF-04", "FUN-11"), modes=("Ct", "Ca"), roles=("data",))
def claims_inference_without_a_model(services: Services) -> None:
    """Discovery claims inference because the release has it, whatever the hardware."""
    capabilities, components = discovery.capabilities, discovery.components

    def more(services: Services) -> list[str]:
        return sorted({*capabilities(services), "inference"})

    def present(services: Services) -> dict[str, dict[str, Any]]:
        return {**components(services), "inference": {"present": True, "kind": "llm"}}

    discovery.capabilities, discovery.components = more, present


@defect(kills=("INF-04",), modes=("Ct", "Ca"), roles=("data",))
def absent_model_is_an_outage(services: Services) -> None:
    """The default address of a model server is configured where there is none: clients retry what can never come."""
    services.config = services.config.model_copy(update={"model_server": "http://127.0.0.1:9"})
