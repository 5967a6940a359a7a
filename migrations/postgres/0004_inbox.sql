-- The inbox: messages that applications write with `postrider.enqueue` in transactions of their own. A node takes a
-- row out in the transaction that accepts its event. Ids are given before their transactions commit: they give an
-- order to look in, and no position to continue from.

CREATE TABLE inbox (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source_id    bigint NOT NULL,
    message_id   text,                                  -- null: the message's own
    message      json   NOT NULL,                       -- `jsonb` would rewrite its bytes
    enqueued_at  bigint NOT NULL                        -- in wall time
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
    autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off,
    toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 10000);
CREATE INDEX inbox_source ON inbox (source_id, id);

CREATE FUNCTION enqueue(source text, message json, message_id text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = postrider, pg_temp AS $$
DECLARE
    of_source bigint;
    readable  json := message;
BEGIN
    SELECT s.id INTO of_source FROM sources AS s WHERE s.name = enqueue.source AND s.removed_at IS NULL;
    IF of_source IS NULL THEN
        RAISE EXCEPTION 'postrider.enqueue: there is no source %', coalesce(quote_ident(source), 'NULL')
            USING ERRCODE = 'invalid_parameter_value',
                HINT = 'Sources are made by `postrider apply` or in the UI.';
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
    INSERT INTO inbox (source_id, message_id, message, enqueued_at)
    VALUES (of_source, message_id, message, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint);
END $$;

-- Functions are executed by whom they are granted to by name.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA postrider FROM PUBLIC;
