//! The PostgreSQL server of a run, and a test's own database on it.
//!
//! The schema is made once, in a template; a test gets a copy of that, which costs some 20 ms and is dropped at the test's
//! end. What a killed test leaves goes with the server, which lives no longer than a run.

use std::hash::{DefaultHasher, Hasher as _};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use stentor_store::{Database, PostgresAddress};
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

/// Names the server: the URL of somebody who may make databases there.
const SERVER: &str = "STENTOR_TEST_POSTGRES";
/// What a start of the server by hand looks like.
const HOW: &str = "run ./test, or start a server with `python3 tests/support/postgres.py start FOLDER` and export the URL that it prints";
/// Held by whoever makes the template. Any number that is always the same.
const TEMPLATE_LOCK: u32 = 57_475_001;
/// Nothing that is asked here takes long: a lock that is waited for longer is held by the test itself.
const SETTINGS: &str = "-c lock_timeout=60s -c statement_timeout=120s";
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Databases that this process has made.
static MADE: AtomicU32 = AtomicU32::new(0);

/// A database on the server of the run. Dropped with everything in it, whoever is still connected.
#[derive(Debug)]
pub(super) struct OwnDatabase {
    name: String,
    url: String,
}

impl OwnDatabase {
    /// A copy of the template, which is made first where it is not there yet.
    pub(super) fn create() -> Self {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("stentor_test_{}_{number}", std::process::id());
        apart(async || {
            let server = connect(&server_url()).await;
            let template = template(&server).await;
            // One of a process that was killed may have had the same number.
            run(&server, &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
            // Copying files is the quicker strategy for a server that waits for no disk.
            let create = format!("CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy");
            run(&server, &create).await;
        });
        let url = url_of(&name);
        Self { name, url }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The first column of what a question answers, which must not be NULL.
    pub(super) fn texts(&self, question: &str) -> Vec<String> {
        apart(async || texts(&connect(&self.url).await, question).await)
    }

    /// Runs statements in one transaction.
    pub(super) fn execute(&self, statements: &str) {
        apart(async || run(&connect(&self.url).await, statements).await);
    }

    /// Every row of every table, with bytes as the text that they may be.
    pub(super) fn rows_of_all_tables(&self) -> String {
        apart(async || {
            let client = connect(&self.url).await;
            run(&client, "SET bytea_output = 'escape'").await;
            let tables = "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
                          WHERE schemaname NOT IN ('pg_catalog', 'information_schema')";
            let mut rows = Vec::new();
            for table in texts(&client, tables).await {
                rows.extend(texts(&client, &format!("SELECT one::text FROM {table} AS one")).await);
            }
            rows.join("\n")
        })
    }
}

impl Drop for OwnDatabase {
    fn drop(&mut self) {
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        apart(async || {
            let server = connect(&server_url()).await;
            // A test that fails anyway shall tell of its own failure.
            if let Err(error) = server.batch_execute(&drop).await
                && !std::thread::panicking()
            {
                panic!("{drop}: {error:?}");
            }
        });
    }
}

/// Runs `work` on a thread with a runtime of its own, and waits: the thread that asks may be the only one of an asynchronous
/// test's runtime.
fn apart<T: Send>(work: impl AsyncFnOnce() -> T + Send) -> T {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(work())
    };
    std::thread::scope(|scope| scope.spawn(run).join())
        .unwrap_or_else(|failure| std::panic::resume_unwind(failure))
}

fn server_url() -> String {
    std::env::var(SERVER).unwrap_or_else(|_| panic!("{SERVER} names no PostgreSQL server: {HOW}"))
}

/// The URL of a database on the server of the run.
fn url_of(database: &str) -> String {
    let mut url =
        url::Url::parse(&server_url()).unwrap_or_else(|error| panic!("{SERVER} is no URL ({error}): {HOW}"));
    url.set_path(database);
    url.into()
}

async fn connect(url: &str) -> Client {
    let mut config: Config = url
        .parse()
        .unwrap_or_else(|error| panic!("{SERVER} is no URL of a database ({error}): {HOW}"));
    config.options(SETTINGS).connect_timeout(CONNECT_MAX);
    let (client, connection) = config
        .connect(NoTls)
        .await
        .unwrap_or_else(|error| panic!("the server that {SERVER} names cannot be reached ({error}): {HOW}"));
    // Ends with the client.
    tokio::spawn(connection);
    client
}

async fn run(client: &Client, statements: &str) {
    if let Err(error) = client.batch_execute(statements).await {
        panic!("{statements}: {error:?}");
    }
}

async fn texts(client: &Client, question: &str) -> Vec<String> {
    let answer = client
        .simple_query(question)
        .await
        .unwrap_or_else(|error| panic!("{question}: {error:?}"));
    let rows = answer.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0).expect("a text").to_owned()),
        _ => None,
    });
    rows.collect()
}

/// The name of the template. Made under a lock where it is not there yet, since every test runs in a process of its own; and
/// under another name until it is complete, since any of them may be killed.
async fn template(server: &Client) -> String {
    let name = format!("stentor_template_{:016x}", schema_hash());
    let there = format!("SELECT 1 FROM pg_database WHERE datname = '{name}'");
    if !texts(server, &there).await.is_empty() {
        return name;
    }
    run(server, &format!("SELECT pg_advisory_lock({TEMPLATE_LOCK})")).await;
    if texts(server, &there).await.is_empty() {
        let draft = format!("{name}_draft");
        run(server, &format!("DROP DATABASE IF EXISTS {draft} WITH (FORCE)")).await;
        run(server, &format!("CREATE DATABASE {draft}")).await;
        let address = PostgresAddress::parse(&url_of(&draft)).expect("a URL");
        let migrated = stentor_store::migrate(&Database::Postgres(address)).await;
        migrated.expect("the template gets its tables");
        run(server, &format!("ALTER DATABASE {draft} ALLOW_CONNECTIONS false")).await;
        run(server, &format!("ALTER DATABASE {draft} RENAME TO {name}")).await;
    }
    run(server, &format!("SELECT pg_advisory_unlock({TEMPLATE_LOCK})")).await;
    name
}

/// Tells one version of the schema from another.
fn schema_hash() -> u64 {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../store/migrations");
    let files = std::fs::read_dir(folder).expect("the migrations are there");
    let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        hasher.write(&std::fs::read(file).expect("a migration"));
    }
    hasher.finish()
}
