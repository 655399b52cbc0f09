-- create_function --
INSERT INTO functions (name, revision_id, state, record)
VALUES (:name, :revision_id, :state, :record)
ON CONFLICT (name) DO NOTHING;

-- functions --
SELECT name, revision_id, state, record FROM functions ORDER BY name;

-- replace_function --
UPDATE functions
SET revision_id = :revision_id, state = :state, record = :record
WHERE name = :name AND revision_id = :expected_revision;

-- delete_function --
DELETE FROM functions WHERE name = :name;

-- create_layer_version --
INSERT INTO layer_versions (name, version, record)
VALUES (:name, :version, :record)
ON CONFLICT (name, version) DO NOTHING;

-- layer_versions --
SELECT name, version, record FROM layer_versions WHERE record IS NOT NULL ORDER BY name, version;

-- last_layer_versions --
SELECT name, max(version) AS version FROM layer_versions GROUP BY name;

-- delete_layer_version --
UPDATE layer_versions SET record = NULL
WHERE name = :name AND version = :version AND record IS NOT NULL;

-- create_version --
INSERT INTO function_versions (name, version, record)
SELECT :name, :version, :record WHERE EXISTS (SELECT 1 FROM functions WHERE name = :name)
ON CONFLICT (name, version) DO NOTHING;

-- versions --
SELECT name, version, record FROM function_versions WHERE record IS NOT NULL ORDER BY name, version;

-- last_versions --
SELECT name, max(version) AS version FROM function_versions GROUP BY name;

-- replace_version --
UPDATE function_versions SET record = :record
WHERE name = :name AND version = :version AND record IS NOT NULL;

-- delete_version --
UPDATE function_versions SET record = NULL
WHERE name = :name AND version = :version AND record IS NOT NULL;

-- reserve_concurrency --
UPDATE functions SET reserved_concurrency = :count WHERE name = :name;

-- reserved_concurrency --
SELECT name, reserved_concurrency FROM functions WHERE reserved_concurrency IS NOT NULL;

-- create_alias --
INSERT INTO aliases (function, name, revision_id, record)
SELECT :function, :name, :revision_id, :record
WHERE EXISTS (SELECT 1 FROM functions WHERE name = :function)
ON CONFLICT (function, name) DO NOTHING;

-- aliases --
SELECT function, name, revision_id, record FROM aliases ORDER BY function, name;

-- replace_alias --
UPDATE aliases SET revision_id = :revision_id, record = :record
WHERE function = :function AND name = :name AND revision_id = :expected_revision;

-- delete_alias --
DELETE FROM aliases WHERE function = :function AND name = :name;

-- provision_concurrency --
INSERT INTO provisioned_concurrency (function, qualifier, count, last_modified)
SELECT :function, :qualifier, :count, :last_modified
WHERE EXISTS (SELECT 1 FROM functions WHERE name = :function)
ON CONFLICT (function, qualifier)
DO UPDATE SET count = excluded.count, last_modified = excluded.last_modified;

-- provisioned_concurrency --
SELECT function, qualifier, count, last_modified FROM provisioned_concurrency
ORDER BY function, qualifier;

-- release_concurrency --
DELETE FROM provisioned_concurrency WHERE function = :function AND qualifier = :qualifier;

-- add_event --
INSERT INTO events (request_id, function, due, attempts, payload, record)
VALUES (:request_id, :function, :due, :attempts, :payload, :record)
ON CONFLICT (request_id) DO NOTHING;

-- events --
SELECT request_id, due FROM events;

-- event --
SELECT request_id, function, due, attempts, payload, record FROM events
WHERE request_id = :request_id;

-- retry_event --
UPDATE events SET attempts = :attempts, due = :due WHERE request_id = :request_id;

-- remove_event --
DELETE FROM events WHERE request_id = :request_id;
