-- Turning master keys and data keys while everything runs.
ALTER TABLE data_keys
    -- The master key that was current when this data key was made. NULL: the one that wraps it, which is
    -- so for every key that was never wrapped anew.
    ADD COLUMN made_under   text,
    ADD COLUMN rewrapped_at timestamptz;
-- To hold a key in place one must be able to change something of it. The rest is rewrap_data_keys'.
GRANT UPDATE (rewrapped_at), DELETE ON data_keys TO codash_app;

-- A data key stays for as long as anything is sealed with it.
ALTER TABLE account_secrets ADD CONSTRAINT account_secrets_data_key
    FOREIGN KEY (workspace_id, data_key_version) REFERENCES data_keys;
ALTER TABLE ai_keys ADD CONSTRAINT ai_keys_data_key
    FOREIGN KEY (workspace_id, data_key_version) REFERENCES data_keys;
ALTER TABLE automations ADD CONSTRAINT automations_data_key
    FOREIGN KEY (workspace_id, data_key_version) REFERENCES data_keys;
ALTER TABLE webhook_endpoints ADD CONSTRAINT webhook_endpoints_data_key
    FOREIGN KEY (workspace_id, data_key_version) REFERENCES data_keys;

-- Master keys are the service's, not a tenant's.
CREATE POLICY turn ON data_keys TO current_user USING (true) WITH CHECK (true);

-- Every master key that is still needed: how many data keys it wraps, how many were made under it, and when
-- it last took one over. A second version is there because another master key had gone before.
CREATE FUNCTION master_keys_in_use()
RETURNS TABLE (master_key_id text, wraps bigint, made bigint, rewrapped_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    SELECT u.id, sum(u.wraps)::bigint, sum(u.made)::bigint, max(u.rewrapped_at)
    FROM (
        SELECT d.master_key_id AS id, 1 AS wraps, 0 AS made,
               greatest(d.rewrapped_at, CASE WHEN d.version > 1 THEN d.created_at END) AS rewrapped_at
        FROM data_keys d
        UNION ALL
        SELECT coalesce(d.made_under, d.master_key_id), 0, 1, NULL FROM data_keys d
    ) u
    GROUP BY u.id ORDER BY u.id;
END;

-- The next data keys, in the order of their ids, that another master key than the present one wraps.
CREATE FUNCTION data_keys_to_rewrap(present text, after_workspace uuid, after_version integer, most integer)
RETURNS TABLE (workspace_id uuid, version integer, master_key_id text, wrapped bytea)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    SELECT d.workspace_id, d.version, d.master_key_id, d.wrapped FROM data_keys d
    WHERE d.master_key_id <> present AND (d.workspace_id, d.version) > (after_workspace, after_version)
    ORDER BY d.workspace_id, d.version LIMIT most;
END;

-- Replaces each that is still what was read. Rows that another run holds are its business: nobody waits.
CREATE FUNCTION rewrap_data_keys(present text, workspaces uuid[], versions integer[], was bytea[], becomes bytea[])
RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    WITH held AS (
        SELECT d.workspace_id, d.version, n.becomes
        FROM unnest(workspaces, versions, was, becomes) AS n(workspace_id, version, was, becomes)
        JOIN data_keys d ON d.workspace_id = n.workspace_id AND d.version = n.version AND d.wrapped = n.was
        ORDER BY d.workspace_id, d.version FOR NO KEY UPDATE OF d SKIP LOCKED
    ), done AS (
        UPDATE data_keys d SET wrapped = h.becomes, master_key_id = present, rewrapped_at = now(),
               made_under = coalesce(d.made_under, d.master_key_id)
        FROM held h WHERE d.workspace_id = h.workspace_id AND d.version = h.version
        RETURNING 1
    )
    SELECT count(*) FROM done;
END;

-- The next tenants whose data key was made under another master key, or has a version left to give up.
CREATE FUNCTION workspaces_to_renew(present text, after_workspace uuid, most integer)
RETURNS TABLE (workspace_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    SELECT d.workspace_id FROM data_keys d WHERE d.workspace_id > after_workspace
    GROUP BY d.workspace_id
    HAVING count(*) > 1 OR bool_or(coalesce(d.made_under, d.master_key_id) <> present)
    ORDER BY d.workspace_id LIMIT most;
END;

DO $$
DECLARE
    made text;
BEGIN
    FOREACH made IN ARRAY ARRAY['master_keys_in_use()', 'data_keys_to_rewrap(text, uuid, integer, integer)',
        'rewrap_data_keys(text, uuid[], integer[], bytea[], bytea[])', 'workspaces_to_renew(text, uuid, integer)'] LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', made);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO codash_app', made);
    END LOOP;
END $$;
