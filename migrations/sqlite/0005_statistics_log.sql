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
