-- The whole layout. Portable: what differs between engines is replaced by the migrators. On SQLite KEYLESS becomes
-- WITHOUT ROWID, BIGINT becomes INTEGER, BY_DAY nothing, and what follows `--sqlite` is run; on PostgreSQL BY_DAY becomes a
-- partitioning by n, whose high bits are milliseconds, KEYLESS nothing, and what follows `--pg` is run. Times are microseconds since 1970 in BIGINT; ids
-- are the two numbers of `domain::Id`: n, the key, and tag.
-- Columns that nothing uses yet are there so that no large table has to be rewritten when it does.

CREATE TABLE meta (
    name  TEXT   PRIMARY KEY,
    value BYTEA  NOT NULL
);

-- Raised first by every change of the control plane; what changed carries the number it was raised to.
CREATE TABLE config_clock (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    seq BIGINT NOT NULL
);
INSERT INTO config_clock (one, seq) VALUES (1, 0);

CREATE TABLE nodes (
    epoch      BIGINT PRIMARY KEY,
    number     BIGINT NOT NULL,
    name       TEXT   NOT NULL,
    started_at BIGINT NOT NULL,
    beat_at    BIGINT NOT NULL,
    applied    BIGINT NOT NULL DEFAULT 0,
    -- The master keys that it knows, by their numbers, separated by commas.
    master_keys TEXT  NOT NULL DEFAULT ''
);

CREATE TABLE shards (
    shard       BIGINT PRIMARY KEY,
    owner_epoch BIGINT,
    term        BIGINT NOT NULL DEFAULT 0
);
INSERT INTO shards (shard)
    WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < 255)
    SELECT n FROM numbers;

CREATE TABLE projects (
    n                BIGINT PRIMARY KEY,
    tag              BIGINT NOT NULL,
    name             TEXT   NOT NULL,
    sandbox          BIGINT NOT NULL DEFAULT 0,
    signature_prefix TEXT,
    payload_formats  TEXT,
    created_at       BIGINT NOT NULL,
    updated_at       BIGINT NOT NULL,
    config_version   BIGINT NOT NULL,
    deleted_at       BIGINT
);
CREATE UNIQUE INDEX projects_name ON projects (name) WHERE deleted_at IS NULL;
CREATE INDEX projects_changed ON projects (config_version);

CREATE TABLE api_keys (
    n              BIGINT PRIMARY KEY,
    tag            BIGINT NOT NULL,
    hash           BYTEA  NOT NULL UNIQUE,
    role           TEXT   NOT NULL,
    project        BIGINT,
    tenant         BIGINT,
    read_only      BIGINT NOT NULL DEFAULT 0,
    name           TEXT,
    created_at     BIGINT NOT NULL,
    expires_at     BIGINT,
    last_used_at   BIGINT,
    revoked_at     BIGINT,
    config_version BIGINT NOT NULL
);
CREATE INDEX api_keys_of_project ON api_keys (project, n) WHERE revoked_at IS NULL;
CREATE INDEX api_keys_of_tenant ON api_keys (tenant) WHERE revoked_at IS NULL;
CREATE INDEX api_keys_changed ON api_keys (config_version);

CREATE TABLE tenants (
    n              BIGINT PRIMARY KEY,
    tag            BIGINT NOT NULL,
    project        BIGINT NOT NULL,
    uid            TEXT,
    name           TEXT   NOT NULL,
    metadata       TEXT,
    -- 'customer', or 'operational': it holds its project's endpoints for Stentor's own events, and nobody sees it.
    kind           TEXT   NOT NULL DEFAULT 'customer',
    rate_limit     BIGINT,
    -- The number that the tenant's next endpoint gets; numbers are never reused.
    next_number    BIGINT NOT NULL DEFAULT 1,
    created_at     BIGINT NOT NULL,
    updated_at     BIGINT NOT NULL,
    config_version BIGINT NOT NULL,
    deleted_at     BIGINT,
    -- The content of its events with keys below has been erased, from `content_erased_at` on: nothing shows or sends it, and
    -- `erasures` knows what is still in the tables.
    content_erased_below BIGINT NOT NULL DEFAULT 0,
    content_erased_at    BIGINT
);
CREATE UNIQUE INDEX tenants_uid ON tenants (project, uid) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX tenants_operational ON tenants (project) WHERE kind = 'operational' AND deleted_at IS NULL;
CREATE INDEX tenants_of_project ON tenants (project, n) WHERE deleted_at IS NULL;
CREATE INDEX tenants_changed ON tenants (config_version);

