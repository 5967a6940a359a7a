-- Dead letters of removed mappings: the reason `removed`.
--
-- To rebuild `deliveries` for one more word in a CHECK would copy every row. The stored statement is
-- changed instead, as SQLite documents for changes that leave the rows as they are
-- (lang_altertable.html, "Making Other Kinds Of Table Schema Changes"): it takes the same time whatever
-- the table holds. RESET reads the schema anew.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema
SET sql = replace(sql, 'WHEN ''deadline'' THEN TRUE', 'WHEN ''deadline'' THEN TRUE
        WHEN ''removed'' THEN TRUE')
WHERE type = 'table' AND name = 'deliveries';
PRAGMA writable_schema = RESET;

-- A large change of the pipeline, as JSON, a part a row: written in small steps, so that events do not
-- wait for it. It has no effect before it is decided.
CREATE TABLE staged_changes (
    part     INTEGER PRIMARY KEY,                       -- in this order
    changes  TEXT    NOT NULL CHECK (json_valid(changes))
) STRICT;

-- The staged change, once it is decided; one row. Its parts are applied in steps, also after a restart;
-- the last one sets the pipeline's version and deletes the row.
CREATE TABLE decided_change (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    version  INTEGER NOT NULL,                          -- the pipeline's version with it
    act      TEXT    NOT NULL CHECK (json_valid(act))   -- who changes it, for the audit log
) STRICT;
