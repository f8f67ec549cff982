-- Cash flows and NAV are pulled by watermark too.

-- The batch that stored or last changed the flow; NULL for those stored before this column.
ALTER TABLE cash_flows
    ADD COLUMN batch_id bigint,
    ADD FOREIGN KEY (workspace_id, batch_id) REFERENCES batches;
GRANT UPDATE (batch_id) ON cash_flows TO codash_app;
GRANT SELECT (batch_id) ON cash_flows TO codash_read;

-- Snapshots come every minute: a version of their own keeps the data's version, which files of events
-- are tagged by, from moving with them.
ALTER TABLE workspaces ADD COLUMN nav_version bigint NOT NULL DEFAULT 0;
GRANT UPDATE (nav_version) ON workspaces TO codash_app;
ALTER TABLE nav_snapshots ADD COLUMN version bigint NOT NULL DEFAULT 0;
CREATE INDEX nav_snapshots_by_version ON nav_snapshots (workspace_id, version);

-- Events are stored in the order of their batches: where the new ones lie needs few words.
CREATE INDEX events_by_batch ON events USING brin (batch_id) WITH (pages_per_range = 32, autosummarize = on);
