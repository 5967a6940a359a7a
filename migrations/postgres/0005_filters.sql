-- Takes keys into the open slot and returns the events of those that no slot had, as `admit` with two arguments
-- does, for a node that has filters before slots that take no more keys: `filtered_slots` with the times at which their
-- turns ended. `lookup_keys` are the keys that these filters do not deny, each with the slot. A slot whose turn is not
-- the one that was filtered is looked at for every key. What is closed and what is open is decided under the lock.
CREATE FUNCTION admit(
    given_keys uuid[], given_ids bigint[], lookup_keys uuid[], lookup_slots bigint[],
    filtered_slots bigint[], filtered_until bigint[]
) RETURNS SETOF bigint LANGUAGE plpgsql AS $$
DECLARE
    open_slot smallint;
    unfiltered smallint[];
    known uuid[];
BEGIN
    PERFORM pg_advisory_xact_lock_shared(5786930140093827072);
    SELECT s.slot INTO STRICT open_slot FROM dedup_slots AS s
        WHERE s.opened_at IS NOT NULL AND s.closed_at IS NULL;
    unfiltered := ARRAY (SELECT s.slot FROM dedup_slots AS s WHERE s.closed_at IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM unnest(filtered_slots, filtered_until) AS f (slot, until)
            WHERE f.slot = s.slot AND f.until = s.closed_at));
    known := ARRAY (SELECT l.key FROM unnest(lookup_keys, lookup_slots) AS l (key, slot)
        WHERE EXISTS (SELECT 1 FROM dedup AS o WHERE o.key = l.key AND o.slot = l.slot::smallint));
    IF cardinality(unfiltered) > 0 THEN
        known := known || ARRAY (SELECT g.key FROM unnest(given_keys) AS g (key)
            WHERE EXISTS (SELECT 1 FROM dedup AS o WHERE o.key = g.key AND o.slot = ANY (unfiltered)));
    END IF;
    RETURN QUERY
        INSERT INTO dedup AS d (slot, key, event_id)
        SELECT open_slot, g.key, g.id FROM unnest(given_keys, given_ids) AS g (key, id)
        WHERE g.key NOT IN (SELECT unnest(known))
        ORDER BY g.key, g.id
        ON CONFLICT DO NOTHING
        RETURNING d.event_id;
END $$;
