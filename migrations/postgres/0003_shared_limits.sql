-- What nodes share about limits and receivers, beside the outbox.

-- Which node sends to a destination with limits. Its lease is judged by `beat`, which rises with each renewal:
-- a node takes over what it has not seen rise for the time of a lease and of a request. So no clock decides.
CREATE TABLE destination_owners (
    destination_id  bigint PRIMARY KEY,
    node_id         bigint,                             -- null: released, with no request in flight
    term            bigint NOT NULL CHECK (term >= 1),  -- rises with each owner
    beat            bigint NOT NULL CHECK (beat >= 0),
    attempt_ms      bigint NOT NULL CHECK (attempt_ms >= 0) -- the most that a request of the owner takes
) WITH (fillfactor = 50);

-- Open circuits. The lease of the latest probe says whether it is still in flight.
CREATE TABLE circuits (
    mapping_id   bigint PRIMARY KEY,
    opened_at    bigint NOT NULL,
    probe_at     bigint NOT NULL,                       -- no probe before
    interval_us  bigint NOT NULL CHECK (interval_us > 0),
    probe_id     bigint,
    probe_token  bigint,
    CHECK ((probe_id IS NULL) = (probe_token IS NULL))
) WITH (fillfactor = 50);

-- What each node admitted from sources with a rate, since it started.
CREATE TABLE source_admissions (
    source_id  bigint NOT NULL,
    node_id    bigint NOT NULL,
    events     bigint NOT NULL CHECK (events >= 0),
    PRIMARY KEY (source_id, node_id)
) WITH (fillfactor = 50);

-- The node that refreshes the tokens of a connection, by the connection's number that it refreshes.
CREATE TABLE token_refreshes (
    destination_id  bigint PRIMARY KEY,
    number          bigint NOT NULL,
    slot            bigint NOT NULL,                    -- of that node
    started_at      bigint NOT NULL                     -- by the server's clock
);
