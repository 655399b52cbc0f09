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
