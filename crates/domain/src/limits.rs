//! Every bound of the product, with its unit in its name. Those that an operator may change are the defaults here and
//! travel as parameters.

use std::time::Duration;

/// Default size limit of an event's payload (contract v1).
pub const PAYLOAD_BYTES_MAX: usize = 256 * 1024;
/// Size limit of a batch of events (contract v1).
pub const BATCH_BYTES_MAX: usize = 5 * 1024 * 1024;
/// Events in one batch (contract v1).
pub const BATCH_EVENTS_MAX: usize = 1_000;
/// Size limit of any other request body.
pub const CONTROL_BODY_BYTES_MAX: usize = 256 * 1024;

/// How often an event may be the child of another one's webhook (security rules: a publish that arrives with so many is
/// refused).
pub const LOOPS_MAX: u8 = 5;

/// Length of an endpoint's URL (contracts v1 and subscriptions).
pub const URL_CHARACTERS_MAX: usize = 2_083;
/// Length of a description (contracts v1 and subscriptions).
pub const DESCRIPTION_CHARACTERS_MAX: usize = 1_000;
/// Length of a display name.
pub const NAME_CHARACTERS_MAX: usize = 255;
/// Length of an event type (contract v1).
pub const EVENT_TYPE_CHARACTERS_MAX: usize = 255;
/// Event types in one subscription.
pub const SUBSCRIPTION_TYPES_MAX: usize = 500;
/// Channels of one event, and of one endpoint.
pub const CHANNELS_MAX: usize = 10;
/// Length of a channel's name.
pub const CHANNEL_CHARACTERS_MAX: usize = 128;
/// Size of an endpoint's filter as JSON.
pub const FILTER_BYTES_MAX: usize = 4 * 1024;
/// Filters within filters (`$and`, `$or`, `$not`), the outermost included.
pub const FILTER_DEPTH_MAX: usize = 8;
/// What a filter asks for: operators and plain values.
pub const FILTER_TESTS_MAX: usize = 50;
/// Names in one path of a filter.
pub const FILTER_PATH_STEPS_MAX: usize = 16;
/// Items of arrays that one path of a filter looks at.
pub const FILTER_ITEMS_MAX: usize = 100;
/// Size of an event type's JSON Schema.
pub const SCHEMA_BYTES_MAX: usize = 32 * 1024;
/// Schemas within a schema, with every reference replaced by what it names.
pub const SCHEMA_PARTS_MAX: usize = 2_000;
/// Schemas within one another, likewise.
pub const SCHEMA_DEPTH_MAX: usize = 64;
/// Regular expressions in one schema.
pub const SCHEMA_PATTERNS_MAX: usize = 25;
/// What one of them may take when it is compiled.
pub const SCHEMA_PATTERN_BYTES_MAX: usize = 1024 * 1024;
/// Looks into a payload that checking it may take, however short it is.
pub const SCHEMA_STEPS_MIN: usize = 10_000;
/// Further ones for each of its bytes.
pub const SCHEMA_STEPS_FOR_EACH_BYTE: usize = 16;
/// Looks that naming the fault of a payload may take.
pub const SCHEMA_NAMING_STEPS_MAX: usize = 100_000;
/// Stack that checking a payload may take: a quarter of what a thread has.
pub const SCHEMA_STACK_BYTES_MAX: usize = 512 * 1024;
/// Length of a uid, and of a producer's own event id (contract v1).
pub const UID_CHARACTERS_MAX: usize = 256;
/// Length of an idempotency key.
pub const IDEMPOTENCY_KEY_CHARACTERS_MAX: usize = 256;
/// How long an idempotency key is remembered (contract v1).
pub const IDEMPOTENCY_KEY_LIFE: Duration = Duration::from_secs(24 * 3600);
/// Size of a metadata object as JSON.
pub const METADATA_BYTES_MAX: usize = 4 * 1024;

