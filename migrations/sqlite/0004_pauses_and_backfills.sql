-- Operators' pauses of destinations and mappings, what receivers asked to wait for, and backfill jobs.

-- Pauses, apart from the pipeline's document: a change of the document neither makes nor ends one. A row is
-- kept once its pause has ended, for the fresh window of what was held.
CREATE TABLE pauses (
    kind             TEXT    NOT NULL CHECK (kind IN ('destination', 'mapping')),
    subject_id       INTEGER NOT NULL,                  -- of that kind
    state            TEXT    NOT NULL CHECK (state IN ('paused', 'draining', 'resumed')),
    changed_at       INTEGER NOT NULL,                  -- when it was last paused or resumed
    resumed_at       INTEGER,                           -- when it was last resumed, in service time
    changed_by       TEXT    NOT NULL,                  -- a token's name, or postrider
    cause            TEXT    NOT NULL CHECK (cause IN ('operator', 'gone')),
    note             TEXT,
    rate_per_second  INTEGER CHECK (rate_per_second >= 1),  -- of deliveries, while what was held drains
    CHECK ((state = 'draining') = (rate_per_second IS NOT NULL)),
    CHECK (state = 'paused' OR resumed_at IS NOT NULL),
    PRIMARY KEY (kind, subject_id)
) STRICT, WITHOUT ROWID;

-- Mappings whose receiver asked for no request until a time (Retry-After).
CREATE TABLE receiver_waits (
    mapping_id  INTEGER PRIMARY KEY,
    until_at    INTEGER NOT NULL                        -- in service time
) STRICT;

-- Deliveries that a backfill made: their ids do not follow those of their event's other deliveries.
CREATE TABLE backfilled (
    event_id     INTEGER NOT NULL,
    delivery_id  INTEGER NOT NULL,
    PRIMARY KEY (event_id, delivery_id)
) STRICT, WITHOUT ROWID;

-- One more word in two CHECKs; the stored statements are changed, as in 0002.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema
SET sql = replace(sql, '''redrive'', ''discard''', '''redrive'', ''discard'', ''backfill''')
WHERE type = 'table' AND name = 'jobs';
UPDATE sqlite_schema
SET sql = replace(sql, '''window_closing'', ''disk_low''',
    '''window_closing'', ''disk_low'', ''receiver_gone''')
WHERE type = 'table' AND name = 'alerts';
PRAGMA writable_schema = RESET;
