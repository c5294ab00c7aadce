-- Schema of a node on PostgreSQL. Run by install as superuser; owned by companyos_owner, used by companyos_app.
-- Every tenant table: RLS enabled and forced, keys and references begin with the tenant, nothing global is visible.
-- Times are text in one fixed format with collation C, so that order and precision are those of the edge's SQLite.
-- JSON is text too: jsonb would change numbers, and the same document must come back from both databases.

CREATE FUNCTION companyos_tenant() RETURNS text LANGUAGE sql STABLE AS
  $$ SELECT nullif(current_setting('app.tenant_id', true), '') $$;
ALTER FUNCTION companyos_tenant() OWNER TO companyos_owner;

CREATE TABLE entities (
  tenant_id text NOT NULL, id uuid NOT NULL, kind text NOT NULL, labels text NOT NULL, props text NOT NULL,
  created_at text COLLATE "C" NOT NULL, updated_at text COLLATE "C" NOT NULL, created_by text NOT NULL,
  version integer NOT NULL, search_text text NOT NULL,
  PRIMARY KEY (tenant_id, id));
CREATE INDEX entities_order ON entities (tenant_id, created_at, id);

CREATE TABLE relationships (
  tenant_id text NOT NULL, id uuid NOT NULL, src_id uuid NOT NULL, dst_id uuid NOT NULL, type text NOT NULL,
  props text NOT NULL, created_at text COLLATE "C" NOT NULL,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, src_id) REFERENCES entities (tenant_id, id) ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, dst_id) REFERENCES entities (tenant_id, id) ON DELETE CASCADE);
CREATE INDEX relationships_src ON relationships (tenant_id, src_id);
CREATE INDEX relationships_dst ON relationships (tenant_id, dst_id);

CREATE TABLE investigations (
  tenant_id text NOT NULL, id uuid NOT NULL, name text NOT NULL, description text, status text NOT NULL,
  created_at text COLLATE "C" NOT NULL,
  PRIMARY KEY (tenant_id, id), UNIQUE (tenant_id, name));

CREATE TABLE investigation_entities (
  tenant_id text NOT NULL, investigation_id uuid NOT NULL, entity_id uuid NOT NULL, position integer NOT NULL,
  PRIMARY KEY (tenant_id, investigation_id, entity_id),
  FOREIGN KEY (tenant_id, investigation_id) REFERENCES investigations (tenant_id, id) ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, entity_id) REFERENCES entities (tenant_id, id) ON DELETE CASCADE);

CREATE TABLE runs (
  tenant_id text NOT NULL, id uuid NOT NULL, runbook text NOT NULL, state text NOT NULL, input text NOT NULL,
  steps text NOT NULL, created_by text NOT NULL, created_at text COLLATE "C" NOT NULL,
  PRIMARY KEY (tenant_id, id));

CREATE TABLE users (
  tenant_id text NOT NULL, username text NOT NULL, password_hash text NOT NULL, roles text NOT NULL,
  disabled integer NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant_id, username));

CREATE TABLE events (
  tenant_id text NOT NULL, seq integer NOT NULL, type text NOT NULL, object_type text NOT NULL, object_id text NOT NULL,
  PRIMARY KEY (tenant_id, seq));

CREATE TABLE event_counters (tenant_id text PRIMARY KEY, last integer NOT NULL);

CREATE TABLE tombstones (
  tenant_id text NOT NULL, type text NOT NULL, id uuid NOT NULL, version integer NOT NULL,
  PRIMARY KEY (tenant_id, type, id));

CREATE TABLE sync_marks (
  tenant_id text NOT NULL, node_id text NOT NULL, seq bigint NOT NULL, PRIMARY KEY (tenant_id, node_id));

-- What a hosted node bills for; written with the change that it bills.
CREATE TABLE billing_events (
  tenant_id text NOT NULL, id uuid NOT NULL, kind text NOT NULL, quantity integer NOT NULL,
  at text COLLATE "C" NOT NULL, billed boolean NOT NULL DEFAULT false,
  PRIMARY KEY (tenant_id, id));
