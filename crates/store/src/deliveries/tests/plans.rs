//! How lists are found: each way in reads the rows that are asked for and no others; `work` is read by its key alone, and
//! of the attempts kept apart only the newest of each delivery that is shown.

mod sqlite {
    use super::super::world::World;
    use crate::deliveries::list;

    const LISTED: &str = "SEARCH l USING PRIMARY KEY (endpoint=? AND n>? AND n<?)\nSEARCH p USING INTEGER PRIMARY KEY (rowid=?)";
    const ABOVE: &str = "SEARCH p USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)";
    const NEWEST_ATTEMPT: &str = "SEARCH a USING PRIMARY KEY (delivery=?)";

    #[tokio::test]
    async fn lists_are_found_through_their_indexes() {
        let world = World::new().await;
        let connection = rusqlite::Connection::open(world.database.file()).unwrap();
        let plan = |sql: &str| -> String {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let rows = statement.query_map([rusqlite::types::Null; 14], |row| row.get::<_, String>(3));
            rows.unwrap().map(Result::unwrap).collect::<Vec<_>>().join("\n")
        };
        for (sql, steps) in [
            (list::OF_ENDPOINT.sqlite, &[LISTED, ABOVE][..]),
            (
                list::OF_EVENT,
                &["SEARCH p USING INDEX deliveries_of_event (event=? AND rowid>? AND rowid<?)"],
            ),
            (
                list::OF_TENANT.sqlite,
                &[
                    "SEARCH o USING COVERING INDEX endpoints_number (tenant=?)",
                    "SEARCH q USING INTEGER PRIMARY KEY (rowid=?)",
                    LISTED,
                    ABOVE,
                ],
            ),
            (
                list::OF_PROJECT,
                &["SEARCH p USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"],
            ),
            (
                list::UNFINISHED,
                &["SEARCH w USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"],
            ),
        ] {
            let plan = plan(sql);
            for step in steps.iter().chain([&NEWEST_ATTEMPT]) {
                assert!(plan.contains(step), "{step}\nis not in\n{plan}");
            }
            // What was found in two ways is a page of its own.
            let scans = plan.lines().filter(|line| line.starts_with("SCAN"));
            assert!(
                scans.clone().all(|line| line.starts_with("SCAN (subquery")),
                "{plan}"
            );
            assert!(!plan.contains("TEMP B-TREE"), "{plan}");
        }
    }
}

mod postgres_only {
    use crate::deliveries::list;
    use crate::postgres::CONTROL_SETTINGS;
    use stentor_testkit::TestDatabase;

    /// 20 endpoints of two tenants with 1,000 finished and 200 unfinished deliveries each, each of these with two attempts.
    const FILL: &str = "INSERT INTO tenants (n, tag, project, name, created_at, updated_at, config_version)
             VALUES (11, 11, 1, 't', 0, 0, 1), (12, 12, 1, 't', 0, 0, 1);
         INSERT INTO endpoints (n, tag, tenant, project, number, shard, name, url, events, timeout_seconds,
                                 retry_schedule, created_at, updated_at, config_version)
             SELECT n, n, 11 + n % 2, 1, n, 3, 'e', 'http://127.0.0.1:1/', '*', 10, '5', 0, 0, 1
             FROM generate_series(1000, 1019) AS n;
         INSERT INTO events (n, tag, tenant, type, payload, deliveries)
             SELECT n, n, 11 + n % 2, 'order.paid', '1', 1 FROM generate_series(1, 24000) AS n;
         INSERT INTO work (n, tag, event, endpoint, tenant, shard, attempt, due_at, cause)
             SELECT n, n, n, 1000 + n % 20, 11 + n % 2, 3, 3, 5, 'event' FROM generate_series(1, 4000) AS n;
         INSERT INTO deliveries (n, tag, event, endpoint, tenant, state, cause, attempts, finished_at, started_at, status)
             SELECT n, n, n, 1000 + n % 20, 11 + n % 2, 'delivered', 'event', 3, 5, 5, 200
             FROM generate_series(4001, 24000) AS n;
         INSERT INTO attempts (delivery, no, started_at, cause, status, micros, exchange)
             SELECT n, no, no, 'event', 500, 1, '' FROM generate_series(1, 24000) AS n, generate_series(1, 2) AS no;
         ANALYZE";
    const TYPES: &str =
        "bigint, bigint, bigint, bigint, bigint, bigint, text, text, text, text, text, text, bigint, bigint";

    #[test]
    fn lists_are_found_through_their_indexes() {
        let database = TestDatabase::new();
        database.execute(FILL);
        let any = "NULL, 'pending', 'held', 'delivered', 'exhausted', 'cancelled', 1, 21";
        let plan = |sql: &str, asked: &str| {
            let sql = sql.replace('?', "$");
            let asked = format!("{}, 0, {asked}, {any}", i64::MAX);
            let explained = database.texts(&format!(
                "{CONTROL_SETTINGS}; PREPARE page ({TYPES}) AS {sql};
                 EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) EXECUTE page ({asked})"
            ));
            explained.join("\n")
        };
        for (sql, asked, steps) in [
            (
                list::OF_ENDPOINT.postgres,
                "NULL, NULL, 1007, NULL",
                &["_endpoint_n_idx on deliveries_default p (actual rows=21 loops=1)"][..],
            ),
            (
                list::OF_EVENT,
                "NULL, NULL, NULL, 5007",
                &["_event_idx on deliveries_default p (actual rows=1 loops=1)"],
            ),
            (
                list::OF_TENANT.postgres,
                "11, NULL, NULL, NULL",
                &[
                    "Index Scan using endpoints_number on endpoints o",
                    "_endpoint_n_idx on deliveries_default p (actual rows=21 loops=10)",
                ],
            ),
            (
                list::OF_PROJECT,
                "NULL, 1, NULL, NULL",
                &["_pkey on deliveries_default p (actual rows=21 loops=1)"],
            ),
            (
                list::UNFINISHED,
                "NULL, NULL, NULL, NULL",
                &[
                    "work_pkey on work w (actual rows=21 loops=1)",
                    "attempts_pkey on attempts a (actual rows=1 loops=21)",
                ],
            ),
        ] {
            let plan = plan(sql, asked);
            for step in steps.iter().chain([&"attempts_pkey on attempts a"]) {
                assert!(plan.contains(step), "{step}\nis not in\n{plan}");
            }
            assert!(!plan.contains("Seq Scan"), "{plan}");
        }
    }
}
