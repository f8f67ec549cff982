-- Reading again what was read already: late and restated records, and records that could not be read.
ALTER TABLE streams
    -- The sweep under way: {cursor, from, startedAt}.
    ADD COLUMN sweep         jsonb,
    ADD COLUMN swept_at      timestamptz,
    ADD COLUMN deep_swept_at timestamptz;
ALTER TABLE quarantined_records
    -- The record is not older than this: where a sweep must begin to meet it again.
    ADD COLUMN not_before timestamptz,
    -- Nor younger than this. NULL: not known.
    ADD COLUMN not_after  timestamptz;
GRANT SELECT (not_before, not_after) ON quarantined_records TO codash_read;