CREATE TABLE event_types (
    n           BIGINT PRIMARY KEY,
    tag         BIGINT NOT NULL,
    project     BIGINT NOT NULL,
    name        TEXT   NOT NULL,
    description TEXT   NOT NULL,
    -- A JSON Schema.
    schema      TEXT,
    -- Is it enforced when an event is published?
    validate    BIGINT NOT NULL DEFAULT 0,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    archived_at BIGINT,
    config_version BIGINT NOT NULL
);
CREATE UNIQUE INDEX event_types_name ON event_types (project, name);
CREATE INDEX event_types_changed ON event_types (config_version);

CREATE TABLE endpoints (
    n               BIGINT PRIMARY KEY,
    tag             BIGINT NOT NULL,
    tenant          BIGINT NOT NULL,
    project         BIGINT NOT NULL,
    number          BIGINT NOT NULL,
    uid             TEXT,
    -- The contract it was made through.
    contract        TEXT   NOT NULL DEFAULT 'v1',
    shard           BIGINT NOT NULL,
    name            TEXT   NOT NULL,
    description     TEXT,
    url             TEXT   NOT NULL,
    -- Event types, one a line; '*' is all.
    events          TEXT   NOT NULL,
    -- One a line; NULL is all events.
    channels        TEXT,
    filter          TEXT,
    metadata        TEXT,
    header_set      BIGINT,
    timeout_seconds BIGINT NOT NULL,
    -- Waits in seconds, separated by commas.
    retry_schedule  TEXT   NOT NULL,
    retry_anchor    TEXT   NOT NULL DEFAULT 'previous',
    max_in_flight   BIGINT,
    ordered         BIGINT NOT NULL DEFAULT 0,
    rate_limit      BIGINT,
    header_styles   TEXT   NOT NULL DEFAULT 'standard',
    payload_format  TEXT   NOT NULL DEFAULT 'raw',
    status          TEXT   NOT NULL DEFAULT 'active',
    paused_at       BIGINT,
    disabled_reason TEXT,
    created_at      BIGINT NOT NULL,
    updated_at      BIGINT NOT NULL,
    config_version  BIGINT NOT NULL,
    deleted_at      BIGINT,
    -- When everything that was left of a deleted endpoint has been ended.
    swept_at        BIGINT
);
CREATE UNIQUE INDEX endpoints_uid ON endpoints (tenant, uid) WHERE deleted_at IS NULL;
CREATE INDEX endpoints_of_tenant ON endpoints (tenant, n) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX endpoints_number ON endpoints (tenant, number);
CREATE INDEX endpoints_changed ON endpoints (config_version);
CREATE INDEX endpoints_to_sweep ON endpoints (n) WHERE deleted_at IS NOT NULL AND swept_at IS NULL;

-- Apart from the endpoint, so that the hot path never moves the configuration's version.
CREATE TABLE endpoint_health (
    endpoint             BIGINT PRIMARY KEY,
    consecutive_failures BIGINT NOT NULL,
    -- Attempts without any answer since the last one with one.
    unanswered           BIGINT NOT NULL,
    failing_since        BIGINT,
    last_success_at      BIGINT,
    last_attempt_at      BIGINT,
    -- Not asked before this time, or by so many at once; how long its waits are by now, in seconds; what parked it.
    parked_until         BIGINT,
    at_once              BIGINT,
    breaker_wait         BIGINT NOT NULL,
    throttle_wait        BIGINT NOT NULL,
    status               BIGINT,
    error                TEXT
);

-- The next place in the order of each ordered endpoint. Apart from the endpoint, so that accepting an event never locks a row
-- that the control plane holds.
CREATE TABLE orders (
    endpoint BIGINT PRIMARY KEY,
    next_seq BIGINT NOT NULL
);

-- Signing secrets, sealed (see seal.rs); several are valid during a rotation.
CREATE TABLE secrets (
    n          BIGINT PRIMARY KEY,
    endpoint   BIGINT NOT NULL,
    -- Of an ed25519 secret: what its receivers verify with.
    public_key TEXT,
    contract   TEXT   NOT NULL DEFAULT 'v1',
    master_key BIGINT NOT NULL,
    sealed     BYTEA  NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT
);
CREATE INDEX secrets_of_endpoint ON secrets (endpoint, n);
CREATE INDEX secrets_sealed_with ON secrets (master_key);

