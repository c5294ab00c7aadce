"""What the processes of the kill matrix share from the start: imported, or read, once, in the server that they are
forked from. Nothing here starts a thread or opens a connection."""

from __future__ import annotations

import gc
import importlib

from conform import catalogue
from conform.defects import known
from environments.companyos import graphql_api
from environments.contract.wire import contracts_schema
from profiles.load import presets

FORKED = (
    "environments.companyos.serve",
    "environments.doubles.stripe",
    "environments.network.agent",
    "environments.network.answering",
    "environments.network.router",
)
for name in (
    *FORKED,
    "conform.checking",
    "conform.controlling",
    "conform.fixtures",
    "environments.drivers.local.deployment",
    "hypothesis.stateful",
    "jsonschema",
    "pytest_timeout",
):
    importlib.import_module(name)
known(), presets(), catalogue.catalogue(), catalogue.checks(), contracts_schema()
for edge in (True, False):
    graphql_api.schema(edge)
gc.freeze()  # it all stays: nobody need look it over for garbage, and write to the pages that all of them share
