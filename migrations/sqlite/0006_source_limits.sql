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
