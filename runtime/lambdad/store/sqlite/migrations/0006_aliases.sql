-- Aliases of functions. They go with their function.
CREATE TABLE aliases (
    function TEXT NOT NULL,
    name TEXT NOT NULL,
    revision_id TEXT NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (function, name)
) STRICT, WITHOUT ROWID;

-- Provisioned concurrency, under the number of a version or the name of an alias. It goes with
-- that, and with their function.
CREATE TABLE provisioned_concurrency (
    function TEXT NOT NULL,
    qualifier TEXT NOT NULL,
    count INTEGER NOT NULL CHECK (count > 0),
    last_modified REAL NOT NULL,
    PRIMARY KEY (function, qualifier)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER aliases_go_with_their_function AFTER DELETE ON functions
BEGIN
    DELETE FROM aliases WHERE function = OLD.name;
    DELETE FROM provisioned_concurrency WHERE function = OLD.name;
END;

CREATE TRIGGER provisioned_concurrency_goes_with_its_alias AFTER DELETE ON aliases
BEGIN
    DELETE FROM provisioned_concurrency WHERE function = OLD.function AND qualifier = OLD.name;
END;

CREATE TRIGGER provisioned_concurrency_goes_with_its_version
AFTER UPDATE OF record ON function_versions WHEN NEW.record IS NULL
BEGIN
    DELETE FROM provisioned_concurrency
    WHERE function = OLD.name AND qualifier = CAST(OLD.version AS TEXT);
END;