CREATE INDEX billing_events_waiting ON billing_events (tenant_id, at, id) WHERE NOT billed;

-- An archive of the tenant that is to be made, or was made and can be fetched. `payload`: what was asked, sealed.
CREATE TABLE export_jobs (
  tenant_id text NOT NULL, id uuid NOT NULL, key text NOT NULL, payload text NOT NULL, state text NOT NULL,
  bytes bigint NOT NULL DEFAULT 0, created_by text NOT NULL, created_at text COLLATE "C" NOT NULL,
  PRIMARY KEY (tenant_id, id), UNIQUE (tenant_id, key));

-- The node's own tables: visible only to a transaction of the tenant `_system`.
CREATE TABLE node_meta (key text PRIMARY KEY, value text NOT NULL);
-- tenancy: one life of a tenant on this node; who is made anew under an old name is another. leaving: being removed.
CREATE TABLE node_tenants (
  name text PRIMARY KEY, tenancy text NOT NULL UNIQUE DEFAULT gen_random_uuid()::text,
  leaving boolean NOT NULL DEFAULT false);
CREATE TABLE run_queue (
  run_id uuid NOT NULL, tenant text NOT NULL, due_at text COLLATE "C" NOT NULL DEFAULT '', PRIMARY KEY (tenant, run_id)
);
CREATE TABLE export_queue (job_id uuid NOT NULL, tenant text NOT NULL, PRIMARY KEY (tenant, job_id));
CREATE TABLE directory_sessions (
  id uuid PRIMARY KEY, of_tenant text NOT NULL, username text NOT NULL, roles text NOT NULL, secret text NOT NULL,
  checked_at double precision NOT NULL, ended boolean NOT NULL DEFAULT false);
CREATE TABLE audit (
  seq bigint PRIMARY KEY, at text COLLATE "C" NOT NULL, tenant text NOT NULL, actor text NOT NULL, action text NOT NULL,
  object_type text NOT NULL, object_id text NOT NULL, outcome text NOT NULL, prev text NOT NULL, hash text NOT NULL);

DO $$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['entities', 'relationships', 'investigations', 'investigation_entities', 'runs', 'users',
                              'events', 'event_counters', 'tombstones', 'sync_marks', 'billing_events',
                              'export_jobs'] LOOP
    EXECUTE format('CREATE POLICY tenant ON %I USING (tenant_id = companyos_tenant()) WITH CHECK (tenant_id = companyos_tenant())', name);
  END LOOP;
  FOREACH name IN ARRAY ARRAY['node_meta', 'node_tenants', 'run_queue', 'export_queue', 'directory_sessions',
                              'audit'] LOOP
    EXECUTE format('CREATE POLICY node ON %I USING (companyos_tenant() = ''_system'') WITH CHECK (companyos_tenant() = ''_system'')', name);
  END LOOP;
  FOREACH name IN ARRAY ARRAY['entities', 'relationships', 'investigations', 'investigation_entities', 'runs', 'users',
                              'events', 'event_counters', 'tombstones', 'sync_marks', 'billing_events',
                              'export_jobs', 'node_meta', 'node_tenants', 'run_queue', 'export_queue',
                              'directory_sessions', 'audit'] LOOP
    EXECUTE format('ALTER TABLE %I OWNER TO companyos_owner', name);
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('REVOKE ALL ON %I FROM PUBLIC', name);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO companyos_app', name);
  END LOOP;
END $$;

-- History is written once; the events of a tenant end with the tenant.
REVOKE UPDATE, DELETE ON audit, events FROM companyos_app;
GRANT DELETE ON events TO companyos_app;
CREATE POLICY leaving ON events AS RESTRICTIVE FOR DELETE
  USING (tenant_id = nullif(current_setting('app.leaving', true), ''));
REVOKE ALL ON FUNCTION companyos_tenant() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION companyos_tenant() TO companyos_app, companyos_owner;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO companyos_app, companyos_owner;
