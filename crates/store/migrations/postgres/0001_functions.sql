-- Functions and all that belongs to them. Times are milliseconds since 1970-01-01 UTC, sizes are in the unit that the name ends with.

-- One row. The revision is raised once by every transaction that changes a function, whoever makes it; changed_in is the last of them.
-- owner is a random id that every server writes which takes the database: one that finds another id there may not write any more. No counter, since a
-- restored backup would repeat it. holder says who that is, for people.
CREATE TABLE meta (
    id         INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    revision   BIGINT  NOT NULL,
    changed_in TEXT,
    server_id  TEXT,
    owner      TEXT    NOT NULL,
    holder     TEXT    NOT NULL
);
INSERT INTO meta (id, revision, owner, holder) VALUES (1, 0, '', '');

CREATE TABLE functions (
    name                 TEXT   NOT NULL PRIMARY KEY,
    next_version         BIGINT NOT NULL,
    reserved_concurrency BIGINT,
    created_ms           BIGINT NOT NULL
);

-- version: '$LATEST', a number, or '$READY': the last $LATEST that was prepared, kept while the present one is not.
CREATE TABLE versions (
    function                   TEXT   NOT NULL REFERENCES functions (name) ON DELETE CASCADE,
    version                    TEXT   NOT NULL,
    revision                   TEXT   NOT NULL,
    runtime                    TEXT   NOT NULL,
    handler                    TEXT   NOT NULL,
    role                       TEXT   NOT NULL,
    description                TEXT   NOT NULL,
    timeout_s                  BIGINT NOT NULL,
    memory_mb                  BIGINT NOT NULL,
    storage_mb                 BIGINT NOT NULL,
    environment                TEXT   NOT NULL,
    engine                     TEXT   NOT NULL,
    network                    TEXT   NOT NULL,
    inert                      TEXT   NOT NULL,
    code_digest                TEXT   NOT NULL,
    code_size                  BIGINT NOT NULL,
    state                      TEXT   NOT NULL,
    state_reason_code          TEXT,
    state_reason_message       TEXT,
    last_update                TEXT,
    last_update_reason_code    TEXT,
    last_update_reason_message TEXT,
    modified_ms                BIGINT NOT NULL,
    PRIMARY KEY (function, version)
);

-- position: place in the owner's list.
CREATE TABLE routes (
    method   TEXT   NOT NULL,
    path     TEXT   NOT NULL,
    function TEXT   NOT NULL REFERENCES functions (name) ON DELETE CASCADE,
    position BIGINT NOT NULL,
    PRIMARY KEY (method, path)
);
CREATE INDEX routes_by_function ON routes (function);

CREATE TABLE tags (
    function TEXT NOT NULL REFERENCES functions (name) ON DELETE CASCADE,
    key      TEXT NOT NULL,
    value    TEXT NOT NULL,
    PRIMARY KEY (function, key)
);

-- Raises the revision at the first change of a transaction and tells it to those who listen, when the transaction is committed. Before the change: everybody
-- locks the row of meta first and rows of functions after it, so that two writers wait for each other and never in a circle.
CREATE FUNCTION warren_changed() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    raised BIGINT;
BEGIN
    UPDATE meta
    SET revision = revision + 1, changed_in = pg_current_xact_id()::text
    WHERE id = 1 AND changed_in IS DISTINCT FROM pg_current_xact_id()::text
    RETURNING revision INTO raised;
    IF raised IS NOT NULL THEN
        PERFORM pg_notify('warren', raised::text);
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER warren_changed BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON functions
    FOR EACH STATEMENT EXECUTE FUNCTION warren_changed();
CREATE TRIGGER warren_changed BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON versions
    FOR EACH STATEMENT EXECUTE FUNCTION warren_changed();
CREATE TRIGGER warren_changed BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON routes
    FOR EACH STATEMENT EXECUTE FUNCTION warren_changed();
CREATE TRIGGER warren_changed BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON tags
    FOR EACH STATEMENT EXECUTE FUNCTION warren_changed();
