-- Keys of AI providers, sealed like venue credentials: no grant to codash_read.
CREATE TABLE ai_keys (
    workspace_id     uuid NOT NULL REFERENCES workspaces,
    provider         text NOT NULL,
    data_key_version integer NOT NULL,
    sealed           bytea NOT NULL,
    -- The key's last characters, for owners to tell keys apart.
    hint             text NOT NULL,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    PRIMARY KEY (workspace_id, provider)
);
SELECT wall('ai_keys');
GRANT SELECT, INSERT, UPDATE, DELETE ON ai_keys TO codash_app;
