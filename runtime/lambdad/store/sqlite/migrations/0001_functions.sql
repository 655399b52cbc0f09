-- Functions: what is looked for has a column, the rest of the record is JSON.
CREATE TABLE functions (
    name TEXT NOT NULL PRIMARY KEY,
    revision_id TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('Pending', 'Active', 'Failed')),
    record TEXT NOT NULL
) STRICT, WITHOUT ROWID;
