-- The outbox and what is kept beside it.
--
-- Conventions: `*_at` is microseconds since the Unix epoch, UTC; `*_us` and `*_ms` are durations.
-- Words (state, outcome, reason, type) are those of the domain, as text. Keys are handed out by the
-- one writer from the counters in `ledger`, so that none is used twice even after rows are pruned.
-- `events`, `deliveries` and `attempts` are on the path of every event: they have no foreign keys
-- (`doctor` looks for orphans instead) and no index that the path does not need. Their CHECKs have CASE
-- where others have IN: SQLite builds a table of its own for a list, in every statement anew.
--
-- A delivery's states, and who moves each arrow:
--
--      accept (intake)                      claim (courier)
--     ----------------> pending <--------------------------------+
--                         |  ^  \------------> leased            |
--                         |  |   record (retry), |  ^            |
--                         |  |   release         |  | accept     |
--                         |  +-------------------+  +-- (intake, |
--                         |                      |   room here)  |
--        discard          |    record (courier)  |               |
--       (operator)        |   +------------------+-----------+   |
--          +--------------+   v                              v   |
--          v              | delivered                       dead +-- redrive (operator)
--      discarded <--------|----------------------------------+
--                         |         discard (operator)       ^
--                         +----------------------------------+
--                           claim, settle_overdue: tried in vain until its deadline
--
-- With a destination's policy `any`, the record that delivers one of an event's deliveries there
-- also makes the others delivered that are pending or leased, and says so in `settled_by`.
--
-- When the mapping's insert function drops the event, record (courier) takes `leased` to `discarded`.
--
-- A record of a refused batch keeps its deliveries leased, under the next token.
--
-- Nothing leaves `delivered` or `discarded` but by retention, which removes the whole event.

PRAGMA application_id = 0x506F7374;

-- Where events come from. A removed one is kept for history and frees its name.
CREATE TABLE sources (
    id          INTEGER PRIMARY KEY,
    name        TEXT    NOT NULL,                       -- the identity among those not removed
    enabled     INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    created_at  INTEGER NOT NULL,
    removed_at  INTEGER                                 -- set once, when removed
) STRICT;
CREATE UNIQUE INDEX sources_name ON sources (name) WHERE removed_at IS NULL;

-- What lets senders in. Replaced as a whole; deleted with its source.
CREATE TABLE write_keys (
    source_id   INTEGER PRIMARY KEY REFERENCES sources (id),
    digest      BLOB    NOT NULL UNIQUE CHECK (length(digest) = 32),    -- SHA-256 of the key
    sealed_id   BLOB    NOT NULL CHECK (length(sealed_id) = 16),        -- associated data of the seal
    key_id      TEXT    NOT NULL,                                       -- which key sealed it
    sealed      BLOB    NOT NULL,                                       -- nonce, ciphertext, tag
    created_at  INTEGER NOT NULL,
    retires_at  INTEGER
) STRICT;

-- Settings that mappings share.
CREATE TABLE destinations (
    id          INTEGER PRIMARY KEY,
    source_id   INTEGER NOT NULL REFERENCES sources (id),
    name        TEXT    NOT NULL,                       -- the identity within the source
    enabled     INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    resumed_at  INTEGER NOT NULL,                       -- when last made or enabled again
    settings    TEXT    NOT NULL CHECK (coalesce(json_extract(settings, '$.window_ms'), 0) > 0),
    created_at  INTEGER NOT NULL,
    removed_at  INTEGER
) STRICT;
CREATE UNIQUE INDEX destinations_name ON destinations (source_id, name) WHERE removed_at IS NULL;

-- A destination's shared secret; beside it, while it is being rotated, the one before it.
CREATE TABLE shared_secrets (
    id              INTEGER PRIMARY KEY,
    destination_id  INTEGER NOT NULL REFERENCES destinations (id),
    sealed_id       BLOB    NOT NULL UNIQUE CHECK (length(sealed_id) = 16),
    key_id          TEXT    NOT NULL,
    sealed          BLOB    NOT NULL,
    created_at      INTEGER NOT NULL,
    retires_at      INTEGER                             -- null for the one in force
) STRICT;
CREATE UNIQUE INDEX shared_secrets_in_force ON shared_secrets (destination_id)
    WHERE retires_at IS NULL;

