-- Records of calls. Times are microseconds, sizes bytes. No trigger here: they are no change of a function.

-- What many calls have in common.
CREATE TABLE call_sources (
    id       BIGINT NOT NULL GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    function TEXT   NOT NULL,
    version  TEXT   NOT NULL,
    revision TEXT   NOT NULL,
    engine   TEXT   NOT NULL,
    instance TEXT,
    node     TEXT   NOT NULL,
    boot     BIGINT NOT NULL
);

-- id: the moment of arrival in microseconds since 1970-01-01 UTC, times 1024, and a number that tells calls of one moment apart. So the key is the order of
-- arrival, and no other index makes each insertion dearer.
CREATE TABLE calls (
    id               BIGINT NOT NULL PRIMARY KEY,
    source           BIGINT NOT NULL,
    request          TEXT   NOT NULL,
    arrived_us       BIGINT NOT NULL GENERATED ALWAYS AS (id >> 10) STORED,
    attempts         BIGINT NOT NULL,
    queued_us        BIGINT NOT NULL,
    wait             TEXT,
    wait_us          BIGINT NOT NULL,
    init_us          BIGINT NOT NULL,
    init_again_us    BIGINT,
    instance_init_us BIGINT,
    handler_us       BIGINT,
    closing_us       BIGINT NOT NULL,
    bytes_in         BIGINT NOT NULL,
    bytes_out        BIGINT NOT NULL,
    cpu_us           BIGINT,
    cpu_calls        BIGINT,
    peak_bytes       BIGINT,
    outcome          TEXT   NOT NULL,
    reason           TEXT,
    error_type       TEXT,
    trace            TEXT
);
