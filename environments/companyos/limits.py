"""Limits that a node declares in discovery and enforces."""

PAGE_SIZE = 1000
MAX_DEPTH = 6
MAX_QUERY_BYTES = 1 << 20
MAX_BATCH = 10  # requests in one GraphQL batch
MAX_BUNDLE_BYTES = 256 << 20
OBJECT_URL_TTL_S = 60  # longest that a signed address of an object is good
OBJECT_RETENTION_S = 24 * 3600  # then an object is deleted
DELETION_S = 20  # A, B: all of a tenant is gone so long after its deletion was accepted
COLD_START_S = {"A": 15, "B": 15, "Ct": 20, "Ca": 20, "D": 10}
TENANT_RATE_PER_S = 600  # A: root fields of GraphQL and REST requests that one tenant may ask, on average
REVOCATION_S = 1.0  # an account that was disabled or changed is so everywhere within it
RETRIEVED = 5000  # newest entities that retrieval ranks
MAX_STREAMS = 20  # event streams of one tenant at a time