-- What authorizes a destination's requests, as the operator gave it: never in clear.
CREATE TABLE credentials (
    id              INTEGER PRIMARY KEY,
    destination_id  INTEGER NOT NULL REFERENCES destinations (id),
    slot            TEXT    NOT NULL CHECK (slot IN ('bearer_token', 'client_secret', 'header')),
    header          TEXT    NOT NULL CHECK ((slot = 'header') = (header <> '')),    -- its name
    sealed_id       BLOB    NOT NULL UNIQUE CHECK (length(sealed_id) = 16),
    key_id          TEXT    NOT NULL,
    sealed          BLOB    NOT NULL,
    created_at      INTEGER NOT NULL,
    UNIQUE (destination_id, slot, header)
) STRICT;

-- Destinations that somebody has to connect, once they were: the tokens that were granted. The
-- number rises with every change, so that nobody writes over tokens he has not seen.
CREATE TABLE connections (
    destination_id  INTEGER PRIMARY KEY REFERENCES destinations (id),
    number          INTEGER NOT NULL CHECK (number >= 1),
    connected_at    INTEGER,                            -- when it last became connected
    expires_at      INTEGER,                            -- of the access token, where it is known
    sealed_id       BLOB UNIQUE CHECK (length(sealed_id) = 16),
    key_id          TEXT,
    sealed          BLOB,                               -- access and refresh token
    created_at      INTEGER,                            -- when they were got
    fault           TEXT,                               -- why it is not connected any more
    CHECK ((sealed IS NULL) = (fault IS NOT NULL)),
    CHECK ((sealed IS NULL) = (sealed_id IS NULL) AND (sealed IS NULL) = (key_id IS NULL)
        AND (sealed IS NULL) = (created_at IS NULL)),
    CHECK (sealed IS NULL OR connected_at IS NOT NULL)
) STRICT;

-- What goes where. The definition is in the current revision.
CREATE TABLE mappings (
    id              INTEGER PRIMARY KEY,
    destination_id  INTEGER NOT NULL REFERENCES destinations (id),
    name            TEXT    NOT NULL,                   -- the identity within the destination
    enabled         INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    resumed_at      INTEGER NOT NULL,                   -- when last made or enabled again
    revision_id     INTEGER NOT NULL REFERENCES mapping_revisions (id) DEFERRABLE INITIALLY DEFERRED,
    created_at      INTEGER NOT NULL,
    removed_at      INTEGER
) STRICT;
CREATE UNIQUE INDEX mappings_name ON mappings (destination_id, name) WHERE removed_at IS NULL;

-- Every state a mapping ever had; attempts point here.
CREATE TABLE mapping_revisions (
    id          INTEGER PRIMARY KEY,
    mapping_id  INTEGER NOT NULL REFERENCES mappings (id) DEFERRABLE INITIALLY DEFERRED,
    number      INTEGER NOT NULL CHECK (number >= 1),   -- counts within the mapping
    definition  TEXT    NOT NULL CHECK (json_valid(definition)),
    created_at  INTEGER NOT NULL,
    created_by  TEXT    NOT NULL,                       -- the token that it was saved with
    UNIQUE (mapping_id, number)
) STRICT;
CREATE TRIGGER mapping_revisions_are_immutable BEFORE UPDATE ON mapping_revisions
BEGIN SELECT RAISE(ABORT, 'a mapping revision never changes'); END;

-- Rises with every change of the tables above; one row.
CREATE TABLE pipeline (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    version  INTEGER NOT NULL
) STRICT;
INSERT INTO pipeline (id, version) VALUES (1, 0);

