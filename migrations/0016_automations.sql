-- Questions that are asked on a schedule, and what is told to whom.

CREATE TABLE automations (
    workspace_id     uuid NOT NULL REFERENCES workspaces,
    automation_id    uuid NOT NULL,
    -- Whose rights it acts with: the key that made it, or last changed it.
    key_id           uuid NOT NULL,
    name             text NOT NULL,
    timing           jsonb NOT NULL,
    task             jsonb NOT NULL,
    endpoint_ids     uuid[] NOT NULL DEFAULT '{}',
    missed           text NOT NULL CHECK (missed IN ('skip', 'once')),
    overlap          text NOT NULL CHECK (overlap IN ('skip', 'queue')),
    is_paused        boolean NOT NULL DEFAULT false,
    -- Why, when it paused itself.
    pause_reason     text,
    -- What a condition remembers.
    is_raised        boolean NOT NULL DEFAULT false,
    fired_at         timestamptz,
    checked_at       timestamptz,
    check_detail     text,
    -- SHA-256 of an inbound trigger's token; the token itself is nowhere.
    token_hash       bytea CHECK (length(token_hash) = 32),
    -- The secret that inbound requests are signed with.
    data_key_version integer,
    sealed           bytea,
    -- NULL: nothing is due by itself.
    due_at           timestamptz,
    epoch            bigint NOT NULL DEFAULT 0,
    holder           text,
    lease_expires_at timestamptz NOT NULL DEFAULT '-infinity',
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    PRIMARY KEY (workspace_id, automation_id),
    FOREIGN KEY (workspace_id, key_id) REFERENCES api_keys
);
CREATE UNIQUE INDEX automations_by_token ON automations (token_hash);
CREATE INDEX automations_by_due ON automations (due_at) WHERE NOT is_paused;
SELECT wall('automations');
GRANT SELECT, INSERT, UPDATE, DELETE ON automations TO codash_app;

CREATE TABLE automation_runs (
    workspace_id     uuid NOT NULL,
    run_id           uuid NOT NULL,
    automation_id    uuid NOT NULL,
    cause            text NOT NULL CHECK (cause IN ('schedule', 'condition', 'trigger', 'manual')),
    -- What makes the cause this one: an instant, or a caller's id.
    cause_id         text NOT NULL,
    state            text NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'skipped')),
    detail           text,
    -- The answer as it was written: every digit.
    result           text,
    -- The key that it ran with.
    key_id           uuid,
    attempts         integer NOT NULL DEFAULT 0,
    scheduled_for    timestamptz NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at       timestamptz,
    finished_at      timestamptz,
    due_at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    epoch            bigint NOT NULL DEFAULT 0,
    holder           text,
    lease_expires_at timestamptz NOT NULL DEFAULT '-infinity',
    PRIMARY KEY (workspace_id, run_id),
    FOREIGN KEY (workspace_id, automation_id) REFERENCES automations ON DELETE CASCADE
);
CREATE UNIQUE INDEX automation_runs_one_cause ON automation_runs (workspace_id, automation_id, cause, cause_id);
-- One at work and one waiting, whatever two workers do at once.
CREATE UNIQUE INDEX automation_runs_one_running ON automation_runs (workspace_id, automation_id) WHERE state = 'running';
CREATE UNIQUE INDEX automation_runs_one_queued ON automation_runs (workspace_id, automation_id) WHERE state = 'queued';
CREATE INDEX automation_runs_by_due ON automation_runs (due_at) WHERE state IN ('queued', 'running');
CREATE INDEX automation_runs_newest ON automation_runs (workspace_id, automation_id, created_at DESC, run_id DESC);
CREATE INDEX automation_runs_by_age ON automation_runs (workspace_id, created_at);
SELECT wall('automation_runs');
GRANT SELECT, INSERT, UPDATE, DELETE ON automation_runs TO codash_app;

CREATE TABLE webhook_endpoints (
    workspace_id     uuid NOT NULL REFERENCES workspaces,
    endpoint_id      uuid NOT NULL,
    key_id           uuid NOT NULL,
    url              text NOT NULL,
    data_key_version integer NOT NULL,
    -- The secret that messages are signed with, and for a while the one before.
    sealed           bytea NOT NULL,
    sealed_previous  bytea,
    previous_until   timestamptz,
    is_disabled      boolean NOT NULL DEFAULT false,
    disabled_reason  text,
    -- The first of the failures since the last success.
    failing_since    timestamptz,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    PRIMARY KEY (workspace_id, endpoint_id),
    FOREIGN KEY (workspace_id, key_id) REFERENCES api_keys
);
SELECT wall('webhook_endpoints');
GRANT SELECT, INSERT, UPDATE, DELETE ON webhook_endpoints TO codash_app;

