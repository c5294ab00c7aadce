"""Configuration of one node: the mode is configuration, the code is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SeedUser(Strict):
    tenant: str
    username: str
    password: str
    roles: list[str]


class DirectoryConfig(Strict):
    """The customer's directory of people: see environments.companyos.directory."""

    kind: Literal["ldap", "oidc"]
    tenant: str  # whose people are in it
    recheck_s: float = 60.0  # someone who is disabled there is out here within so long
    answer_s: float = 3.0  # no answer for so long: it is away
    roles: dict[str, str]  # name of a group -> role
    # ldap
    url: str = ""
    base_dn: str = ""
    bind_dn: str = ""
    bind_password: str = ""
    user_filter: str | None = None  # with {username}; None: inetOrgPerson by uid, not locked
    # oidc
    issuer: str = ""
    client_id: str = ""
    client_secret: str = ""
    redirect_uri: str = ""
    username_claim: str = "preferred_username"


class KeyStoreConfig(Strict):
    """Who keeps the key that the tenants' data keys are wrapped by. See keys/."""

    kind: Literal["file", "pkcs11", "tpm"]
    recheck_s: float = 2.0  # longest that a data key is used without asking its keeper again
    path: Path | None = None  # file: the key
    module: Path | None = None  # pkcs11: the library of the HSM
    module_config: Path | None = None  # pkcs11: what SoftHSM reads its settings from
    token: str | None = None  # pkcs11: label of the token
    label: str = "companyos-kek"  # pkcs11: label of the key in it
    pin_file: Path | None = None  # pkcs11: PIN of the token's user
    tcti: str | None = None  # tpm: how it is reached, as swtpm:host=127.0.0.1,port=2321 or device:/dev/tpmrm0
    handle: int = 0x81010001  # tpm: persistent handle of the key


class NodeConfig(Strict):
    """Written by a driver as JSON, read by every service of the node (`python -m environments.companyos.serve`)."""

    node_id: str
    mode: Literal["A", "B", "Ct", "Ca", "D"]
    variant: Literal["saas", "dedicated", "connected", "tethered", "airgapped", "edge"]
    version: str = "1.4.0"
    schema_version: int = 1
    customer: str
    instance: str
    data_dir: Path  # everything the node keeps
    listen: str  # address of the site that services bind to; 127.0.0.1 too, for the site's own use
    ports: dict[str, int]  # data, control, edge, postgres
    control_url: str | None = None  # where policy comes from; None: no control plane reachable by design
    parent_url: str | None = None  # D: data service of the parent
    parent_identity_url: str | None = None  # D: identity service of the parent
    enrolment: SeedUser | None = None  # D: the node's account at its parent
    postgres_admin_dsn: str | None = None  # superuser, unix socket; used by install only
    postgres_app_dsn: str | None = None  # application role; services
    graph_url: str | None = None  # bolt://host:port of a Neo4j inside the site; None: the graph is relational
    graph_password: str | None = None  # of its user neo4j
    opa_url: str | None = None  # of an OPA inside the site, which has the vendor's key; None: decisions in the process
    trust_roots: list[dict[str, Any]] = []  # public JWKs of the vendor (licence, bundle, policy, export)
    seed_users: list[SeedUser] = []
    directory: DirectoryConfig | None = None  # B, C: people of the customer; None: this node's own accounts alone
    clock_file: Path | None = None  # holds a frozen time (seconds since the epoch) or nothing; see clock.py
    policy_poll_s: float = 0.3
    sync_interval_s: float = 0.2
    model_server: str | None = None
    stripe_key: str | None = None  # A, B: the payment provider's key; it signs its webhooks with it too
    stripe_url: str | None = None  # A, B: where the provider's API is; None: nothing is billed
    model_file: Path | None = None  # what the model server serves
    image: str | None = None  # id of the image that the services run from, where they run in containers
    key_store: KeyStoreConfig | None = None  # None: content is kept as it is
    defects: list[str] = []  # known-bad behaviours switched on for this node
    log_level: str = "INFO"
