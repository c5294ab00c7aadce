-- Schema of an edge node. The same tables as 001_init.sql; the tenant filter is in the statements, not in the database.
CREATE TABLE entities (
  tenant_id TEXT NOT NULL, id TEXT NOT NULL, kind TEXT NOT NULL, labels TEXT NOT NULL, props TEXT NOT NULL,
  created_at TEXT NOT NULL, updated_at TEXT NOT NULL, created_by TEXT NOT NULL, version INTEGER NOT NULL,
  search_text TEXT NOT NULL, PRIMARY KEY (tenant_id, id)) STRICT;
CREATE INDEX entities_order ON entities (tenant_id, created_at, id);
CREATE TABLE relationships (
  tenant_id TEXT NOT NULL, id TEXT NOT NULL, src_id TEXT NOT NULL, dst_id TEXT NOT NULL, type TEXT NOT NULL,
  props TEXT NOT NULL, created_at TEXT NOT NULL, PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, src_id) REFERENCES entities (tenant_id, id) ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, dst_id) REFERENCES entities (tenant_id, id) ON DELETE CASCADE) STRICT;
CREATE INDEX relationships_src ON relationships (tenant_id, src_id);
CREATE INDEX relationships_dst ON relationships (tenant_id, dst_id);
CREATE TABLE runs (
  tenant_id TEXT NOT NULL, id TEXT NOT NULL, runbook TEXT NOT NULL, state TEXT NOT NULL, input TEXT NOT NULL,
  steps TEXT NOT NULL, created_by TEXT NOT NULL, created_at TEXT NOT NULL, PRIMARY KEY (tenant_id, id)) STRICT;
CREATE TABLE users (
  tenant_id TEXT NOT NULL, username TEXT NOT NULL, password_hash TEXT NOT NULL, roles TEXT NOT NULL,
  disabled INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (tenant_id, username)) STRICT;
CREATE TABLE events (
  tenant_id TEXT NOT NULL, seq INTEGER NOT NULL, type TEXT NOT NULL, object_type TEXT NOT NULL,
  object_id TEXT NOT NULL, PRIMARY KEY (tenant_id, seq)) STRICT;
CREATE TABLE event_counters (tenant_id TEXT PRIMARY KEY, last INTEGER NOT NULL) STRICT;
CREATE TABLE tombstones (
  tenant_id TEXT NOT NULL, type TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, type, id)) STRICT;
CREATE TABLE sync_marks (
  tenant_id TEXT NOT NULL, node_id TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (tenant_id, node_id)) STRICT;
CREATE TABLE node_meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE node_tenants (
  name TEXT PRIMARY KEY, tenancy TEXT NOT NULL UNIQUE DEFAULT (lower(hex(randomblob(16)))),
  leaving INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE TABLE run_queue (
  run_id TEXT NOT NULL, tenant TEXT NOT NULL, due_at TEXT NOT NULL DEFAULT '', PRIMARY KEY (tenant, run_id)
) STRICT;
CREATE TABLE audit (
  seq INTEGER PRIMARY KEY, at TEXT NOT NULL, tenant TEXT NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,
  object_type TEXT NOT NULL, object_id TEXT NOT NULL, outcome TEXT NOT NULL, prev TEXT NOT NULL, hash TEXT NOT NULL) STRICT;
-- AUTOINCREMENT: a number is never used again, not even after its row was acknowledged and forgotten.
CREATE TABLE outbox (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, op_id TEXT NOT NULL, kind TEXT NOT NULL, tenant TEXT NOT NULL,
  doc TEXT NOT NULL) STRICT;
