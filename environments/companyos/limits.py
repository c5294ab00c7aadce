"""Limits that a node declares in discovery and enforces."""

PAGE_SIZE = 1000
MAX_DEPTH = 6
MAX_QUERY_BYTES = 1 << 20
MAX_BUNDLE_BYTES = 256 << 20
COLD_START_S = {"A": 15, "B": 15, "Ct": 20, "Ca": 20, "D": 10}
