-- Roles are the cluster's, databases are many: create what is missing, tolerate a race.
DO $$
DECLARE
    wanted text;
    -- From 16 on, whoever makes a role is a member that may not take it on.
    enough text := CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['codash_app', 'codash_read'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;
            END;
        END IF;
        IF NOT pg_has_role(current_user, wanted, enough) THEN
            EXECUTE format('GRANT %I TO %I', wanted, current_user);
        END IF;
    END LOOP;
END $$;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO codash_app, codash_read;

-- The tenant of the current transaction. NULL (no row matches) when none was set: after a
-- transaction-local setting ends it reads '' and not NULL.
CREATE FUNCTION current_workspace() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
RETURN nullif(current_setting('app.ws', true), '')::uuid;

-- Puts a tenant table behind the second wall. Called once for each, right after it is made.
CREATE FUNCTION wall(target regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', target);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', target);
    EXECUTE format(
        'CREATE POLICY tenant ON %s TO codash_app, codash_read '
        'USING (workspace_id = nullif(current_setting(''app.ws'', true), '''')::uuid) '
        'WITH CHECK (workspace_id = nullif(current_setting(''app.ws'', true), '''')::uuid)', target);
END $$;

CREATE TABLE workspaces (
    workspace_id uuid NOT NULL,
    name         text NOT NULL,
    created_at   timestamptz NOT NULL,
    -- Drawn in the last statement of each ingest: commit-ordered, the data's version.
    data_version bigint NOT NULL DEFAULT 0,
    event_count  bigint NOT NULL DEFAULT 0,
    -- True once rollups answer for this tenant; before, its questions read raw.
    rolled_up    boolean NOT NULL DEFAULT false,
    PRIMARY KEY (workspace_id)
);
SELECT wall('workspaces');
GRANT SELECT, INSERT ON workspaces TO codash_app;
GRANT UPDATE (name, data_version, event_count, rolled_up) ON workspaces TO codash_app;
GRANT SELECT ON workspaces TO codash_read;

-- The workspace's data key, wrapped by a master key that PostgreSQL never sees.
CREATE TABLE data_keys (
    workspace_id  uuid NOT NULL REFERENCES workspaces,
    version       integer NOT NULL,
    master_key_id text NOT NULL,
    wrapped       bytea NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, version)
);
SELECT wall('data_keys');
GRANT SELECT, INSERT ON data_keys TO codash_app;

CREATE TABLE api_keys (
    workspace_id uuid NOT NULL REFERENCES workspaces,
    key_id       uuid NOT NULL,
    name         text NOT NULL,
    -- SHA-256 of the key; the key itself is nowhere.
    hash         bytea NOT NULL CHECK (length(hash) = 32),
    hint         text NOT NULL,
    scopes       text[] NOT NULL,
    -- NULL: every account.
    account_ids  uuid[],
    -- Empty: from anywhere.
    addresses    cidr[] NOT NULL DEFAULT '{}',
    created_at   timestamptz NOT NULL,
    last_used_at timestamptz,
    expires_at   timestamptz,
    revoked_at   timestamptz,
    PRIMARY KEY (workspace_id, key_id)
);
CREATE UNIQUE INDEX api_keys_by_hash ON api_keys (hash);
SELECT wall('api_keys');
GRANT SELECT, INSERT ON api_keys TO codash_app;
GRANT UPDATE (name, last_used_at, revoked_at) ON api_keys TO codash_app;

-- Before a key is found there is no tenant to set: the one lookup across tenants that a caller
-- can cause, by a value that only the key's holder knows.
CREATE POLICY lookup ON api_keys FOR SELECT TO current_user USING (true);
CREATE FUNCTION api_key_by_hash(wanted bytea)
RETURNS TABLE (workspace_id uuid, key_id uuid, scopes text[], account_ids uuid[], addresses text[], expires_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    SELECT k.workspace_id, k.key_id, k.scopes, k.account_ids, k.addresses::text[], k.expires_at
    FROM api_keys k WHERE k.hash = wanted AND k.revoked_at IS NULL;
END;
REVOKE ALL ON FUNCTION api_key_by_hash(bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api_key_by_hash(bytea) TO codash_read;
