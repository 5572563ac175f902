//! The data folder: the database, and the master key where none is configured.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use stentor_domain::Chance;
use stentor_store::{MasterKeys, is_sealed};

use crate::config::{MasterKey, StoreConfig};
use crate::failure::Failure;

/// Holds the master key that was made because none was configured.
const MASTER_KEY_FILE: &str = "master.key";
const ONLY_OWNER: u32 = 0o600;
const ONLY_OWNER_FOLDER: u32 = 0o700;
/// More than any list of keys has.
const MASTER_KEY_FILE_BYTES_MAX: u64 = 4 * 1024;

/// Makes the data folder where there is none, readable by its owner only.
pub(crate) fn make(config: &StoreConfig) -> Result<(), Failure> {
    let made = DirBuilder::new()
        .recursive(true)
        .mode(ONLY_OWNER_FOLDER)
        .create(&config.data);
    made.map_err(|error| {
        let folder = config.data.display();
        Failure::Failed(format!(
            "the data folder {folder} cannot be made: {error}; choose another with --data"
        ))
    })
}

/// The master keys: those that were configured, else the one in the data folder, which is made where there is none and
/// nothing was sealed yet. A database without the key that it was sealed with is refused: with another its secrets are lost.
pub(crate) async fn master_keys(config: &StoreConfig, chance: &dyn Chance) -> Result<MasterKeys, Failure> {
    if let Some((current, earlier)) = config.master_keys.split_first() {
        return Ok(as_keys(current, earlier));
    }
    let path = config.data.join(MASTER_KEY_FILE);
    let text = match read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let sealed = is_sealed(&config.database).await;
            if sealed.map_err(|error| Failure::Failed(error.to_string()))? {
                let why = "it is missing, and the database was made with it; restore it from the backup, \
                           or set STENTOR_MASTER_KEY";
                return Err(broken(&path, why));
            }
            make_key(&path, chance).map_err(|error| broken(&path, &error.to_string()))?
        }
        Err(error) => return Err(broken(&path, &error.to_string())),
    };
    let keys = MasterKey::parse_list(text.trim()).map_err(|rule| broken(&path, &rule))?;
    match keys.split_first() {
        Some((current, earlier)) => Ok(as_keys(current, earlier)),
        None => Err(broken(&path, "it is empty")),
    }
}

fn as_keys(current: &MasterKey, earlier: &[MasterKey]) -> MasterKeys {
    let key = |key: &MasterKey| stentor_store::MasterKey::new(*key.expose());
    MasterKeys::new(key(current), earlier.iter().map(key).collect())
}

fn read(path: &Path) -> std::io::Result<String> {
    let file = File::open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "others may read the master key; set its mode to 0600");
    }
    let mut text = String::new();
    file.take(MASTER_KEY_FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// Draws a key and makes sure that it is on disk before anything is sealed with it.
fn make_key(path: &Path, chance: &dyn Chance) -> std::io::Result<String> {
    let mut key = [0; 32];
    chance.fill(&mut key);
    let text = STANDARD.encode(key);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(ONLY_OWNER)
        .open(path)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    tracing::info!(path = %path.display(), "made a master key; keep a copy of it apart from the database's backups");
    Ok(text)
}

fn broken(path: &Path, why: &str) -> Failure {
    Failure::Failed(format!("the master key {} cannot be used: {why}", path.display()))
}
