-- Layer versions. A deleted one keeps its row without a record: its number is never given again.
CREATE TABLE layer_versions (
    name TEXT NOT NULL,
    version INTEGER NOT NULL CHECK (version > 0),
    record TEXT,
    PRIMARY KEY (name, version)
) STRICT, WITHOUT ROWID;
