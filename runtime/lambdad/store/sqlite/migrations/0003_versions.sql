-- Published versions of functions. A deleted one keeps its row without a record: its number is not
-- given again. They go with their function, which may come again under the same name.
CREATE TABLE function_versions (
    name TEXT NOT NULL,
    version INTEGER NOT NULL CHECK (version > 0),
    record TEXT,
    PRIMARY KEY (name, version)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER versions_go_with_their_function AFTER DELETE ON functions
BEGIN
    DELETE FROM function_versions WHERE name = OLD.name;
END;
