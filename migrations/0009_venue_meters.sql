-- What all processes behind one egress address have spent of a venue's budget, and silences that a
-- venue asked for. No tenant's data: a budget belongs to the address, not to an account.
CREATE TABLE venue_meters (
    meter  text NOT NULL,
    -- Twentieths of the budget's period, by the database's clock.
    slot   bigint NOT NULL,
    weight bigint NOT NULL,
    PRIMARY KEY (meter, slot)
);
CREATE TABLE venue_silences (
    meter  text PRIMARY KEY,
    until  timestamptz NOT NULL,
    banned boolean NOT NULL
);
GRANT SELECT, INSERT, UPDATE, DELETE ON venue_meters, venue_silences TO codash_app;

-- Takes weight if no more than `allowance` was taken in any `period`. `wait_ms` is 0 then, else how long
-- to wait before asking again. Nothing is taken during a silence.
CREATE FUNCTION take_weight(wanted_meter text, wanted bigint, allowance bigint, period interval)
RETURNS TABLE (wait_ms bigint, silent boolean, banned boolean)
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    -- Slots are rounded up and one more is counted, so that the sum covers the whole period.
    slot_ms bigint := greatest(1, ceil(extract(epoch FROM period) * 1000 / 20));
    now_ms  bigint;
    current bigint;
    silence venue_silences;
    used    bigint;
    over    bigint;
    line    record;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(wanted_meter, 0));
    now_ms := floor(extract(epoch FROM clock_timestamp()) * 1000);
    current := now_ms / slot_ms;
    SELECT * INTO silence FROM venue_silences s WHERE s.meter = wanted_meter AND s.until > clock_timestamp();
    IF FOUND THEN
        RETURN QUERY SELECT ceil(extract(epoch FROM silence.until - clock_timestamp()) * 1000)::bigint, true, silence.banned;
        RETURN;
    END IF;
    DELETE FROM venue_meters m WHERE m.meter = wanted_meter AND m.slot < current - 20;
    SELECT coalesce(sum(m.weight), 0) INTO used FROM venue_meters m WHERE m.meter = wanted_meter;
    over := used + wanted - allowance;
    -- What can never fit is sent alone.
    IF over <= 0 OR used = 0 THEN
        INSERT INTO venue_meters AS m (meter, slot, weight) VALUES (wanted_meter, current, wanted)
        ON CONFLICT (meter, slot) DO UPDATE SET weight = m.weight + excluded.weight;
        RETURN QUERY SELECT 0::bigint, false, false;
        RETURN;
    END IF;
    FOR line IN SELECT m.slot, m.weight FROM venue_meters m WHERE m.meter = wanted_meter ORDER BY m.slot LOOP
        over := over - line.weight;
        IF over <= 0 THEN
            RETURN QUERY SELECT greatest(1, (line.slot + 21) * slot_ms - now_ms), false, false;
            RETURN;
        END IF;
    END LOOP;
    RETURN QUERY SELECT 21 * slot_ms, false, false;
END $$;
REVOKE ALL ON FUNCTION take_weight(text, bigint, bigint, interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION take_weight(text, bigint, bigint, interval) TO codash_app;

-- The venue counts more than we do: somebody else shares the address.
CREATE FUNCTION learn_weight(wanted_meter text, said bigint, period interval) RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    slot_ms bigint := greatest(1, ceil(extract(epoch FROM period) * 1000 / 20));
    current bigint;
    missing bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(wanted_meter, 0));
    current := floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint / slot_ms;
    SELECT said - coalesce(sum(m.weight), 0) INTO missing
    FROM venue_meters m WHERE m.meter = wanted_meter AND m.slot >= current - 20;
    IF missing > 0 THEN
        INSERT INTO venue_meters AS m (meter, slot, weight) VALUES (wanted_meter, current, missing)
        ON CONFLICT (meter, slot) DO UPDATE SET weight = m.weight + excluded.weight;
    END IF;
END $$;
REVOKE ALL ON FUNCTION learn_weight(text, bigint, interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION learn_weight(text, bigint, interval) TO codash_app;
