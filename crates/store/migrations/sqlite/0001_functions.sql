-- Functions and all that belongs to them. Times are milliseconds since 1970-01-01 UTC, sizes are in the unit that the name ends with.

-- One row. The revision is raised by every change.
CREATE TABLE meta (
    id        INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    revision  INTEGER NOT NULL,
    server_id TEXT
) STRICT;
INSERT INTO meta (id, revision) VALUES (1, 0);

CREATE TABLE functions (
    name                 TEXT    NOT NULL PRIMARY KEY,
    next_version         INTEGER NOT NULL,
    reserved_concurrency INTEGER,
    created_ms           INTEGER NOT NULL
) STRICT;

-- version: '$LATEST', a number, or '$READY': the last $LATEST that was prepared, kept while the present one is not.
CREATE TABLE versions (
    function                   TEXT    NOT NULL REFERENCES functions (name) ON DELETE CASCADE,
    version                    TEXT    NOT NULL,
    revision                   TEXT    NOT NULL,
    runtime                    TEXT    NOT NULL,
    handler                    TEXT    NOT NULL,
    role                       TEXT    NOT NULL,
    description                TEXT    NOT NULL,
    timeout_s                  INTEGER NOT NULL,
    memory_mb                  INTEGER NOT NULL,
    storage_mb                 INTEGER NOT NULL,
    environment                TEXT    NOT NULL,
    engine                     TEXT    NOT NULL,
    network                    TEXT    NOT NULL,
    inert                      TEXT    NOT NULL,
    code_digest                TEXT    NOT NULL,
    code_size                  INTEGER NOT NULL,
    state                      TEXT    NOT NULL,
    state_reason_code          TEXT,
    state_reason_message       TEXT,
    last_update                TEXT,
    last_update_reason_code    TEXT,
    last_update_reason_message TEXT,
    modified_ms                INTEGER NOT NULL,
    PRIMARY KEY (function, version)
) STRICT;

-- position: place in the owner's list.
CREATE TABLE routes (
    method   TEXT    NOT NULL,
    path     TEXT    NOT NULL,
    function TEXT    NOT NULL REFERENCES functions (name) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    PRIMARY KEY (method, path)
) STRICT;
CREATE INDEX routes_by_function ON routes (function);

CREATE TABLE tags (
    function TEXT NOT NULL REFERENCES functions (name) ON DELETE CASCADE,
    key      TEXT NOT NULL,
    value    TEXT NOT NULL,
    PRIMARY KEY (function, key)
) STRICT;