/// Custom headers of one endpoint (contract v1).
pub const CUSTOM_HEADERS_MAX: usize = 20;
/// Size of one custom header, name and value (contract v1).
pub const CUSTOM_HEADER_BYTES_MAX: usize = 4 * 1024;
/// Size of all custom headers of one endpoint (contract v1).
pub const CUSTOM_HEADERS_BYTES_MAX: usize = 8 * 1024;

/// Header styles of one endpoint, `standard` included.
pub const HEADER_STYLES_MAX: usize = 8;
/// Length of the prefix of a project's, or an endpoint's own, signature headers.
pub const SIGNATURE_PREFIX_CHARACTERS_MAX: usize = 64;

/// Length of a secret's text (contract v1).
pub const SECRET_CHARACTERS_MIN: usize = 16;
/// Length of a secret's text (contract v1).
pub const SECRET_CHARACTERS_MAX: usize = 255;
/// Key bytes of a `whsec_` secret (Standard Webhooks 1.0.0).
pub const WHSEC_BYTES_MIN: usize = 24;
/// Key bytes of a `whsec_` secret (Standard Webhooks 1.0.0).
pub const WHSEC_BYTES_MAX: usize = 64;
/// Secrets that sign at once; a rotation beyond it drops the oldest.
pub const SECRETS_VALID_MAX: usize = 10;
/// Default overlap of a rotation (contract v1).
pub const ROTATION_GRACE_SECONDS: u32 = 86_400;
/// Longest overlap of a rotation.
pub const ROTATION_GRACE_SECONDS_MAX: u32 = 604_800;

/// Waits in a retry schedule (contract v1).
pub const SCHEDULE_WAITS_MAX: usize = 64;
/// Longest wait of a retry schedule (contract v1).
pub const SCHEDULE_WAIT_SECONDS_MAX: u32 = 604_800;
/// Retries of an endpoint made through the subscriptions contract, one each hour.
pub const HOURLY_RETRIES: usize = 48;
/// Upward jitter of a wait (security rules: to 20 %).
pub const JITTER_PERCENT: u64 = 20;
/// The most that a `Retry-After` can delay an attempt.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3600);
/// The wait before an attempt is repeated that failed for a reason of ours and cost no place in the schedule. It doubles
/// with each such attempt before it.
pub const OWN_FAULT_WAIT: Duration = Duration::from_secs(1);
/// The longest of these waits, which a delivery may have for as long as its payload is kept.
pub const OWN_FAULT_WAIT_MAX: Duration = Duration::from_secs(5 * 60);

/// Failures in a row that open an endpoint's breaker (security rules, "Failure policy"; so are the next ones).
pub const BREAKER_FAILURES: u32 = 10;
/// The wait before the first probe of an endpoint whose breaker opened.
pub const BREAKER_WAIT_SECONDS: u32 = 30;
/// The most that doubling makes of it.
pub const BREAKER_WAIT_SECONDS_MAX: u32 = 600;
/// The least wait of an endpoint that asks for a pause.
pub const THROTTLE_WAIT_SECONDS: u32 = 1;
/// The most that doubling makes of it; a `Retry-After` may ask for more.
pub const THROTTLE_WAIT_SECONDS_MAX: u32 = 60;
/// The most that jitter adds to it.
pub const THROTTLE_JITTER_SECONDS_MAX: u64 = 60;
/// In flight at once to an endpoint that has come back before it counts as any other.
pub const RAMP_FULL: u32 = 64;
/// How long an endpoint may fail without one success before it is disabled, by default.
pub const DISABLE_AFTER_DAYS: u32 = 5;
/// Without any attempt for so long, the time that an endpoint has failed starts anew.
pub const FAILING_ANEW_AFTER: Duration = Duration::from_secs(48 * 3600);

