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
