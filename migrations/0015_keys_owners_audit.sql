-- A key's family, its own limit, and the secret that it had before its last rotation.
ALTER TABLE api_keys
    ADD COLUMN parent_id        uuid,
    ADD COLUMN depth            smallint NOT NULL DEFAULT 0 CHECK (depth >= 0),
    -- NULL: the service's default.
    ADD COLUMN reads_per_minute integer CHECK (reads_per_minute > 0),
    ADD COLUMN old_hash         bytea CHECK (length(old_hash) = 32),
    ADD COLUMN old_until        timestamptz,
    ADD COLUMN rotated_at       timestamptz,
    ADD CONSTRAINT api_keys_parent FOREIGN KEY (workspace_id, parent_id) REFERENCES api_keys,
    ADD CONSTRAINT api_keys_old CHECK ((old_hash IS NULL) = (old_until IS NULL));
CREATE UNIQUE INDEX api_keys_by_old_hash ON api_keys (old_hash) WHERE old_hash IS NOT NULL;
CREATE INDEX api_keys_by_parent ON api_keys (workspace_id, parent_id) WHERE parent_id IS NOT NULL;
GRANT UPDATE (hash, hint, old_hash, old_until, rotated_at) ON api_keys TO codash_app;

-- Beside api_key_by_hash, which a version before this one still calls. The hash that comes back is
-- the current one, so that both secrets of a rotation share one window of reads.
CREATE FUNCTION find_api_key(wanted bytea)
RETURNS TABLE (workspace_id uuid, key_id uuid, parent_id uuid, depth smallint, hash bytea, scopes text[],
               account_ids uuid[], addresses text[], reads_per_minute integer, expires_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    SELECT k.workspace_id, k.key_id, k.parent_id, k.depth, k.hash, k.scopes, k.account_ids, k.addresses::text[],
           k.reads_per_minute, k.expires_at
    FROM api_keys k WHERE k.hash = wanted AND k.revoked_at IS NULL
    UNION ALL
    SELECT k.workspace_id, k.key_id, k.parent_id, k.depth, k.hash, k.scopes, k.account_ids, k.addresses::text[],
           k.reads_per_minute, least(k.old_until, k.expires_at)
    FROM api_keys k WHERE k.old_hash = wanted AND k.revoked_at IS NULL;
END;
REVOKE ALL ON FUNCTION find_api_key(bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_api_key(bytea) TO codash_read;

-- Who did what, from where, when. Appended only: no role may change or remove a row, and what is too
-- old goes through prune_audit, which spares 30 days whatever it is told.
CREATE TABLE audit (
    workspace_id   uuid NOT NULL REFERENCES workspaces,
    -- 48 bits of time, 80 random bits.
    audit_id       uuid NOT NULL,
    at             timestamptz NOT NULL,
    actor          text NOT NULL CHECK (actor IN ('key', 'person', 'operator', 'system')),
    actor_id       uuid,
    address        text,
    request_id     text,
    verb           text NOT NULL CHECK (verb ~ '^[a-z_]+[.][a-z_]+$'),
    target         text,
    outcome        text NOT NULL CHECK (outcome IN ('done', 'refused', 'failed')),
    code           text,
    arguments_hash bytea CHECK (length(arguments_hash) = 32),
    row_count      bigint,
    micros         bigint,
    detail         jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (workspace_id, audit_id)
);
CREATE INDEX audit_by_time ON audit (at);
SELECT wall('audit');
GRANT INSERT ON audit TO codash_app;
GRANT SELECT ON audit TO codash_read;

CREATE POLICY prune_look ON audit FOR SELECT TO current_user USING (true);
CREATE POLICY prune ON audit FOR DELETE TO current_user USING (at < now() - interval '30 days');
CREATE FUNCTION prune_audit(older_than interval, most integer) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    WITH doomed AS (
        SELECT a.workspace_id, a.audit_id FROM audit a
        WHERE a.at < now() - greatest(older_than, interval '30 days') ORDER BY a.at LIMIT most
    ), gone AS (
        DELETE FROM audit a USING doomed d
        WHERE a.workspace_id = d.workspace_id AND a.audit_id = d.audit_id RETURNING 1
    )
    SELECT count(*) FROM gone;
END;
REVOKE ALL ON FUNCTION prune_audit(interval, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION prune_audit(interval, integer) TO codash_app;

-- People are nobody's tenant: one may own several workspaces. Questions have no business here.
CREATE TABLE people (
    person_id  uuid PRIMARY KEY,
    -- In lower case.
    email      text NOT NULL UNIQUE,
    -- argon2id in the PHC form.
    password   text NOT NULL,
    created_at timestamptz NOT NULL
);
GRANT SELECT, INSERT ON people TO codash_app;
GRANT UPDATE (password) ON people TO codash_app;

-- A login, and the SHA-256 of the one refresh token that continues it.
CREATE TABLE logins (
    login_id   uuid PRIMARY KEY,
    person_id  uuid NOT NULL,
    hash       bytea NOT NULL CHECK (length(hash) = 32),
    created_at timestamptz NOT NULL,
    turned_at  timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    ended_at   timestamptz
);
CREATE INDEX logins_by_expiry ON logins (expires_at);
CREATE INDEX logins_by_person ON logins (person_id);
GRANT SELECT, INSERT, DELETE ON logins TO codash_app;
GRANT UPDATE (hash, turned_at, ended_at) ON logins TO codash_app;

CREATE TABLE owners (
    workspace_id uuid NOT NULL REFERENCES workspaces,
    person_id    uuid NOT NULL,
    role         text NOT NULL CHECK (role IN ('viewer', 'admin', 'owner')),
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (workspace_id, person_id)
);
CREATE INDEX owners_by_person ON owners (person_id);
SELECT wall('owners');
GRANT SELECT, INSERT, DELETE ON owners TO codash_app;
GRANT UPDATE (role) ON owners TO codash_app;

CREATE TABLE invitations (
    workspace_id  uuid NOT NULL REFERENCES workspaces,
    invitation_id uuid NOT NULL,
    email         text NOT NULL,
    role          text NOT NULL CHECK (role IN ('viewer', 'admin', 'owner')),
    -- SHA-256 of the token, which is shown once.
    hash          bytea NOT NULL CHECK (length(hash) = 32),
    invited_by    uuid NOT NULL,
    created_at    timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL,
    PRIMARY KEY (workspace_id, invitation_id)
);
CREATE UNIQUE INDEX invitations_by_hash ON invitations (hash);
SELECT wall('invitations');
GRANT SELECT, INSERT, DELETE ON invitations TO codash_app;

-- What a person's token opens in a workspace, now: a login that ended or a person who was removed
-- opens nothing, however young the token.
CREATE POLICY lookup ON owners FOR SELECT TO current_user USING (true);
CREATE FUNCTION role_of_login(wanted_login uuid, wanted_person uuid, wanted_workspace uuid, asked_at timestamptz)
RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    SELECT o.role FROM logins l JOIN owners o ON o.person_id = l.person_id
    WHERE l.login_id = wanted_login AND l.person_id = wanted_person AND l.ended_at IS NULL
      AND l.expires_at > asked_at AND o.workspace_id = wanted_workspace;
END;
REVOKE ALL ON FUNCTION role_of_login(uuid, uuid, uuid, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION role_of_login(uuid, uuid, uuid, timestamptz) TO codash_read;

CREATE POLICY lookup ON workspaces FOR SELECT TO current_user USING (true);
CREATE FUNCTION workspaces_of(person uuid) RETURNS TABLE (workspace_id uuid, name text, role text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    SELECT w.workspace_id, w.name, o.role FROM owners o JOIN workspaces w ON w.workspace_id = o.workspace_id
    WHERE o.person_id = person ORDER BY o.created_at, w.workspace_id;
END;
REVOKE ALL ON FUNCTION workspaces_of(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION workspaces_of(uuid) TO codash_app;

CREATE POLICY lookup ON invitations FOR SELECT TO current_user USING (true);
CREATE FUNCTION invitation_by_hash(wanted bytea)
RETURNS TABLE (workspace_id uuid, invitation_id uuid, email text, role text, expires_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    SELECT i.workspace_id, i.invitation_id, i.email, i.role, i.expires_at FROM invitations i WHERE i.hash = wanted;
END;
REVOKE ALL ON FUNCTION invitation_by_hash(bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION invitation_by_hash(bytea) TO codash_app;