-- One accepted or rejected message each; never changes. The body comes last, so that lists do not
-- read the pages it overflows to.
CREATE TABLE events (
    id                 INTEGER PRIMARY KEY,
    source_id          INTEGER NOT NULL,
    received_at        INTEGER NOT NULL,                -- when it was accepted
    type               TEXT CHECK (CASE type
        WHEN 'track' THEN TRUE WHEN 'identify' THEN TRUE WHEN 'page' THEN TRUE
        WHEN 'screen' THEN TRUE WHEN 'group' THEN TRUE WHEN 'alias' THEN TRUE
        WHEN 'delete' THEN TRUE ELSE type IS NULL END),
    message_id         TEXT    NOT NULL,
    name               TEXT,                            -- track's event, page's and screen's name
    user_id            TEXT,
    first_delivery_id  INTEGER NOT NULL,                -- its deliveries have consecutive ids
    delivery_count     INTEGER NOT NULL CHECK (delivery_count >= 0),
    envelope           TEXT,                            -- JSON that its batch adds to it
    rejection          TEXT,                            -- why it was not routed
    trace              TEXT,                            -- the trace its request was part of
    body               BLOB    NOT NULL,                -- byte for byte
    CHECK (rejection IS NULL OR delivery_count = 0),
    CHECK (rejection IS NOT NULL OR type IS NOT NULL)
) STRICT;
CREATE INDEX events_rejected ON events (id) WHERE rejection IS NOT NULL;

-- Destinations that an event's `integrations` kept it from; written with the event.
CREATE TABLE skips (
    event_id        INTEGER NOT NULL,
    destination_id  INTEGER NOT NULL,
    PRIMARY KEY (event_id, destination_id)
) STRICT, WITHOUT ROWID;

-- One event for one mapping: where it stands.
CREATE TABLE deliveries (
    id                INTEGER PRIMARY KEY,
    event_id          INTEGER NOT NULL,
    mapping_id        INTEGER NOT NULL,
    destination_id    INTEGER NOT NULL,
    state             TEXT    NOT NULL,                 -- see above
    accepted_at       INTEGER NOT NULL,
    deadline_at       INTEGER NOT NULL,                 -- moved by redrive and by resuming
    token             INTEGER NOT NULL CHECK (token >= 0),  -- + 1 with every lease
    tried             INTEGER NOT NULL CHECK (tried >= 0),  -- attempts in this window, but for those
                                                        -- in batches that were refused as a whole
    due_at            INTEGER,                          -- when it is tried next
    lease_node_id     INTEGER,                          -- who holds it
    lease_expires_at  INTEGER,                          -- until when
    settled_at        INTEGER,                          -- when it was delivered, died, was discarded
    reason            TEXT CHECK (CASE reason
        WHEN 'rejected' THEN TRUE WHEN 'redirect' THEN TRUE WHEN 'render' THEN TRUE
        WHEN 'address' THEN TRUE WHEN 'function' THEN TRUE WHEN 'deadline' THEN TRUE
        ELSE reason IS NULL END),
    last_outcome      TEXT,                             -- of its last recorded attempt
    last_status       INTEGER,
    settled_by        INTEGER CHECK (settled_by <> id), -- policy `any`: whose success settled it
    CHECK (settled_by IS NULL OR state = 'delivered'),
    CHECK (CASE state
        WHEN 'leased' THEN due_at IS NULL
            AND lease_node_id IS NOT NULL AND lease_expires_at IS NOT NULL AND token >= 1
            AND settled_at IS NULL AND reason IS NULL
        WHEN 'delivered' THEN due_at IS NULL
            AND lease_node_id IS NULL AND lease_expires_at IS NULL
            AND settled_at IS NOT NULL AND reason IS NULL
        WHEN 'pending' THEN due_at IS NOT NULL
            AND lease_node_id IS NULL AND lease_expires_at IS NULL
            AND settled_at IS NULL AND reason IS NULL
        WHEN 'dead' THEN due_at IS NULL
            AND lease_node_id IS NULL AND lease_expires_at IS NULL
            AND settled_at IS NOT NULL AND reason IS NOT NULL
        WHEN 'discarded' THEN due_at IS NULL
            AND lease_node_id IS NULL AND lease_expires_at IS NULL
            AND settled_at IS NOT NULL AND reason IS NULL
        ELSE FALSE END)
) STRICT;
CREATE INDEX deliveries_pending ON deliveries (mapping_id, due_at) WHERE state = 'pending';
CREATE INDEX deliveries_leased ON deliveries (lease_expires_at) WHERE state = 'leased';
CREATE INDEX deliveries_dead ON deliveries (id) WHERE state = 'dead';
CREATE INDEX deliveries_dead_reasons ON deliveries (reason, id) WHERE state = 'dead';
CREATE INDEX deliveries_dead_groups ON deliveries (destination_id, reason, settled_at)
    WHERE state = 'dead';

