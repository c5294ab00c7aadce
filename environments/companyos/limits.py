"""Limits that a node declares in discovery and enforces."""

PAGE_SIZE = 1000
MAX_DEPTH = 6
MAX_QUERY_BYTES = 1 << 20
MAX_BUNDLE_BYTES = 256 << 20
OBJECT_URL_TTL_S = 60  # longest that a signed address of an object is good
OBJECT_RETENTION_S = 24 * 3600  # then an object is deleted
DELETION_S = 20  # A, B: all of a tenant is gone so long after its deletion was accepted
COLD_START_S = {"A": 15, "B": 15, "Ct": 20, "Ca": 20, "D": 10}
