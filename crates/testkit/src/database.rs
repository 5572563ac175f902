//! A database of a test's own, on the engine that the run is about.
//!
//! `STENTOR_TEST_DATABASE` says which: `sqlite` (the default) is a file in a temporary folder, `postgres` a database on the
//! server that `STENTOR_TEST_POSTGRES` names. What a test asks here is asked from outside, beside the store: on a connection
//! of its own, and without waiting for the test's own tasks, so that it can be asked in the middle of anything.

mod server;

use self::server::OwnDatabase;
use std::path::{Path, PathBuf};
use stentor_store::{Database, PostgresAddress};
use tempfile::TempDir;

/// Says which engine a run is about.
const ENGINE: &str = "STENTOR_TEST_DATABASE";
/// Files here are in memory.
const MEMORY: &str = "/dev/shm";

/// A database that is nobody else's, and goes when this is dropped.
#[derive(Debug)]
pub struct TestDatabase(Engine);

#[derive(Debug)]
enum Engine {
    Sqlite(TempDir),
    Postgres(OwnDatabase),
}

/// Where a test's database is, for those who spell it themselves.
#[derive(Debug)]
pub enum Place<'a> {
    /// In this file.
    File(PathBuf),
    /// On a PostgreSQL server, at this URL.
    Url(&'a str),
}

impl Default for TestDatabase {
    fn default() -> Self {
        Self::new()
    }
}

impl TestDatabase {
    /// An empty database, on the engine that the run is about. On PostgreSQL it has its tables already.
    pub fn new() -> Self {
        Self(match std::env::var(ENGINE).as_deref() {
            Err(_) | Ok("sqlite") => Engine::Sqlite(tempfile::tempdir().expect("a folder")),
            Ok("postgres") => Engine::Postgres(OwnDatabase::create()),
            Ok(other) => panic!("{ENGINE} is sqlite or postgres, not {other}"),
        })
    }

    /// The same, where a file need not outlive the machine: in memory, if that has a folder for it. Such a file is as good for
    /// processes that die, and many times as fast.
    pub fn in_memory() -> Self {
        let database = Self::new();
        match (&database.0, tempfile::tempdir_in(MEMORY)) {
            (Engine::Sqlite(_), Ok(folder)) => Self(Engine::Sqlite(folder)),
            _ => database,
        }
    }

    /// Is the run about PostgreSQL?
    pub fn engine_is_postgres() -> bool {
        std::env::var(ENGINE).as_deref() == Ok("postgres")
    }

    /// Where it is.
    pub fn place(&self) -> Place<'_> {
        match &self.0 {
            Engine::Sqlite(folder) => Place::File(folder.path().join("stentor.db")),
            Engine::Postgres(own) => Place::Url(own.url()),
        }
    }

    /// Where it is, as a store takes it.
    pub fn location(&self) -> Database {
        match self.place() {
            Place::File(path) => Database::File(path),
            Place::Url(url) => Database::Postgres(PostgresAddress::parse(url).expect("a URL")),
        }
    }

    /// The file, for a test of the file itself. Such tests are in modules named `sqlite`, which a run about PostgreSQL leaves
    /// out.
    #[track_caller]
    pub fn file(&self) -> PathBuf {
        match self.place() {
            Place::File(path) => path,
            Place::Url(_) => panic!("a test of the file itself belongs into a module named `sqlite`"),
        }
    }

    /// Answers a question in one number.
    pub fn number(&self, question: &str) -> i64 {
        match &self.0 {
            Engine::Sqlite(_) => sqlite(&self.file())
                .query_row(question, [], |row| row.get(0))
                .expect("a number"),
            Engine::Postgres(own) => {
                let [text] = own.texts(question).try_into().expect("one row");
                text.parse().expect("a number")
            }
        }
    }

    /// Answers a question in texts, one of each row.
    pub fn texts(&self, question: &str) -> Vec<String> {
        match &self.0 {
            Engine::Sqlite(_) => {
                let connection = sqlite(&self.file());
                let mut statement = connection.prepare(question).expect("a question");
                let rows = statement.query_map([], |row| row.get(0)).expect("rows");
                rows.map(|text| text.expect("a text")).collect()
            }
            Engine::Postgres(own) => own.texts(question),
        }
    }

    /// Changes what is stored behind the store's back: statements that both engines understand, all of them or none.
    pub fn execute(&self, statements: &str) {
        match &self.0 {
            Engine::Sqlite(_) => sqlite(&self.file())
                .execute_batch(&format!("BEGIN IMMEDIATE; {statements}; COMMIT"))
                .expect("the statements are understood"),
            Engine::Postgres(own) => own.execute(statements),
        }
    }

    /// From now on `table` takes no further rows, as if the disk were full.
    pub fn refuse_rows(&self, table: &str) {
        self.execute(&match &self.0 {
            Engine::Sqlite(_) => format!(
                "CREATE TRIGGER refuses_{table} BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'full'); END"
            ),
            Engine::Postgres(_) => {
                format!("ALTER TABLE {table} ADD CONSTRAINT refuses_{table} CHECK (false) NOT VALID")
            }
        });
    }

    /// Ends what [`refuse_rows`](Self::refuse_rows) began.
    pub fn take_rows(&self, table: &str) {
        self.execute(&match &self.0 {
            Engine::Sqlite(_) => format!("DROP TRIGGER refuses_{table}"),
            Engine::Postgres(_) => format!("ALTER TABLE {table} DROP CONSTRAINT refuses_{table}"),
        });
    }

    /// Everything that is stored, to search for what must not be there: the bytes of the files, or every row as text.
    pub fn bytes(&self) -> Vec<u8> {
        match &self.0 {
            Engine::Sqlite(folder) => std::fs::read_dir(folder.path())
                .expect("the folder is there")
                .flat_map(|file| std::fs::read(file.expect("a file").path()).expect("it is readable"))
                .collect(),
            Engine::Postgres(own) => own.rows_of_all_tables().into_bytes(),
        }
    }
}

fn sqlite(path: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(path).expect("the database opens")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_changed_is_found() {
        let database = TestDatabase::new();
        database
            .execute("CREATE TABLE heard (word TEXT, said BYTEA); INSERT INTO heard VALUES ('one', NULL)");
        database.execute("INSERT INTO heard VALUES ('two', 'a canary')");
        assert_eq!(database.number("SELECT count(*) FROM heard"), 2);
        assert_eq!(
            database.texts("SELECT word FROM heard ORDER BY word DESC"),
            ["two", "one"]
        );
        let bytes = database.bytes();
        assert!(bytes.windows(8).any(|part| part == b"a canary"));
    }

    #[tokio::test]
    async fn every_test_has_a_database_of_its_own_in_the_middle_of_anything() {
        let (one, other) = (TestDatabase::new(), TestDatabase::new());
        one.execute("CREATE TABLE only_here (n BIGINT)");
        other.execute("CREATE TABLE only_here (n BIGINT); INSERT INTO only_here VALUES (1)");
        assert_eq!(one.number("SELECT count(*) FROM only_here"), 0);
    }

    #[test]
    fn the_location_can_be_migrated() {
        let database = TestDatabase::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let migrated = runtime
            .unwrap()
            .block_on(stentor_store::migrate(&database.location()));
        assert!(migrated.unwrap().end > 0);
        assert_eq!(database.number("SELECT count(*) FROM events"), 0);
    }
}
