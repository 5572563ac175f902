//! `stentor backup`: copies the database, while a server runs too.

use std::io::Write as _;

use stentor_store::Database;

use crate::cli::BackupOptions;
use crate::config::StoreConfig;
use crate::failure::Failure;

/// Copies the database, as it is at one moment, into a new file.
pub(crate) async fn run(options: BackupOptions, config: StoreConfig) -> Result<(), Failure> {
    let Database::File(path) = &config.database else {
        return Err(Failure::Failed(
            "the database is a PostgreSQL server's; back it up with its own tools, such as pg_dump"
                .to_owned(),
        ));
    };
    if !path.exists() {
        let database = path.display();
        return Err(Failure::Failed(format!(
            "there is no database at {database}; name its folder with --data"
        )));
    }
    stentor_store::back_up_file(path, &options.file).map_err(|error| Failure::Failed(error.to_string()))?;
    let told = format!(
        "Copied the database to {}. The master key is not in it: keep a copy of that apart.",
        options.file.display()
    );
    let _ = writeln!(std::io::stdout(), "{told}");
    Ok(())
}
