-- Pauses and backfills, receivers that ask to wait, statistics in the commits of what they count, limits of
-- sources.

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

-- One more word in a CHECK; the stored statement is changed, as in 0002.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema
SET sql = replace(sql, '''redrive'', ''discard''', '''redrive'', ''discard'', ''backfill''')
WHERE type = 'table' AND name = 'jobs';
PRAGMA writable_schema = RESET;

-- Counts of transactions that are not rolled up into the statistics tables yet: packed, in the commits of
-- what they count. The newest are in the ledger's row, which every commit writes anyway.
ALTER TABLE ledger ADD COLUMN statistics BLOB NOT NULL DEFAULT x'';
CREATE TABLE statistics_log (
    id      INTEGER PRIMARY KEY,
    counts  BLOB    NOT NULL
) STRICT;

-- Pending deliveries that were tried, by the end of their window: what is overdue is found without a look at the
-- rest of the backlog. A delivery that succeeds at its first attempt is never part of it.
CREATE INDEX deliveries_overdue ON deliveries (mapping_id, deadline_at)
    WHERE state = 'pending' AND tried > 0;

-- Attempts that did not succeed; null where only an earlier version counted.
ALTER TABLE statistics ADD COLUMN failed INTEGER;
ALTER TABLE statistics_hours ADD COLUMN failed INTEGER;

-- What a source may send: rate, burst and daily quota, as JSON; null: no limits.
ALTER TABLE sources ADD COLUMN limits TEXT CHECK (json_valid(limits));

-- Events of sources with a daily quota, by day (UTC, from 1970-01-01); in the commits that accept them.
CREATE TABLE source_usage (
    source_id  INTEGER NOT NULL,
    day        INTEGER NOT NULL,
    events     INTEGER NOT NULL CHECK (events >= 0),
    PRIMARY KEY (source_id, day)
) STRICT, WITHOUT ROWID;

-- Alerts of kinds to come need no change of this table: the program knows the kinds.
ALTER TABLE alerts RENAME TO alerts_before;
CREATE TABLE alerts (
    kind        TEXT    NOT NULL,
    subject     TEXT    NOT NULL,                       -- a source, mapping, destination or node by name
    detail      TEXT    NOT NULL,                       -- what was found when it was raised
    raised_at   INTEGER NOT NULL,
    cleared_at  INTEGER,                                -- set once
    told        INTEGER NOT NULL CHECK (told IN (0, 1)),    -- whether the newest of both was told
    PRIMARY KEY (kind, subject)
) STRICT, WITHOUT ROWID;
INSERT INTO alerts SELECT kind, subject, detail, raised_at, cleared_at, told FROM alerts_before;
DROP TABLE alerts_before;
