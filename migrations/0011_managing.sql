-- Groups of accounts, as a tree. An account is in one group, or in none.
CREATE TABLE portfolios (
    workspace_id uuid NOT NULL REFERENCES workspaces,
    portfolio_id uuid NOT NULL,
    -- NULL: at the root.
    parent_id    uuid,
    name         text NOT NULL,
    version      bigint NOT NULL DEFAULT 1,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    PRIMARY KEY (workspace_id, portfolio_id),
    FOREIGN KEY (workspace_id, parent_id) REFERENCES portfolios
);
CREATE UNIQUE INDEX portfolios_sibling_names
    ON portfolios (workspace_id, coalesce(parent_id, '00000000-0000-0000-0000-000000000000'), name);
SELECT wall('portfolios');
GRANT SELECT, INSERT, UPDATE, DELETE ON portfolios TO codash_app;
GRANT SELECT ON portfolios TO codash_read;

ALTER TABLE accounts
    ADD COLUMN portfolio_id uuid,
    -- Of what its owner can change; what the collector writes does not count.
    ADD COLUMN version      bigint NOT NULL DEFAULT 1,
    -- Nothing is collected from here on; what was read stays.
    ADD COLUMN removed_at   timestamptz,
    -- What was read goes too: no answer counts it from the moment that this is set.
    ADD COLUMN erasing      boolean NOT NULL DEFAULT false,
    ADD FOREIGN KEY (workspace_id, portfolio_id) REFERENCES portfolios;
CREATE INDEX accounts_erasing ON accounts (workspace_id, account_id) WHERE erasing;
GRANT UPDATE (portfolio_id, version, removed_at, erasing, fingerprint) ON accounts TO codash_app;

-- Its owner asked to have the stream read again from here on.
ALTER TABLE streams ADD COLUMN resync_from timestamptz;

-- Erasing an account.
GRANT DELETE ON accounts, account_secrets, leases, streams, restatements, forced_orders, cash_flows, nav_snapshots,
                nav_hours TO codash_app;
-- The log of batches outlives an account: it numbers the versions of the data. It keeps no stream of an
-- erased account, and no row is looked for in events by its batch.
ALTER TABLE batches DROP CONSTRAINT batches_workspace_id_account_id_fkey;
GRANT UPDATE (stream) ON batches TO codash_app;

CREATE POLICY survey ON accounts FOR SELECT TO current_user USING (erasing);
CREATE FUNCTION accounts_to_erase() RETURNS TABLE (workspace_id uuid, account_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    SELECT a.workspace_id, a.account_id FROM accounts a WHERE a.erasing;
END;
REVOKE ALL ON FUNCTION accounts_to_erase() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION accounts_to_erase() TO codash_app;

-- Creations that were asked for under a key of the caller's: the same request gets the same answer.
CREATE TABLE idempotency_keys (
    workspace_id uuid NOT NULL REFERENCES workspaces,
    key          text NOT NULL,
    -- A keyed hash of route and body: bodies hold secrets.
    request      bytea NOT NULL,
    -- Counts takeovers of a request that never ended.
    attempt      bigint NOT NULL DEFAULT 1,
    started_at   timestamptz NOT NULL DEFAULT now(),
    -- NULL while it runs.
    reply        text,
    PRIMARY KEY (workspace_id, key)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (started_at);
SELECT wall('idempotency_keys');
GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency_keys TO codash_app;
CREATE POLICY sweep ON idempotency_keys TO current_user USING (true);
CREATE FUNCTION forget_idempotency_keys() RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    DELETE FROM idempotency_keys i WHERE i.started_at < now() - interval '24 hours';
END;
REVOKE ALL ON FUNCTION forget_idempotency_keys() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION forget_idempotency_keys() TO codash_app;