-- Versions of an endpoint's custom headers, sealed; attempts name the version that was sent.
CREATE TABLE header_sets (
    n          BIGINT PRIMARY KEY,
    endpoint   BIGINT NOT NULL,
    master_key BIGINT NOT NULL,
    sealed     BYTEA  NOT NULL
);
CREATE INDEX header_sets_sealed_with ON header_sets (master_key);

CREATE TABLE events (
    n                  BIGINT PRIMARY KEY,
    tag                BIGINT NOT NULL,
    tenant             BIGINT NOT NULL,
    type               TEXT   NOT NULL,
    event_id           TEXT,
    -- One a line.
    channels           TEXT,
    occurred_at        BIGINT,
    -- NULL once it was purged.
    payload            BYTEA,
    -- When somebody asked to erase its content; NULL otherwise.
    erased_at          BIGINT,
    -- How many endpoints matched.
    deliveries         BIGINT NOT NULL,
    meta               TEXT
) BY_DAY;
-- Takes what no day was made for.
--pg CREATE TABLE events_default PARTITION OF events DEFAULT;
--pg CREATE INDEX events_of_tenant ON events (tenant, n);

-- Unfinished deliveries. A row with an owner is in that node's memory; one without waits for its shard's owner.
CREATE TABLE work (
    n                BIGINT PRIMARY KEY,
    tag              BIGINT NOT NULL,
    event            BIGINT NOT NULL,
    endpoint         BIGINT NOT NULL,
    tenant           BIGINT NOT NULL,
    shard            BIGINT NOT NULL,
    -- The number of the next attempt.
    attempt          BIGINT NOT NULL,
    -- Failed attempts that took a place in the present schedule.
    failed           BIGINT NOT NULL DEFAULT 0,
    -- When the first attempt of the present schedule started.
    first_at         BIGINT,
    due_at           BIGINT NOT NULL,
    owner            BIGINT,
    -- Its place in the order of an ordered endpoint: drawn when it was accepted or reopened.
    seq              BIGINT,
    cause            TEXT   NOT NULL,
    replay           BIGINT,
    -- 1: somebody asked for its end; 2: its payload went while a node had it in memory. It ends with its attempt.
    cancel_requested BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX work_waiting ON work (shard, endpoint, due_at) WHERE owner IS NULL;
-- What replays brought. Deliveries of events never touch it.
CREATE INDEX work_replayed ON work (endpoint, replay, n) WHERE replay IS NOT NULL;
-- Deliveries made more than 50 ms after their event: a fan-out continued, a replay of what was missing. All others lie so
-- close behind their event that they are found by key.
CREATE INDEX work_late ON work (event) WHERE n - event >= 104857600;
CREATE INDEX work_ordered ON work (endpoint, seq) WHERE seq IS NOT NULL;
-- Every delivery is a row here for some milliseconds. It is cleaned by the number of dead rows, whatever its size, and as
-- fast as that goes; its end is not cut off, which would lock everybody out.
--pg ALTER TABLE work SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
--pg     autovacuum_vacuum_cost_delay = 0, autovacuum_vacuum_insert_threshold = -1,
--pg     autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 1000000, vacuum_truncate = off);

-- Finished deliveries with their last attempt inside. Insert-only, but for a retry, which takes the row back to `work`.
CREATE TABLE deliveries (
    n           BIGINT PRIMARY KEY,
    tag         BIGINT NOT NULL,
    event       BIGINT NOT NULL,
    endpoint    BIGINT NOT NULL,
    tenant      BIGINT NOT NULL,
    state       TEXT   NOT NULL,
    reason      TEXT,
    cause       TEXT   NOT NULL,
    attempts    BIGINT NOT NULL,
    finished_at BIGINT NOT NULL,
    started_at  BIGINT,
    status      BIGINT,
    error       TEXT,
    micros      BIGINT,
    exchange    BYTEA
) BY_DAY;
--pg CREATE TABLE deliveries_default PARTITION OF deliveries DEFAULT;
--pg CREATE INDEX deliveries_of_endpoint ON deliveries (endpoint, n);
CREATE INDEX deliveries_of_event ON deliveries (event);

-- Earlier, failed and fenced tries. A fenced one may share its number with the one that counted.
CREATE TABLE attempts (
    delivery   BIGINT NOT NULL,
    no         BIGINT NOT NULL,
    started_at BIGINT NOT NULL,
    cause      TEXT   NOT NULL,
    status     BIGINT,
    error      TEXT,
    micros     BIGINT NOT NULL,
    exchange   BYTEA  NOT NULL,
    PRIMARY KEY (delivery, no, started_at)
) KEYLESS;

