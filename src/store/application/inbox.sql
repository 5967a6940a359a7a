-- The inbox in an application's own PostgreSQL database: what `postrider inbox init postgres://…` runs.
CREATE SCHEMA IF NOT EXISTS postrider;

CREATE TABLE IF NOT EXISTS postrider.inbox (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key          uuid   NOT NULL DEFAULT gen_random_uuid(),
    source       text   NOT NULL,
    message_id   text,                                  -- null: the message's own
    message      json   NOT NULL,                       -- `jsonb` would rewrite its bytes
    enqueued_at  bigint NOT NULL                        -- microseconds since 1970, UTC
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
    autovacuum_vacuum_cost_delay = 0);
CREATE INDEX IF NOT EXISTS inbox_source ON postrider.inbox (source, id);

CREATE OR REPLACE FUNCTION postrider.enqueue(source text, message json, message_id text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = postrider, pg_temp AS $$
DECLARE
    readable json := message;
BEGIN
    IF source IS NULL OR source = '' THEN
        RAISE EXCEPTION 'postrider.enqueue: the source has no name' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- To look for a field the server decodes every escape, and fails on \u0000 and on half an emoji, which are valid here.
    IF strpos(message::text, '\u') > 0 THEN
        readable := replace(replace(message::text, '\\', '__'), '\u', '_u');
    END IF;
    IF message IS NULL OR json_typeof(message) <> 'object' OR coalesce((readable -> 'type')::text, '') NOT IN
        ('"track"', '"identify"', '"page"', '"screen"', '"group"', '"alias"', '"delete"') THEN
        RAISE EXCEPTION 'postrider.enqueue: the message is not an object with a type that is known'
            USING ERRCODE = 'invalid_parameter_value',
                HINT = 'Give it as {"type": "track", "event": "Order paid", "userId": "u-1", "properties": {}}.';
    END IF;
    IF octet_length(message::text) > 32768 THEN
        RAISE EXCEPTION 'postrider.enqueue: the message has % bytes, more than the 32768 it may have',
            octet_length(message::text) USING ERRCODE = 'program_limit_exceeded';
    END IF;
    IF message_id = '' OR char_length(message_id) > 100 THEN
        RAISE EXCEPTION 'postrider.enqueue: the message_id is empty or has more than 100 characters'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    INSERT INTO inbox (source, message_id, message, enqueued_at)
    VALUES (source, message_id, message, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint);
END $$;

REVOKE ALL ON FUNCTION postrider.enqueue(text, json, text) FROM PUBLIC;
