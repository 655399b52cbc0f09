-- Reserved concurrency stands beside the record: an update of that must not lose it.
ALTER TABLE functions ADD COLUMN reserved_concurrency INTEGER CHECK (reserved_concurrency >= 0);
