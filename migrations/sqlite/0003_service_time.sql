-- Schedules and ages are in service time, which no step of the wall clock changes. Columns that hold it:
-- deliveries.due_at, deadline_at and lease_expires_at; destinations.resumed_at; mappings.resumed_at;
-- shared_secrets.retires_at; repeats.begun_at; deduplication's times. Until now it was the wall time.

-- A destination's window starts anew when it is connected, too.
UPDATE destinations SET resumed_at = max(resumed_at, coalesce(
    (SELECT connected_at FROM connections WHERE destination_id = destinations.id), 0));

-- The last moment at which a node was alive, in both times; one row. A restart continues from it.
CREATE TABLE service_time (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    wall_at     INTEGER NOT NULL,
    service_at  INTEGER NOT NULL
) STRICT;
INSERT INTO service_time (id, wall_at, service_at)
    SELECT 1, max(last_seen_at), max(last_seen_at) FROM nodes HAVING count(*) > 0;

-- Steps of the wall clock: since when, in service time, wall time differs from it by how much. The offset was
-- none before the first.
CREATE TABLE clock_steps (
    service_at  INTEGER PRIMARY KEY,
    offset_us   INTEGER NOT NULL
) STRICT;