/// Deadline of one exchange by default (contracts v1 and organization).
pub const TIMEOUT_SECONDS: u16 = 10;
/// Deadline of one exchange by default elsewhere (contract v1).
pub const TIMEOUT_SECONDS_LONG: u16 = 20;
/// Longest deadline of one exchange (contract v1).
pub const TIMEOUT_SECONDS_MAX: u16 = 60;
/// Share of the deadline that connecting (DNS, TCP and TLS) may use, in seconds.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Kept of a receiver's body where the attempt failed or was a test (contract v1).
pub const ANSWER_BYTES_FAILED_MAX: usize = 16 * 1024;
/// Kept of a receiver's body where the attempt succeeded (contract v1).
pub const ANSWER_BYTES_SUCCEEDED_MAX: usize = 1024;
/// Kept of a receiver's header lines, names and values together.
pub const ANSWER_HEADER_BYTES_MAX: usize = 4 * 1024;

/// Endpoints of a tenant by default (contract v1).
pub const ENDPOINTS_PER_TENANT_MAX: u32 = 50;
/// Endpoints of a tenant with which the organization contract makes one more, by default.
pub const ORGANIZATION_ENDPOINTS_MAX: u32 = 10;
/// Endpoints, or event types, in an answer of a contract whose lists have no pages.
pub const WHOLE_LIST_ITEMS_MAX: u32 = 10_000;
/// Sends in flight to one endpoint.
pub const IN_FLIGHT_PER_ENDPOINT_MAX: usize = 16;
/// The most sends in flight that an owner may set for an endpoint; the bound of all together stays above it.
pub const IN_FLIGHT_SET_BY_OWNER_MAX: u16 = 1_000;
/// The most sends in a second that an owner may limit an endpoint to.
pub const RATE_LIMIT_SET_BY_OWNER_MAX: u16 = 10_000;
/// Deliveries that may wait for an endpoint that is made ordered: all of them get their places in the order at that moment.
pub const UNORDERED_MAX: u32 = 10_000;
/// Sends in flight altogether by default.
pub const IN_FLIGHT_MAX: usize = 512;

/// Days that payloads, finished deliveries and attempts are kept by default (contract v1).
pub const KEPT_DAYS: u32 = 30;

/// Items of a list page by default (contract v1).
pub const PAGE_ITEMS: u32 = 50;
/// Items of a list page at most (contract v1).
pub const PAGE_ITEMS_MAX: u32 = 250;
/// Items of a list page by default (contract apps).
pub const APPS_PAGE_ITEMS: u32 = 20;
/// Items of a list page at most (contract apps).
pub const APPS_PAGE_ITEMS_MAX: u32 = 100;

/// Endpoints are dealt into this many fixed groups, each owned by one node at a time.
pub const SHARDS: u16 = 256;
/// Deliveries that the accepting transaction writes itself; a durable row lets the rest follow.
pub const FANOUT_INLINE_MAX: usize = 1_000;

/// Deliveries that a slice of a replay looks at.
pub const REPLAY_SLICE_ROWS: u32 = 200;
/// Deliveries that are due at an endpoint, and wait for it, before a replay waits, too: what is published meanwhile comes
/// behind no more than these.
pub const REPLAY_DUE_MAX: u32 = 1_000;
/// Replayed deliveries of one endpoint that are unfinished, those that failed and wait for their next attempt among them,
/// before a replay waits.
pub const REPLAY_UNFINISHED_MAX: u32 = 10_000;
/// Replays of one endpoint that have not ended.
pub const REPLAYS_PER_ENDPOINT_MAX: u32 = 10;
/// Deliveries and events of each kind that are counted when a replay starts; of more there is no total.
pub const REPLAY_TOTAL_MAX: u32 = 100_000;
/// Deliveries and events that a dry run looks at.
pub const REPLAY_DRY_RUN_ROWS_MAX: u32 = 1_000_000;

/// Values that one step of a rotation of master keys seals anew, so that no change waits long behind it.
pub const RESEALED_ROWS_MAX: u32 = 200;

/// Notices that are published together.
pub const NOTICES_AT_ONCE: u32 = 50;

/// Buckets of an hour that one answer of statistics shows: a month, and the hour that it ends in.
pub const STATS_HOURS_MAX: u32 = 31 * 24 + 1;
/// Buckets of a day that one answer of statistics shows: a year.
pub const STATS_DAYS_MAX: u32 = 366;