-- One HTTP try each; append-only. One of a batch has its request and answer there.
CREATE TABLE attempts (
    id                  INTEGER PRIMARY KEY,
    delivery_id         INTEGER NOT NULL,
    number              INTEGER NOT NULL CHECK (number >= 1),   -- the token of its lease
    late                INTEGER NOT NULL CHECK (late IN (0, 1)),-- recorded after the lease was lost
    recorded_at         INTEGER NOT NULL,
    node_id             INTEGER NOT NULL,
    revision_id         INTEGER NOT NULL,               -- what it was rendered with
    started_at          INTEGER NOT NULL,
    duration_us         INTEGER NOT NULL CHECK (duration_us >= 0),
    outcome             TEXT    NOT NULL,
    status              INTEGER,                        -- the answer's, when there was one
    error               TEXT,                           -- the cause in words
    console             TEXT,                           -- what the insert function wrote to it
    batch_id            INTEGER,                        -- the batch that it was part of
    url                 TEXT,
    request_headers     BLOB,                           -- `name: value` a line, secrets masked; packed
                                                        -- as src/store/sqlite/row/headers.rs says
    body_sha256         BLOB CHECK (length(body_sha256) = 32),
    response_headers    BLOB,                           -- likewise
    response_body       BLOB,                           -- as far as it is kept
    response_truncated  INTEGER CHECK (response_truncated IN (0, 1)),
    CHECK ((batch_id IS NULL) = (url IS NOT NULL)),
    CHECK ((batch_id IS NULL) = (request_headers IS NOT NULL)),
    CHECK ((batch_id IS NULL) = (response_headers IS NOT NULL)),
    CHECK ((batch_id IS NULL) = (response_body IS NOT NULL)),
    CHECK ((batch_id IS NULL) = (response_truncated IS NOT NULL))
) STRICT;
CREATE INDEX attempts_delivery ON attempts (delivery_id);
CREATE TRIGGER attempts_are_append_only BEFORE UPDATE ON attempts
BEGIN SELECT RAISE(ABORT, 'an attempt never changes'); END;

-- One request for several deliveries: what their attempts have in common. Its key is that of the first
-- of its attempts. It goes with the last of them.
CREATE TABLE batches (
    id                  INTEGER PRIMARY KEY,
    attempt_count       INTEGER NOT NULL CHECK (attempt_count >= 0),    -- those still kept
    size                INTEGER NOT NULL CHECK (size >= 2),             -- deliveries it carried
    webhook_id          TEXT    NOT NULL,
    status              INTEGER,                        -- the answer's; an item may have its own
    url                 TEXT    NOT NULL,
    request_headers     BLOB    NOT NULL,               -- packed, as theirs
    body_sha256         BLOB    NOT NULL CHECK (length(body_sha256) = 32),
    response_headers    BLOB    NOT NULL,
    response_body       BLOB    NOT NULL,
    response_truncated  INTEGER NOT NULL CHECK (response_truncated IN (0, 1))
) STRICT;
CREATE INDEX batches_unused ON batches (id) WHERE attempt_count = 0;

-- De-duplication keys: the first 16 bytes of SHA-256(source, messageId). Written to a table one by one
-- each would change a page of its own: the newest are in this log and in memory, and merged in order.
CREATE TABLE dedup_log (
    id    INTEGER PRIMARY KEY,                          -- of the first; their events follow each other
    keys  BLOB    NOT NULL CHECK (length(keys) > 0 AND length(keys) % 16 = 0)   -- back to back
) STRICT;

