-- The union of lists of ids, each once, in order.
CREATE FUNCTION uuid_distinct(ids uuid[]) RETURNS uuid[] LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ARRAY(SELECT DISTINCT id FROM unnest(ids) AS id ORDER BY id);
CREATE AGGREGATE uuid_union(uuid[]) (SFUNC = array_cat, STYPE = uuid[], INITCOND = '{}', FINALFUNC = uuid_distinct);

-- Sums over events by month (M), day (D) and hour (H), sealed behind ingest. A cell answers only
-- while no mark lies on any of its hours; until then its span is read raw.
CREATE TABLE rollup_symbols (
    workspace_id     uuid NOT NULL REFERENCES workspaces,
    grain            "char" NOT NULL CHECK (grain IN ('M', 'D', 'H')),
    bucket           timestamptz NOT NULL,
    symbol           text NOT NULL,
    event_type       text NOT NULL,
    event_count      bigint NOT NULL,
    notional_usd     numeric NOT NULL,
    realized_pnl_usd numeric NOT NULL,
    fee_usd          numeric NOT NULL,
    funding_usd      numeric NOT NULL,
    unpriced_count   bigint NOT NULL,
    -- Who traded it: which accounts have events in the cell.
    account_ids      uuid[] NOT NULL,
    PRIMARY KEY (workspace_id, grain, bucket, symbol, event_type)
);
SELECT wall('rollup_symbols');

CREATE TABLE rollup_accounts (
    workspace_id     uuid NOT NULL REFERENCES workspaces,
    grain            "char" NOT NULL CHECK (grain IN ('M', 'D', 'H')),
    bucket           timestamptz NOT NULL,
    account_id       uuid NOT NULL,
    event_type       text NOT NULL,
    event_count      bigint NOT NULL,
    notional_usd     numeric NOT NULL,
    realized_pnl_usd numeric NOT NULL,
    fee_usd          numeric NOT NULL,
    funding_usd      numeric NOT NULL,
    unpriced_count   bigint NOT NULL,
    PRIMARY KEY (workspace_id, grain, bucket, account_id, event_type),
    FOREIGN KEY (workspace_id, account_id) REFERENCES accounts
);
SELECT wall('rollup_accounts');

-- By account and symbol an hour holds 1.5 events: days and months only.
CREATE TABLE rollup_account_symbols (
    workspace_id     uuid NOT NULL REFERENCES workspaces,
    grain            "char" NOT NULL CHECK (grain IN ('M', 'D')),
    bucket           timestamptz NOT NULL,
    account_id       uuid NOT NULL,
    symbol           text NOT NULL,
    event_type       text NOT NULL,
    event_count      bigint NOT NULL,
    notional_usd     numeric NOT NULL,
    realized_pnl_usd numeric NOT NULL,
    fee_usd          numeric NOT NULL,
    funding_usd      numeric NOT NULL,
    unpriced_count   bigint NOT NULL,
    PRIMARY KEY (workspace_id, grain, bucket, account_id, symbol, event_type),
    FOREIGN KEY (workspace_id, account_id) REFERENCES accounts
);
SELECT wall('rollup_account_symbols');

GRANT SELECT, INSERT, UPDATE, DELETE ON rollup_symbols, rollup_accounts, rollup_account_symbols TO codash_app;
GRANT SELECT ON rollup_symbols, rollup_accounts, rollup_account_symbols TO codash_read;

-- Hours whose cells are older than their events. Appended by every ingest that touches an hour, in
-- its transaction; the sealer removes only the marks that its own snapshot saw.
CREATE TABLE rollup_marks (
    workspace_id uuid NOT NULL REFERENCES workspaces,
    mark_id      bigint GENERATED ALWAYS AS IDENTITY,
    hour         timestamptz NOT NULL,
    PRIMARY KEY (workspace_id, mark_id)
);
CREATE INDEX rollup_marks_by_hour ON rollup_marks (workspace_id, hour);
SELECT wall('rollup_marks');
GRANT SELECT, INSERT, DELETE ON rollup_marks TO codash_app;
GRANT SELECT ON rollup_marks TO codash_read;

-- Which tenants are dense enough for rollups and have hours waiting.
CREATE POLICY survey ON workspaces FOR SELECT TO current_user USING (true);
CREATE POLICY survey ON rollup_marks FOR SELECT TO current_user USING (true);
CREATE FUNCTION workspaces_to_seal(min_events bigint) RETURNS TABLE (workspace_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    SELECT w.workspace_id FROM workspaces w
    WHERE w.event_count >= min_events
      AND EXISTS (SELECT FROM rollup_marks m WHERE m.workspace_id = w.workspace_id);
END;
REVOKE ALL ON FUNCTION workspaces_to_seal(bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION workspaces_to_seal(bigint) TO codash_app;
