-- Income that became an event because its fill was not to be had; should the fill come after all, the
-- event goes, and its body stays in restatements.
ALTER TABLE held_records
    ADD COLUMN settled_event uuid,
    -- The stream, as coverage names it, that would hold the fill.
    ADD COLUMN fill_coverage text NOT NULL GENERATED ALWAYS AS (event ->> 'fill_coverage') STORED;
CREATE INDEX held_records_waiting ON held_records (workspace_id, account_id, occurred_at) WHERE settled_event IS NULL;
-- Coverage counts what waits.
GRANT SELECT (workspace_id, account_id, fill_stream, fill_coverage, occurred_at, settled_event) ON held_records TO codash_read;
ALTER TABLE restatements
    DROP CONSTRAINT restatements_workspace_id_event_id_fkey,
    DROP CONSTRAINT restatements_reason_check,
    ADD CONSTRAINT restatements_reason_check CHECK (reason IN ('restated', 'classified', 'priced', 'superseded'));
GRANT DELETE ON events TO codash_app;