-- Where they are merged into. Three tables take turns of 12 hours; the oldest is emptied as a whole
-- when its last key is 24 hours old, which one big table could not be.
CREATE TABLE dedup_0 (key BLOB PRIMARY KEY CHECK (length(key) = 16), event_id INTEGER NOT NULL)
    STRICT, WITHOUT ROWID;
CREATE TABLE dedup_1 (key BLOB PRIMARY KEY CHECK (length(key) = 16), event_id INTEGER NOT NULL)
    STRICT, WITHOUT ROWID;
CREATE TABLE dedup_2 (key BLOB PRIMARY KEY CHECK (length(key) = 16), event_id INTEGER NOT NULL)
    STRICT, WITHOUT ROWID;

-- Whose turn it is; one row, changed at each rotation and by jumps of the clock.
CREATE TABLE deduplication (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    slot        INTEGER NOT NULL CHECK (slot BETWEEN 0 AND 2),  -- the table that takes new keys
    started_at  INTEGER,                                -- since when
    ended_0     INTEGER,                                -- when dedup_0 last stopped taking keys
    ended_1     INTEGER,
    ended_2     INTEGER,
    after_0     INTEGER NOT NULL DEFAULT 1,             -- the first event that came after that
    after_1     INTEGER NOT NULL DEFAULT 1,
    after_2     INTEGER NOT NULL DEFAULT 1,
    since       INTEGER NOT NULL DEFAULT 1              -- of events from this on, every key is here
) STRICT;
INSERT INTO deduplication (id, slot) VALUES (1, 0);

-- Totals and counters, in the same commits as what they count; one row.
CREATE TABLE ledger (
    id                INTEGER PRIMARY KEY CHECK (id = 1),
    events_accepted   INTEGER NOT NULL,
    events_rejected   INTEGER NOT NULL,
    events_duplicate  INTEGER NOT NULL,
    accepted          INTEGER NOT NULL,                 -- deliveries made
    pending           INTEGER NOT NULL CHECK (pending >= 0),
    leased            INTEGER NOT NULL CHECK (leased >= 0),
    delivered         INTEGER NOT NULL,                 -- pruned ones included, as in the next two
    dead              INTEGER NOT NULL,
    discarded         INTEGER NOT NULL,
    delivered_pruned  INTEGER NOT NULL CHECK (delivered_pruned <= delivered),
    dead_pruned       INTEGER NOT NULL CHECK (dead_pruned <= dead),
    discarded_pruned  INTEGER NOT NULL CHECK (discarded_pruned <= discarded),
    next_event_id     INTEGER NOT NULL,
    next_delivery_id  INTEGER NOT NULL,
    next_attempt_id   INTEGER NOT NULL,
    CHECK (accepted = pending + leased + delivered + dead + discarded)
) STRICT;
INSERT INTO ledger VALUES (1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1);

-- Redrives and discards of many deliveries.
CREATE TABLE jobs (
    id               INTEGER PRIMARY KEY,
    action           TEXT    NOT NULL CHECK (action IN ('redrive', 'discard')),
    filter           TEXT    NOT NULL CHECK (json_valid(filter)),
    rate_per_second  INTEGER,
    actor            TEXT    NOT NULL,
    note             TEXT,
    state            TEXT    NOT NULL CHECK (state IN ('running', 'done', 'cancelled')),
    matched          INTEGER NOT NULL,                  -- when it was made, as far as is counted
    more             INTEGER NOT NULL CHECK (more IN (0, 1)),   -- whether that is not all
    done             INTEGER NOT NULL,                  -- acted on so far; rises with each step
    upper_id         INTEGER NOT NULL,                  -- deliveries after this are not its own
    cursor           INTEGER NOT NULL,                  -- deliveries up to this were looked at
    created_at       INTEGER NOT NULL,
    finished_at      INTEGER,
    CHECK ((state = 'running') = (finished_at IS NULL))
) STRICT;

