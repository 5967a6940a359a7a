-- What belongs to one destination, whether it is in force or not: without these each change of a destination read
-- the secrets and mappings of all.
CREATE INDEX shared_secrets_destination ON shared_secrets (destination_id);
CREATE INDEX mappings_destination ON mappings (destination_id);
-- A new revision is looked for among the mappings that wait for it: a deferred foreign key.
CREATE INDEX mappings_revision ON mappings (revision_id);