-- What transactions have changed of the counts in `stats`, until it is folded into them (see stats.rs).
CREATE TABLE tallies (
    n    BIGINT PRIMARY KEY,
    at   BIGINT NOT NULL,
    body BYTEA  NOT NULL
);
--pg ALTER TABLE tallies ALTER n ADD GENERATED BY DEFAULT AS IDENTITY, ALTER body SET STORAGE EXTERNAL;
-- A row for each group, for half a minute. Its body stays in the row: moved apart, it would be two rows more.
--pg ALTER TABLE tallies SET (toast_tuple_target = 8160, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
--pg     autovacuum_vacuum_cost_delay = 0, autovacuum_vacuum_insert_threshold = -1, vacuum_truncate = off);

-- What is counted of an endpoint's deliveries, by the hour since 1970 in which they were accepted.
CREATE TABLE stats (
    endpoint  BIGINT NOT NULL,
    hour      BIGINT NOT NULL,
    accepted  BIGINT NOT NULL,
    delivered BIGINT NOT NULL,
    exhausted BIGINT NOT NULL,
    cancelled BIGINT NOT NULL,
    -- Outcomes and classes of duration, each with its count.
    attempts  BYTEA  NOT NULL,
    PRIMARY KEY (endpoint, hour)
) KEYLESS;
CREATE INDEX stats_by_hour ON stats (hour);
-- Room for a new version of a row beside it, so that no index changes with it.
--pg ALTER TABLE stats SET (fillfactor = 60);

-- Producers' own event ids. `hash` is of project, tenant and id.
CREATE TABLE event_keys (
    hash       BYTEA  PRIMARY KEY,
    event      BIGINT NOT NULL,
    body_hash  BYTEA  NOT NULL
) KEYLESS;
-- Keys go with their events. Only publishes that bring an id pay for it, at the index's end.
CREATE INDEX event_keys_of_event ON event_keys (event);

-- Idempotency keys with the answer that was given, but for what is shown only once.
CREATE TABLE idempotency_keys (
    hash       BYTEA  PRIMARY KEY,
    body_hash  BYTEA  NOT NULL,
    status     BIGINT NOT NULL,
    answer     BYTEA  NOT NULL,
    expires_at BIGINT NOT NULL
) KEYLESS;
CREATE INDEX idempotency_keys_ending ON idempotency_keys (expires_at);

-- Events with more deliveries than their transaction wrote: the rest follow, endpoint after endpoint.
CREATE TABLE fanout (
    event          BIGINT PRIMARY KEY,
    tenant         BIGINT NOT NULL,
    after_endpoint BIGINT NOT NULL
);

-- How far ages have come. Keys below `payloads_below` name events that have no payload for anybody any more, since
-- `raised_at`; those below `payloads_swept` have none in the table either. What was finished of events below
-- `deliveries_below` is gone, so that a delivery that is not there may well have been made.
CREATE TABLE retention (
    one              BIGINT PRIMARY KEY CHECK (one = 1),
    payloads_below   BIGINT NOT NULL,
    payloads_swept   BIGINT NOT NULL,
    deliveries_below BIGINT NOT NULL,
    raised_at        BIGINT
);
INSERT INTO retention (one, payloads_below, payloads_swept, deliveries_below) VALUES (1, 0, 0, 0);

