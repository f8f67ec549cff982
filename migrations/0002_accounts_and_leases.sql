CREATE TABLE accounts (
    workspace_id    uuid NOT NULL REFERENCES workspaces,
    account_id      uuid NOT NULL,
    name            text NOT NULL,
    venue           text NOT NULL,
    tags            text[] NOT NULL DEFAULT '{}',
    is_active       boolean NOT NULL DEFAULT true,
    status          text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'connected', 'degraded', 'error')),
    status_detail   text,
    -- SHA-256 of what identifies the credential at the venue: the same one twice would count its money twice.
    fingerprint     bytea NOT NULL,
    last_checked_at timestamptz,
    attested_at     timestamptz,
    -- When prices were last looked for that had been missing.
    repriced_at     timestamptz,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    PRIMARY KEY (workspace_id, account_id)
);
CREATE UNIQUE INDEX accounts_one_credential ON accounts (workspace_id, venue, fingerprint);
SELECT wall('accounts');
GRANT SELECT, INSERT ON accounts TO codash_app;
GRANT UPDATE (name, tags, is_active, status, status_detail, last_checked_at, attested_at, repriced_at, updated_at) ON accounts TO codash_app;
GRANT SELECT ON accounts TO codash_read;

-- Sealed venue credentials. Questions have no business here: no grant to codash_read.
CREATE TABLE account_secrets (
    workspace_id     uuid NOT NULL,
    account_id       uuid NOT NULL,
    data_key_version integer NOT NULL,
    sealed           bytea NOT NULL,
    PRIMARY KEY (workspace_id, account_id),
    FOREIGN KEY (workspace_id, account_id) REFERENCES accounts
);
SELECT wall('account_secrets');
GRANT SELECT, INSERT, UPDATE ON account_secrets TO codash_app;

-- Who collects an account. The epoch is the fencing token: every ingest transaction checks it.
CREATE TABLE leases (
    workspace_id uuid NOT NULL,
    account_id   uuid NOT NULL,
    epoch        bigint NOT NULL DEFAULT 0,
    holder       text,
    expires_at   timestamptz NOT NULL DEFAULT '-infinity',
    due_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, account_id),
    FOREIGN KEY (workspace_id, account_id) REFERENCES accounts
);
CREATE INDEX leases_by_due ON leases (due_at);
SELECT wall('leases');
GRANT SELECT, INSERT, UPDATE ON leases TO codash_app;

-- Takes over one due account, whoever's it is, by the database's clock.
CREATE POLICY claim ON leases TO current_user USING (true) WITH CHECK (true);
CREATE FUNCTION claim_due_account(new_holder text, ttl interval)
RETURNS TABLE (workspace_id uuid, account_id uuid, epoch bigint)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    UPDATE leases l SET epoch = l.epoch + 1, holder = new_holder, expires_at = clock_timestamp() + ttl
    FROM (
        SELECT d.workspace_id, d.account_id FROM leases d
        WHERE d.due_at <= clock_timestamp() AND d.expires_at <= clock_timestamp()
        ORDER BY d.due_at LIMIT 1 FOR UPDATE SKIP LOCKED
    ) due
    WHERE l.workspace_id = due.workspace_id AND l.account_id = due.account_id
    RETURNING l.workspace_id, l.account_id, l.epoch;
END;
REVOKE ALL ON FUNCTION claim_due_account(text, interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION claim_due_account(text, interval) TO codash_app;

-- A stream of records of an account: its cursor, its health, and how far back the venue goes.
CREATE TABLE streams (
    workspace_id   uuid NOT NULL,
    account_id     uuid NOT NULL,
    stream         text NOT NULL,
    -- The venue's own words for where to go on; JSON null before the first page.
    cursor         jsonb NOT NULL DEFAULT 'null',
    status         text NOT NULL DEFAULT 'behind' CHECK (status IN ('ok', 'behind', 'degraded', 'error')),
    detail         text,
    horizon        timestamptz,
    horizon_reason text,
    last_read_at   timestamptz,
    due_at         timestamptz NOT NULL DEFAULT now(),
    failures       integer NOT NULL DEFAULT 0,
    PRIMARY KEY (workspace_id, account_id, stream),
    FOREIGN KEY (workspace_id, account_id) REFERENCES accounts
);
SELECT wall('streams');
GRANT SELECT, INSERT, UPDATE ON streams TO codash_app;
GRANT SELECT (workspace_id, account_id, stream, status, detail, horizon, horizon_reason, last_read_at) ON streams TO codash_read;

-- Which spans (inclusive) of a stream have been read completely. Disjoint and merged.
CREATE TABLE coverage (
    workspace_id uuid NOT NULL,
    account_id   uuid NOT NULL,
    stream       text NOT NULL,
    from_at      timestamptz NOT NULL,
    to_at        timestamptz NOT NULL CHECK (to_at >= from_at),
    PRIMARY KEY (workspace_id, account_id, stream, from_at),
    FOREIGN KEY (workspace_id, account_id, stream) REFERENCES streams
);
SELECT wall('coverage');
GRANT SELECT, INSERT, UPDATE, DELETE ON coverage TO codash_app;
GRANT SELECT ON coverage TO codash_read;

-- Records that no parser understood. Each degrades its stream until it reads again.
CREATE TABLE quarantined_records (
    workspace_id  uuid NOT NULL,
    account_id    uuid NOT NULL,
    stream        text NOT NULL,
    digest        bytea NOT NULL,
    reason        text NOT NULL,
    raw           text NOT NULL,
    first_seen_at timestamptz NOT NULL,
    last_seen_at  timestamptz NOT NULL,
    PRIMARY KEY (workspace_id, account_id, stream, digest),
    FOREIGN KEY (workspace_id, account_id, stream) REFERENCES streams
);
SELECT wall('quarantined_records');
GRANT SELECT, INSERT, UPDATE, DELETE ON quarantined_records TO codash_app;
GRANT SELECT (workspace_id, account_id, stream, digest, reason, first_seen_at, last_seen_at) ON quarantined_records TO codash_read;
