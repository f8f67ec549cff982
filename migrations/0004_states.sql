-- What each account holds now; replaced by every snapshot.
CREATE TABLE balances (
    workspace_id uuid NOT NULL,
    account_id   uuid NOT NULL,
    wallet       text NOT NULL,
    asset        text NOT NULL,
    total        numeric NOT NULL,
    value_usd    numeric,
    taken_at     timestamptz NOT NULL,
    PRIMARY KEY (workspace_id, account_id, wallet, asset),
    FOREIGN KEY (workspace_id, account_id) REFERENCES accounts
);
SELECT wall('balances');
GRANT SELECT, INSERT, UPDATE, DELETE ON balances TO codash_app;
GRANT SELECT ON balances TO codash_read;

CREATE TABLE positions (
    workspace_id       uuid NOT NULL,
    account_id         uuid NOT NULL,
    native_symbol      text NOT NULL,
    leg                text NOT NULL,
    symbol             text NOT NULL,
    -- Signed: short < 0.
    qty                numeric NOT NULL,
    entry_price        numeric,
    mark_price         numeric,
    notional_usd       numeric NOT NULL,
    unrealized_pnl_usd numeric NOT NULL,
    taken_at           timestamptz NOT NULL,
    PRIMARY KEY (workspace_id, account_id, native_symbol, leg),
    FOREIGN KEY (workspace_id, account_id) REFERENCES accounts
);
SELECT wall('positions');
GRANT SELECT, INSERT, UPDATE, DELETE ON positions TO codash_app;
GRANT SELECT ON positions TO codash_read;

-- Equity and exposure through time. Exposure is NULL where the venue states equity alone (its own history).
CREATE TABLE nav_snapshots (
    workspace_id     uuid NOT NULL,
    account_id       uuid NOT NULL,
    taken_at         timestamptz NOT NULL,
    nav_usd          numeric NOT NULL,
    long_usd         numeric,
    short_usd        numeric,
    futures_upnl_usd numeric,
    btc_price_usd    numeric,
    eth_price_usd    numeric,
    -- Assets that nav_usd leaves out because no price is known.
    unpriced_assets  text[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (workspace_id, account_id, taken_at),
    FOREIGN KEY (workspace_id, account_id) REFERENCES accounts
);
SELECT wall('nav_snapshots');
GRANT SELECT, INSERT ON nav_snapshots TO codash_app;
GRANT SELECT ON nav_snapshots TO codash_read;

-- The last snapshot of every hour: what NAV history reads.
CREATE TABLE nav_hours (
    workspace_id uuid NOT NULL,
    account_id   uuid NOT NULL,
    hour         timestamptz NOT NULL,
    taken_at     timestamptz NOT NULL,
    nav_usd      numeric NOT NULL,
    long_usd     numeric,
    short_usd    numeric,
    PRIMARY KEY (workspace_id, account_id, hour),
    FOREIGN KEY (workspace_id, account_id) REFERENCES accounts
);
SELECT wall('nav_hours');
GRANT SELECT, INSERT, UPDATE ON nav_hours TO codash_app;
GRANT SELECT ON nav_hours TO codash_read;