-- What an owner has, on SQLite: lists beside the tables, which follow them (store/sqlite/lists.rs). Everything with a key up to
-- these is listed.
--sqlite CREATE TABLE listed (
--sqlite     one        BIGINT PRIMARY KEY CHECK (one = 1),
--sqlite     events     BIGINT NOT NULL,
--sqlite     deliveries BIGINT NOT NULL
--sqlite );
--sqlite INSERT INTO listed (one, events, deliveries) VALUES (1, 0, 0);
--sqlite CREATE TABLE listed_events (
--sqlite     tenant BIGINT NOT NULL,
--sqlite     n      BIGINT NOT NULL,
--sqlite     PRIMARY KEY (tenant, n)
--sqlite ) KEYLESS;
--sqlite CREATE TABLE listed_deliveries (
--sqlite     endpoint BIGINT NOT NULL,
--sqlite     n        BIGINT NOT NULL,
--sqlite     PRIMARY KEY (endpoint, n)
--sqlite ) KEYLESS;
-- What comes late is listed at once; what is sent again leaves its list at once. What has expired leaves it later.
--sqlite CREATE TRIGGER events_come_late AFTER INSERT ON events
--sqlite     WHEN NEW.n <= (SELECT events FROM listed WHERE one = 1)
--sqlite BEGIN
--sqlite     INSERT OR IGNORE INTO listed_events (tenant, n) VALUES (NEW.tenant, NEW.n);
--sqlite END;
--sqlite CREATE TRIGGER deliveries_come_late AFTER INSERT ON deliveries
--sqlite     WHEN NEW.n <= (SELECT deliveries FROM listed WHERE one = 1)
--sqlite BEGIN
--sqlite     INSERT OR IGNORE INTO listed_deliveries (endpoint, n) VALUES (NEW.endpoint, NEW.n);
--sqlite END;
--sqlite CREATE TRIGGER deliveries_leave AFTER DELETE ON deliveries
--sqlite     WHEN OLD.n >= (SELECT deliveries_below FROM retention WHERE one = 1)
--sqlite BEGIN
--sqlite     DELETE FROM listed_deliveries WHERE endpoint = OLD.endpoint AND n = OLD.n;
--sqlite END;

-- Content that somebody asked to erase, until it has left the tables: of one event, or of a tenant's events below `below`.
-- All of it up to `swept_event`, and of the event after that up to `swept_delivery`, has left. `n` is the key of the wish's
-- audit row.
CREATE TABLE erasures (
    n              BIGINT PRIMARY KEY,
    tenant         BIGINT NOT NULL,
    event          BIGINT,
    below          BIGINT NOT NULL,
    swept_event    BIGINT NOT NULL DEFAULT 0,
    swept_delivery BIGINT NOT NULL DEFAULT 0
);

-- What those who run Stentor should hear of, written with the attempt that was its cause, until it is published.
CREATE TABLE notices (
    -- The delivery and the attempt.
    n             BIGINT NOT NULL,
    attempt       BIGINT NOT NULL,
    kind          TEXT   NOT NULL,
    tag           BIGINT NOT NULL,
    event         BIGINT NOT NULL,
    tenant        BIGINT NOT NULL,
    endpoint      BIGINT NOT NULL,
    -- Why the endpoint was disabled, or the delivery ended.
    reason        TEXT,
    -- The endpoint's health after the attempt, where it is about that.
    failures      BIGINT,
    failing_since BIGINT,
    next_probe_at BIGINT,
    -- What the attempt came to.
    status        BIGINT,
    error         TEXT,
    created_at    BIGINT NOT NULL,
    PRIMARY KEY (n, attempt, kind)
) KEYLESS;
-- The order in which they are told. Of one attempt: what became of the endpoint, then of the delivery.
CREATE INDEX notices_in_order ON notices (created_at, n, attempt, kind DESC);

-- Durable background work that somebody asked for, and can watch and cancel.
CREATE TABLE jobs (
    n           BIGINT PRIMARY KEY,
    tag         BIGINT NOT NULL,
    kind        TEXT   NOT NULL,
    project     BIGINT NOT NULL,
    tenant      BIGINT,
    endpoint    BIGINT,
    status      TEXT   NOT NULL,
    reason      TEXT,
    -- What it does and how far it has come, as each kind keeps it.
    spec        BYTEA  NOT NULL,
    progress    BYTEA  NOT NULL,
    created_at  BIGINT NOT NULL,
    finished_at BIGINT,
    -- When nothing was left to be done for it, which is later than its end where that leaves something over.
    swept_at    BIGINT
);
CREATE INDEX jobs_of_project ON jobs (project, n);
CREATE INDEX jobs_of_tenant ON jobs (tenant, n);
CREATE INDEX jobs_to_do ON jobs (kind, n) WHERE swept_at IS NULL;
CREATE INDEX jobs_to_do_of_endpoint ON jobs (endpoint, n) WHERE swept_at IS NULL;

CREATE TABLE audit (
    n       BIGINT PRIMARY KEY,
    tag     BIGINT NOT NULL,
    at      BIGINT NOT NULL,
    key     BIGINT,
    key_tag BIGINT,
    project BIGINT,
    tenant  BIGINT,
    action  TEXT   NOT NULL,
    object  TEXT   NOT NULL,
    address TEXT,
    detail  TEXT
);
CREATE INDEX audit_of_project ON audit (project, n);