-- Processes that served this database.
CREATE TABLE nodes (
    id            INTEGER PRIMARY KEY,
    name          TEXT    NOT NULL,
    started_at    INTEGER NOT NULL,
    last_seen_at  INTEGER NOT NULL                      -- its newest heartbeat
) STRICT;

-- What lets operators in. A revoked one is kept for history and frees its name.
CREATE TABLE tokens (
    id            INTEGER PRIMARY KEY,
    name          TEXT    NOT NULL,                     -- the identity among those not revoked
    role          TEXT    NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
    scope         TEXT CHECK (json_valid(scope)),       -- source/destination each; null: everything
    digest        BLOB    NOT NULL UNIQUE CHECK (length(digest) = 32),  -- SHA-256 of the token
    created_at    INTEGER NOT NULL,
    created_by    TEXT    NOT NULL,                     -- a token's name, or postrider
    expires_at    INTEGER,
    last_used_at  INTEGER,                              -- about: written once a minute at most
    revoked_at    INTEGER                               -- set once
) STRICT;
CREATE UNIQUE INDEX tokens_name ON tokens (name) WHERE revoked_at IS NULL;

-- Requests under an Idempotency-Key, for a day: what they were, and their answers once there is one.
CREATE TABLE repeats (
    token_id     INTEGER NOT NULL,                      -- keys are a token's own
    key          TEXT    NOT NULL,
    fingerprint  BLOB    NOT NULL CHECK (length(fingerprint) = 32), -- of the whole request
    process      INTEGER NOT NULL,                      -- when the process that began it started
    begun_at     INTEGER NOT NULL,
    sealed_id    BLOB CHECK (length(sealed_id) = 16),
    key_id       TEXT,
    sealed       BLOB,                                  -- the answer; it may hold a secret
    answered_at  INTEGER,
    CHECK ((sealed IS NULL) = (sealed_id IS NULL) AND (sealed IS NULL) = (key_id IS NULL)
        AND (sealed IS NULL) = (answered_at IS NULL)),
    PRIMARY KEY (token_id, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX repeats_begun ON repeats (begun_at);

-- What was done, in the commits that did it; append-only. Each hash is over the one before it and its
-- own row, so that what was changed, taken out or put in shows.
CREATE TABLE audit (
    number        INTEGER PRIMARY KEY CHECK (number >= 1),  -- from 1 without a gap
    at            INTEGER NOT NULL,
    actor         TEXT    NOT NULL,                     -- a token's name, or postrider
    role          TEXT,                                 -- the token's at that time
    from_address  TEXT    NOT NULL,
    request_id    TEXT,
    note          TEXT,
    action        TEXT    NOT NULL,
    subject       TEXT    NOT NULL,
    before        TEXT CHECK (json_valid(before)),      -- never with a secret
    after         TEXT CHECK (json_valid(after)),
    hash          BLOB    NOT NULL CHECK (length(hash) = 32)
) STRICT;
CREATE TRIGGER audit_is_append_only BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'an audit entry never changes'); END;
CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'an audit entry is never removed'); END;

-- What operators tried a mapping on: no delivery, counted nowhere. The newest of each mapping are kept.
CREATE TABLE test_sends (
    id                  INTEGER PRIMARY KEY,
    mapping_id          INTEGER NOT NULL,
    event_id            INTEGER,                        -- none: a sample
    node_id             INTEGER NOT NULL,
    revision_id         INTEGER NOT NULL,
    started_at          INTEGER NOT NULL,
    duration_us         INTEGER NOT NULL CHECK (duration_us >= 0),
    outcome             TEXT    NOT NULL,
    status              INTEGER,
    error               TEXT,
    console             TEXT,
    url                 TEXT    NOT NULL,
    request_headers     TEXT    NOT NULL,               -- `name: value` a line, secrets masked
    body_sha256         BLOB CHECK (length(body_sha256) = 32),
    response_headers    TEXT    NOT NULL,
    response_body       BLOB    NOT NULL,               -- as far as it is kept
    response_truncated  INTEGER NOT NULL CHECK (response_truncated IN (0, 1))
) STRICT;
CREATE INDEX test_sends_mapping ON test_sends (mapping_id);

