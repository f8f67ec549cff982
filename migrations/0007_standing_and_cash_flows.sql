-- What the venue said about an account when it was last asked.
ALTER TABLE accounts
    -- wallet, vault, sub_account, unified, spot, …
    ADD COLUMN kind           text,
    ADD COLUMN assurance      text CHECK (assurance IN ('read_only', 'keyless', 'unproven')),
    -- What of the account no total holds, in words for the user.
    ADD COLUMN not_covered    text[] NOT NULL DEFAULT '{}',
    ADD COLUMN key_expires_at timestamptz;
GRANT UPDATE (kind, assurance, not_covered, key_expires_at) ON accounts TO codash_app;

-- Money that moved without being earned or lost. The id holds the time, like an event's.
CREATE TABLE cash_flows (
    workspace_id uuid NOT NULL,
    flow_id      uuid NOT NULL,
    account_id   uuid NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('deposit', 'withdrawal', 'transfer', 'conversion', 'loan')),
    occurred_at  timestamptz NOT NULL,
    wallet       text NOT NULL,
    asset        text NOT NULL,
    -- Positive into the wallet.
    amount       numeric NOT NULL,
    -- NULL while no price is known.
    value_usd    numeric,
    stream       text NOT NULL,
    native_id    text NOT NULL,
    recorded_at  timestamptz NOT NULL DEFAULT now(),
    -- The record as received: the venue's last word of it.
    raw          json NOT NULL,
    PRIMARY KEY (workspace_id, flow_id),
    FOREIGN KEY (workspace_id, account_id) REFERENCES accounts
);
CREATE INDEX cash_flows_by_account ON cash_flows (workspace_id, account_id, flow_id);
CREATE INDEX cash_flows_unpriced ON cash_flows (workspace_id, account_id, flow_id) WHERE value_usd IS NULL;
SELECT wall('cash_flows');
GRANT SELECT, INSERT ON cash_flows TO codash_app;
GRANT UPDATE (kind, wallet, asset, amount, value_usd, recorded_at, raw) ON cash_flows TO codash_app;
GRANT SELECT (workspace_id, flow_id, account_id, kind, occurred_at, wallet, asset, amount, value_usd, recorded_at)
    ON cash_flows TO codash_read;
