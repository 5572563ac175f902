//! How replays find what they look at: each step reads what is asked for and no others' rows, whatever waits for whom.

mod sqlite {
    use crate::replays::{look, rows, slice};
    use crate::{Database, migrate};
    use stentor_testkit::TestDatabase;

    const LISTED_DELIVERIES: &str = "SEARCH listed_deliveries USING PRIMARY KEY (endpoint=? AND n>? AND n<?)";
    const DELIVERIES_ABOVE: &str = "SEARCH deliveries USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)";
    const LISTED_EVENTS: &str = "SEARCH listed_events USING PRIMARY KEY (tenant=? AND n>? AND n<?)";
    const EVENTS_ABOVE: &str = "SEARCH events USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)";

    #[tokio::test]
    async fn everything_is_found_through_indexes() {
        let database = TestDatabase::new();
        migrate(&Database::File(database.file())).await.unwrap();
        let connection = rusqlite::Connection::open(database.file()).unwrap();
        let plan = |sql: &str| -> String {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let values = vec![rusqlite::types::Null; statement.parameter_count()];
            let rows = statement.query_map(rusqlite::params_from_iter(values), |row| row.get::<_, String>(3));
            rows.unwrap().map(Result::unwrap).collect::<Vec<_>>().join("\n")
        };
        for (sql, steps) in [
            (
                look::DUE,
                &["INDEX work_waiting (shard=? AND endpoint=? AND due_at<?)"][..],
            ),
            (
                look::UNFINISHED,
                &["COVERING INDEX work_replayed (endpoint=? AND replay>?)"],
            ),
            (
                look::COUNT_FINISHED.sqlite,
                &[LISTED_DELIVERIES, DELIVERIES_ABOVE],
            ),
            (look::COUNT_EVENTS.sqlite, &[LISTED_EVENTS, EVENTS_ABOVE]),
            (
                look::COUNT_WAITING,
                &["INDEX work_waiting (shard=? AND endpoint=?)"],
            ),
            (
                look::FINISHED.sqlite,
                &[
                    "SEARCH d USING INTEGER PRIMARY KEY (rowid=?)",
                    LISTED_DELIVERIES,
                    DELIVERIES_ABOVE,
                ],
            ),
            (
                look::CANDIDATES.sqlite,
                &[
                    "SEARCH v USING INTEGER PRIMARY KEY (rowid=?)",
                    LISTED_EVENTS,
                    EVENTS_ABOVE,
                    "SEARCH d USING INDEX deliveries_of_event (event=? AND rowid>?)",
                    "SEARCH w USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
                    "SEARCH w USING INDEX work_late (event=?)",
                ],
            ),
            (slice::BROUGHT, &["INDEX work_replayed (endpoint=? AND replay=?)"]),
            (
                slice::REOPEN.sqlite,
                &[
                    "SEARCH d USING INTEGER PRIMARY KEY (rowid=?)",
                    LISTED_DELIVERIES,
                    DELIVERIES_ABOVE,
                ],
            ),
            (
                rows::OF_TENANT,
                &["SEARCH j USING INDEX jobs_of_tenant (tenant=? AND n<?)"],
            ),
            (
                rows::OF_PROJECT,
                &["SEARCH j USING INDEX jobs_of_project (project=? AND n<?)"],
            ),
            (
                rows::TO_DO,
                &[
                    "SEARCH j USING INDEX jobs_to_do (kind=?)",
                    "SEARCH o USING INDEX jobs_to_do_of_endpoint (endpoint=? AND n<?)",
                ],
            ),
        ] {
            let plan = plan(sql);
            for step in steps {
                assert!(plan.contains(step), "{step}\nis not in\n{plan}");
            }
            // What is counted, or numbered, is a table of its own, of rows that were found.
            let found = |line: &str| {
                ["SCAN counted", "SCAN (subquery"]
                    .iter()
                    .any(|scan| line.starts_with(scan))
            };
            let scans = plan.lines().filter(|line| line.starts_with("SCAN"));
            assert!(scans.clone().all(found), "{plan}");
        }
    }
}

mod postgres_only {
    use crate::postgres::CONTROL_SETTINGS;
    use crate::replays::{look, slice};
    use stentor_testkit::TestDatabase;