-- What an operator should know: what stands, and what is over and yet to be told. Never more than stand.
CREATE TABLE alerts (
    kind        TEXT    NOT NULL CHECK (kind IN
        ('circuit_open', 'destination_failing', 'dead_letters', 'window_closing', 'disk_low')),
    subject     TEXT    NOT NULL,                       -- a mapping, destination or node by name
    detail      TEXT    NOT NULL,                       -- what was found when it was raised
    raised_at   INTEGER NOT NULL,
    cleared_at  INTEGER,                                -- set once
    told        INTEGER NOT NULL CHECK (told IN (0, 1)),    -- whether the newest of both was told
    PRIMARY KEY (kind, subject)
) STRICT, WITHOUT ROWID;

-- How much waited and how much was dead at the end of each minute in which that changed.
CREATE TABLE levels (
    minute_at  INTEGER PRIMARY KEY,
    waiting    INTEGER NOT NULL CHECK (waiting >= 0),   -- pending and leased
    dead       INTEGER NOT NULL CHECK (dead >= 0)       -- kept: pruned ones are left out
) STRICT;

-- One minute of one mapping; each column only rises.
CREATE TABLE statistics (
    minute_at   INTEGER NOT NULL,
    mapping_id  INTEGER NOT NULL,
    accepted    INTEGER NOT NULL,
    attempts    INTEGER NOT NULL,
    delivered   INTEGER NOT NULL,
    dead        INTEGER NOT NULL,
    attempt_us  INTEGER NOT NULL,                       -- sum of attempt durations
    took_0      INTEGER NOT NULL,                       -- attempts by how long they took: up to 5 ms
    took_1      INTEGER NOT NULL,                       -- 10 ms
    took_2      INTEGER NOT NULL,                       -- 25 ms
    took_3      INTEGER NOT NULL,                       -- 50 ms
    took_4      INTEGER NOT NULL,                       -- 100 ms
    took_5      INTEGER NOT NULL,                       -- 250 ms
    took_6      INTEGER NOT NULL,                       -- 500 ms
    took_7      INTEGER NOT NULL,                       -- 1 s
    took_8      INTEGER NOT NULL,                       -- 2.5 s
    took_9      INTEGER NOT NULL,                       -- 5 s
    took_10     INTEGER NOT NULL,                       -- 10 s
    took_11     INTEGER NOT NULL,                       -- longer
    PRIMARY KEY (minute_at, mapping_id)
) STRICT, WITHOUT ROWID;

-- The same by the hour: minute_at is its first. Kept for longer.
CREATE TABLE statistics_hours (
    minute_at   INTEGER NOT NULL,
    mapping_id  INTEGER NOT NULL,
    accepted    INTEGER NOT NULL,
    attempts    INTEGER NOT NULL,
    delivered   INTEGER NOT NULL,
    dead        INTEGER NOT NULL,
    attempt_us  INTEGER NOT NULL,                       -- sum of attempt durations
    took_0      INTEGER NOT NULL,                       -- attempts by how long they took: up to 5 ms
    took_1      INTEGER NOT NULL,                       -- 10 ms
    took_2      INTEGER NOT NULL,                       -- 25 ms
    took_3      INTEGER NOT NULL,                       -- 50 ms
    took_4      INTEGER NOT NULL,                       -- 100 ms
    took_5      INTEGER NOT NULL,                       -- 250 ms
    took_6      INTEGER NOT NULL,                       -- 500 ms
    took_7      INTEGER NOT NULL,                       -- 1 s
    took_8      INTEGER NOT NULL,                       -- 2.5 s
    took_9      INTEGER NOT NULL,                       -- 5 s
    took_10     INTEGER NOT NULL,                       -- 10 s
    took_11     INTEGER NOT NULL,                       -- longer
    PRIMARY KEY (minute_at, mapping_id)
) STRICT, WITHOUT ROWID;
