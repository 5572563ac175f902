//! How what an owner has is found: a tenant's events, an endpoint's finished deliveries. On PostgreSQL by an index that begins with
//! the owner; on SQLite by a list that follows the table (`sqlite::lists` has its states), and above it by the table itself.

/// The keys of an owner's rows on SQLite: `$owner` is 1, and they are above 2 and below 3. `$few` says how many are wanted. What a
/// purge has taken may still be listed, below what is [`kept`].
macro_rules! of_owner {
    ($table:literal, $owner:literal, $few:literal) => {
        $crate::of_owner::of_owner!($table, $owner, "?2", $few)
    };
    ($table:literal, $owner:literal, $listed_after:expr, $few:literal) => {
        concat!(
            "SELECT n FROM (SELECT n FROM listed_",
            $table,
            " WHERE ",
            $owner,
            " = ?1 AND n > ",
            $listed_after,
            " AND n < ?3 ",
            $few,
            ") UNION ALL SELECT n FROM (SELECT n FROM ",
            $table,
            " WHERE n >= ",
            $crate::of_owner::unlisted!($table, "?2 + 1"),
            " AND n < ?3 AND ",
            $owner,
            " = ?1 ",
            $few,
            ")"
        )
    };
}
pub(crate) use of_owner;

/// From which key on to look into the table itself: from `$from`, and above what its lists have.
macro_rules! unlisted {
    ($table:literal, $from:literal) => {
        concat!(
            "max(",
            $from,
            ", (SELECT ",
            $table,
            " + 1 FROM listed WHERE one = 1))"
        )
    };
}
pub(crate) use unlisted;

/// After which keys of a list to begin where each has to have its row: after 2, and below nothing that is kept.
macro_rules! kept {
    ("events") => {
        "max(?2, (SELECT min(payloads_below, deliveries_below) FROM retention WHERE one = 1) - 1)"
    };
    ("deliveries") => {
        "max(?2, (SELECT deliveries_below FROM retention WHERE one = 1) - 1)"
    };
}
pub(crate) use kept;
