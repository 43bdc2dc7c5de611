-- Records of calls, in a file of their own. Times are microseconds, sizes bytes.

-- What many calls have in common.
CREATE TABLE call_sources (
    id       INTEGER NOT NULL PRIMARY KEY,
    function TEXT    NOT NULL,
    version  TEXT    NOT NULL,
    revision TEXT    NOT NULL,
    engine   TEXT    NOT NULL,
    instance TEXT,
    node     TEXT    NOT NULL,
    boot     INTEGER NOT NULL
) STRICT;

-- id: the moment of arrival in microseconds since 1970-01-01 UTC, times 1024, and a number that tells calls of one moment apart. So the key is the order of
-- arrival, and no other index makes each insertion dearer.
CREATE TABLE calls (
    id               INTEGER NOT NULL PRIMARY KEY,
    source           INTEGER NOT NULL,
    request          TEXT    NOT NULL,
    arrived_us       INTEGER NOT NULL GENERATED ALWAYS AS (id >> 10) VIRTUAL,
    attempts         INTEGER NOT NULL,
    queued_us        INTEGER NOT NULL,
    wait             TEXT,
    wait_us          INTEGER NOT NULL,
    init_us          INTEGER NOT NULL,
    init_again_us    INTEGER,
    instance_init_us INTEGER,
    handler_us       INTEGER,
    closing_us       INTEGER NOT NULL,
    bytes_in         INTEGER NOT NULL,
    bytes_out        INTEGER NOT NULL,
    cpu_us           INTEGER,
    cpu_calls        INTEGER,
    peak_bytes       INTEGER,
    outcome          TEXT    NOT NULL,
    reason           TEXT,
    error_type       TEXT,
    trace            TEXT
) STRICT;
