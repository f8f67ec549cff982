-- One ingest transaction. `seq` is the workspace's data version, drawn last: a reader that has seen
-- seq n has seen every row of batches 1..n.
CREATE TABLE batches (
    workspace_id uuid NOT NULL REFERENCES workspaces,
    batch_id     bigint GENERATED ALWAYS AS IDENTITY,
    seq          bigint,
    account_id   uuid NOT NULL,
    stream       text NOT NULL,
    recorded_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, batch_id),
    FOREIGN KEY (workspace_id, account_id) REFERENCES accounts
);
CREATE UNIQUE INDEX batches_by_seq ON batches (workspace_id, seq);
SELECT wall('batches');
GRANT SELECT, INSERT ON batches TO codash_app;
GRANT UPDATE (seq) ON batches TO codash_app;
GRANT SELECT ON batches TO codash_read;

-- Canonical events. The id holds the time: 48 bits of milliseconds, then 80 bits of a hash of
-- (account, stream, native id), so one index serves uniqueness, windows, pages and cursors.
CREATE TABLE events (
    workspace_id     uuid NOT NULL,
    event_id         uuid NOT NULL,
    account_id       uuid NOT NULL,
    event_type       text NOT NULL CHECK (event_type IN
                     ('trade', 'closed_pnl', 'funding', 'liquidation', 'adl', 'system_close', 'unknown')),
    -- '' when the record belongs to no market.
    symbol           text NOT NULL,
    occurred_at      timestamptz NOT NULL,
    side             text CHECK (side IN ('buy', 'sell')),
    qty              numeric,
    price            numeric,
    notional_usd     numeric,
    realized_pnl_usd numeric,
    fee_usd          numeric,
    funding_usd      numeric,
    -- NULL when a part is unknown.
    net_pnl_impact_usd numeric GENERATED ALWAYS AS (realized_pnl_usd + funding_usd - fee_usd) STORED,
    -- True when an amount is unknown for want of a price.
    unpriced         boolean NOT NULL,
    fee_amount       numeric,
    fee_asset        text,
    stream           text NOT NULL,
    native_id        text NOT NULL,
    native_symbol    text,
    order_ref        text,
    batch_id         bigint NOT NULL,
    -- A digest of what the venue states: another digest is a restatement.
    venue_digest     bytea NOT NULL,
    -- The record as received.
    raw              json NOT NULL,
    PRIMARY KEY (workspace_id, event_id),
    FOREIGN KEY (workspace_id, account_id) REFERENCES accounts,
    FOREIGN KEY (workspace_id, batch_id) REFERENCES batches
);
CREATE INDEX events_by_account ON events (workspace_id, account_id, event_id);
CREATE INDEX events_by_symbol ON events (workspace_id, symbol, event_id);
CREATE INDEX events_rare ON events (workspace_id, event_type, event_id)
    WHERE event_type IN ('closed_pnl', 'liquidation', 'adl', 'system_close', 'unknown');
CREATE INDEX events_unpriced ON events (workspace_id, account_id, event_id) WHERE unpriced;
CREATE INDEX events_losses ON events (workspace_id, net_pnl_impact_usd, event_id) WHERE net_pnl_impact_usd < 0;
SELECT wall('events');
GRANT SELECT, INSERT ON events TO codash_app;
GRANT UPDATE (event_type, side, qty, price, notional_usd, realized_pnl_usd, fee_usd, funding_usd, unpriced,
              fee_amount, fee_asset, batch_id, venue_digest, raw) ON events TO codash_app;
GRANT SELECT (workspace_id, event_id, account_id, event_type, symbol, occurred_at, side, qty, price, notional_usd,
              realized_pnl_usd, fee_usd, funding_usd, net_pnl_impact_usd, unpriced, batch_id) ON events TO codash_read;

-- Every version of an event that changed after it was first stored: the body before and the body after.
CREATE TABLE restatements (
    workspace_id uuid NOT NULL,
    event_id     uuid NOT NULL,
    revision     integer NOT NULL,
    -- restated: the venue states other figures; classified: a forced order was found for the fill;
    -- priced: a price that was missing is known.
    reason       text NOT NULL CHECK (reason IN ('restated', 'classified', 'priced')),
    batch_id     bigint NOT NULL,
    recorded_at  timestamptz NOT NULL DEFAULT now(),
    before       jsonb NOT NULL,
    after        jsonb NOT NULL,
    PRIMARY KEY (workspace_id, event_id, revision),
    FOREIGN KEY (workspace_id, event_id) REFERENCES events,
    FOREIGN KEY (workspace_id, batch_id) REFERENCES batches
);
SELECT wall('restatements');
GRANT SELECT, INSERT ON restatements TO codash_app;
GRANT SELECT ON restatements TO codash_read;

-- Orders that a venue forced, by which fills are classified, whichever arrives first. Unknown: forced in a
-- way that we have no word for.
CREATE TABLE forced_orders (
    workspace_id uuid NOT NULL,
    account_id   uuid NOT NULL,
    order_ref    text NOT NULL,
    event_type   text NOT NULL CHECK (event_type IN ('liquidation', 'adl', 'system_close', 'unknown')),
    occurred_at  timestamptz NOT NULL,
    PRIMARY KEY (workspace_id, account_id, order_ref),
    FOREIGN KEY (workspace_id, account_id) REFERENCES accounts
);
SELECT wall('forced_orders');
GRANT SELECT, INSERT, UPDATE ON forced_orders TO codash_app;

-- Money that the venue states twice, held back until it is certain that the fill with the same
-- trade is not to be had. Then, and only then, it becomes an event.
CREATE TABLE held_records (
    workspace_id   uuid NOT NULL,
    account_id     uuid NOT NULL,
    stream         text NOT NULL,
    native_id      text NOT NULL,
    fill_stream    text NOT NULL,
    fill_native_id text NOT NULL,
    occurred_at    timestamptz NOT NULL,
    event          jsonb NOT NULL,
    PRIMARY KEY (workspace_id, account_id, stream, native_id),
    FOREIGN KEY (workspace_id, account_id) REFERENCES accounts
);
SELECT wall('held_records');
GRANT SELECT, INSERT, UPDATE, DELETE ON held_records TO codash_app;

-- The smallest event id of an instant: time ranges as id ranges.
CREATE FUNCTION event_id_at(at timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN rpad(lpad(to_hex(floor(extract(epoch FROM at) * 1000)::bigint), 12, '0'), 32, '0')::uuid;
