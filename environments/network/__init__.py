"""The local network of a deployment: sites (namespaces), one router, links, sentinel. The API is in network.py.

Names are loaded on first use: the router and the agents are modules of this package too, and must start in a blink,
without the test libraries that the suite's side imports.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from environments.network.network import Network, probe
    from environments.network.site import NamespacesUnavailable, Site, SitePlan

__all__ = ["NamespacesUnavailable", "Network", "Site", "SitePlan", "probe"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("environments.network.network"), name)