-- The outbox: written in the transaction that ends the run.
CREATE TABLE webhook_deliveries (
    workspace_id     uuid NOT NULL,
    delivery_id      uuid NOT NULL,
    endpoint_id      uuid NOT NULL,
    run_id           uuid NOT NULL,
    state            text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'failed')),
    detail           text,
    attempts         integer NOT NULL DEFAULT 0,
    -- Attempts since it was last asked for: the place in the schedule of retries.
    round            integer NOT NULL DEFAULT 0,
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at         timestamptz,
    due_at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    epoch            bigint NOT NULL DEFAULT 0,
    holder           text,
    lease_expires_at timestamptz NOT NULL DEFAULT '-infinity',
    PRIMARY KEY (workspace_id, delivery_id),
    FOREIGN KEY (workspace_id, endpoint_id) REFERENCES webhook_endpoints ON DELETE CASCADE,
    FOREIGN KEY (workspace_id, run_id) REFERENCES automation_runs ON DELETE CASCADE
);
CREATE INDEX webhook_deliveries_by_due ON webhook_deliveries (due_at) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_of_run ON webhook_deliveries (workspace_id, run_id);
CREATE INDEX webhook_deliveries_newest ON webhook_deliveries (workspace_id, endpoint_id, created_at DESC, delivery_id DESC);
SELECT wall('webhook_deliveries');
GRANT SELECT, INSERT, UPDATE, DELETE ON webhook_deliveries TO codash_app;

CREATE TABLE webhook_attempts (
    workspace_id  uuid NOT NULL,
    delivery_id   uuid NOT NULL,
    attempt       integer NOT NULL,
    attempted_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    duration_ms   bigint NOT NULL,
    -- NULL when there was no answer.
    status_code   integer,
    error         text,
    -- The beginning of what the receiver said.
    response_head text,
    PRIMARY KEY (workspace_id, delivery_id, attempt),
    FOREIGN KEY (workspace_id, delivery_id) REFERENCES webhook_deliveries ON DELETE CASCADE
);
SELECT wall('webhook_attempts');
GRANT SELECT, INSERT, DELETE ON webhook_attempts TO codash_app;

-- What workers take on, whoever's it is, by the database's clock.
CREATE POLICY claim ON automations TO current_user USING (true) WITH CHECK (true);
CREATE POLICY claim ON automation_runs TO current_user USING (true) WITH CHECK (true);
CREATE POLICY claim ON webhook_deliveries TO current_user USING (true) WITH CHECK (true);

CREATE FUNCTION claim_due_automation(new_holder text, ttl interval)
RETURNS TABLE (workspace_id uuid, id uuid, epoch bigint)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    UPDATE automations a SET epoch = a.epoch + 1, holder = new_holder, lease_expires_at = clock_timestamp() + ttl
    FROM (
        SELECT d.workspace_id, d.automation_id FROM automations d
        WHERE NOT d.is_paused AND d.due_at <= clock_timestamp() AND d.lease_expires_at <= clock_timestamp()
        ORDER BY d.due_at LIMIT 1 FOR UPDATE SKIP LOCKED
    ) due
    WHERE a.workspace_id = due.workspace_id AND a.automation_id = due.automation_id
    RETURNING a.workspace_id, a.automation_id, a.epoch;
END;

-- A run that waits while none of its automation is at work, or one whose worker is gone.
CREATE FUNCTION claim_due_run(new_holder text, ttl interval)
RETURNS TABLE (workspace_id uuid, id uuid, epoch bigint)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    UPDATE automation_runs r SET epoch = r.epoch + 1, holder = new_holder, state = 'running',
           attempts = r.attempts + 1, started_at = coalesce(r.started_at, clock_timestamp()),
           lease_expires_at = clock_timestamp() + ttl
    FROM (
        SELECT d.workspace_id, d.run_id FROM automation_runs d
        WHERE d.state IN ('queued', 'running')
          AND d.due_at <= clock_timestamp() AND d.lease_expires_at <= clock_timestamp()
          AND (d.state = 'running' OR NOT EXISTS (
                SELECT FROM automation_runs o WHERE o.workspace_id = d.workspace_id
                  AND o.automation_id = d.automation_id AND o.state = 'running'))
        ORDER BY d.due_at LIMIT 1 FOR UPDATE OF d SKIP LOCKED
    ) due
    WHERE r.workspace_id = due.workspace_id AND r.run_id = due.run_id
    RETURNING r.workspace_id, r.run_id, r.epoch;
END;

CREATE FUNCTION claim_due_delivery(new_holder text, ttl interval)
RETURNS TABLE (workspace_id uuid, id uuid, epoch bigint)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    UPDATE webhook_deliveries w SET epoch = w.epoch + 1, holder = new_holder, lease_expires_at = clock_timestamp() + ttl
    FROM (
        SELECT d.workspace_id, d.delivery_id FROM webhook_deliveries d
        WHERE d.state = 'pending' AND d.due_at <= clock_timestamp() AND d.lease_expires_at <= clock_timestamp()
        ORDER BY d.due_at LIMIT 1 FOR UPDATE SKIP LOCKED
    ) due
    WHERE w.workspace_id = due.workspace_id AND w.delivery_id = due.delivery_id
    RETURNING w.workspace_id, w.delivery_id, w.epoch;
END;

-- An inbound trigger proves itself by a value that only its holder knows.
CREATE FUNCTION automation_by_token(wanted bytea)
RETURNS TABLE (workspace_id uuid, id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    SELECT a.workspace_id, a.automation_id FROM automations a WHERE a.token_hash = wanted;
END;

DO $$
DECLARE
    made text;
BEGIN
    FOREACH made IN ARRAY ARRAY['claim_due_automation(text, interval)', 'claim_due_run(text, interval)',
        'claim_due_delivery(text, interval)', 'automation_by_token(bytea)'] LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', made);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO codash_app', made);
    END LOOP;
END $$;
