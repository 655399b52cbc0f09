-- Events that were accepted and neither have succeeded nor are given up. They go with their
-- function, which may come again under the same name.
CREATE TABLE events (
    request_id TEXT NOT NULL PRIMARY KEY,
    function TEXT NOT NULL,
    due REAL NOT NULL,
    attempts INTEGER NOT NULL,
    payload BLOB NOT NULL,
    record TEXT NOT NULL
) STRICT;

CREATE INDEX events_of_a_function ON events (function);

CREATE TRIGGER events_go_with_their_function AFTER DELETE ON functions
BEGIN
    DELETE FROM events WHERE function = OLD.name;
END;