    /// 20 endpoints of two tenants; 20,000 events, of which each has a delivery: the first 4,000 unfinished, 400 of these brought
    /// by a replay; of all 400 unfinished ones of an endpoint one was made long after its event.
    const FILL: &str = "INSERT INTO tenants (n, tag, project, name, created_at, updated_at, config_version)
             VALUES (11, 11, 1, 't', 0, 0, 1), (12, 12, 1, 't', 0, 0, 1);
         INSERT INTO endpoints (n, tag, tenant, project, number, shard, name, url, events, timeout_seconds,
                                 retry_schedule, created_at, updated_at, config_version)
             SELECT n, n, 11 + n % 2, 1, n, 3, 'e', 'http://127.0.0.1:1/', '*', 10, '5', 0, 0, 1
             FROM generate_series(1000, 1019) AS n;
         INSERT INTO events (n, tag, tenant, type, payload, deliveries)
             SELECT n * 1000000000, n, 11 + n % 2, 'order.paid', '1', 1 FROM generate_series(1::bigint, 20000) AS n;
         INSERT INTO work (n, tag, event, endpoint, tenant, shard, attempt, due_at, cause, replay)
             SELECT n * 1000000000 + CASE WHEN n % 200 = 7 THEN 200000000 ELSE 1 END, n, n * 1000000000, 1000 + n % 20,
                    11 + n % 2, 3, 3, 5, 'event', CASE WHEN n % 10 = 7 THEN 77 END FROM generate_series(1::bigint, 4000) AS n;
         INSERT INTO deliveries (n, tag, event, endpoint, tenant, state, cause, attempts, finished_at, started_at, status)
             SELECT n * 1000000000 + 1, n, n * 1000000000, 1000 + n % 20, 11 + n % 2, 'delivered', 'event', 3, 5, 5, 200
             FROM generate_series(4001::bigint, 20000) AS n;
         ANALYZE";

    #[test]
    fn everything_is_found_through_indexes() {
        let database = TestDatabase::new();
        database.execute(FILL);
        let plan = |sql: &str, types: &str, asked: &str| {
            let sql = sql.replace('?', "$");
            let explained = database.texts(&format!(
                "{CONTROL_SETTINGS}; PREPARE step ({types}) AS {sql};
                 EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) EXECUTE step ({asked})"
            ));
            explained.join("\n")
        };
        let (all, narrow) = (i64::MAX, 6_000_000_000_000_i64);
        let numbers = "bigint, bigint, bigint, bigint, bigint";
        for (sql, types, asked, steps) in [
            (
                look::DUE,
                "bigint, bigint, bigint, bigint",
                "3, 1007, 5, 100".to_owned(),
                &["using work_waiting on work (actual rows=100 loops=1)"][..],
            ),
            (
                look::UNFINISHED,
                "bigint, bigint",
                "1007, 100".to_owned(),
                &["using work_replayed on work (actual rows=100 loops=1)"],
            ),
            (
                look::COUNT_FINISHED.postgres,
                "bigint, bigint, bigint, bigint",
                format!("1007, 0, {all}, 100"),
                &["_endpoint_n_idx on deliveries_default deliveries (actual rows=100 loops=1)"],
            ),
            (
                look::COUNT_WAITING,
                "bigint, bigint, bigint, bigint, text, bigint",
                format!("3, 1007, 0, {all}, NULL, 100"),
                &["using work_waiting on work (actual rows=100 loops=1)"],
            ),
            (
                look::FINISHED.postgres,
                "bigint, bigint, bigint, text, text, bigint",
                format!("1007, 0, {all}, NULL, NULL, 50"),
                &["_endpoint_n_idx on deliveries_default d (actual rows=50 loops=1)"],
            ),
            (
                look::CANDIDATES.postgres,
                numbers,
                format!("12, 0, {all}, 1007, 100"),
                &[
                    "_tenant_n_idx on events_default v (actual rows=100 loops=1)",
                    "using work_pkey on work w (actual rows=0 loops=100)",
                    "using work_late on work w",
                ],
            ),
            (
                slice::REOPEN.postgres,
                "bigint, bigint, bigint, text, text, bigint, bigint, text, bigint, bigint",
                format!("1007, 0, {narrow}, NULL, NULL, 3, 5, 'replay', 78, 500"),
                &["_endpoint_n_idx on deliveries_default d (actual rows=100 loops=1)"],
            ),
            (
                slice::KEEP_ATTEMPTS.postgres,
                "bigint, bigint, bigint",
                format!("1007, 0, {narrow}"),
                &["_endpoint_n_idx on deliveries_default d"],
            ),
            (
                slice::LEAVE.postgres,
                "bigint, bigint, bigint",
                format!("1007, 0, {narrow}"),
                &["_endpoint_n_idx on deliveries_default"],
            ),
            (
                slice::BROUGHT_AND_HELD,
                "bigint, bigint, bigint",
                "1007, 77, 20".to_owned(),
                &["using work_replayed on work (actual rows=20 loops=1)"],
            ),
        ] {
            let plan = plan(sql, types, &asked);
            for step in steps {
                assert!(plan.contains(step), "{step}\nis not in\n{plan}");
            }
            assert!(!plan.contains("Seq Scan"), "{plan}");
        }
    }
}
