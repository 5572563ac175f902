//! Where the master keys come from: a variable, a file that was named, or the file in the data folder. A list of keys, the
//! one that shall seal first, commas between.
//!
//! A running server reads a file anew every second and takes what it says: so a rotation begins and ends without a restart
//! (its states are in `stentor_store::master_keys`). Only the file in the data folder is ever written, by `stentor master-key`,
//! one command at a time. It is replaced as a whole, and a new key is on disk before anybody may seal with it: whoever reads
//! a changed file writes it through to the disk first, so that not even a crash of the machine can take a key away that
//! something was sealed with.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use stentor_domain::Chance;
use stentor_store::{MasterKeyId, MasterKeys, Store, is_sealed};
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::config::{MasterKey, StoreConfig};
use crate::failure::Failure;

/// Holds the master keys where none are configured.
const FILE: &str = "master.key";
/// What is written before it takes the place of the other.
const FILE_BEFORE: &str = "master.key.new";
const ONLY_OWNER: u32 = 0o600;
/// More than any list of keys has.
const FILE_BYTES_MAX: u64 = 4 * 1024;
/// How often a running server reads the file.
const READ_EVERY: Duration = Duration::from_secs(1);

/// Where the master keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeySource {
    /// The variable: they stay as they are while the process lives.
    Variable,
    /// A file that the operator named and keeps.
    Named(PathBuf),
    /// The file in the data folder.
    Folder(PathBuf),
}

impl KeySource {
    pub(crate) fn of(config: &StoreConfig) -> Self {
        match &config.master_key_file {
            Some(path) => Self::Named(path.clone()),
            None if config.master_keys.is_empty() => Self::Folder(config.data.join(FILE)),
            None => Self::Variable,
        }
    }

    /// The file, where there is one.
    fn path(&self) -> Option<&Path> {
        match self {
            Self::Variable => None,
            Self::Named(path) | Self::Folder(path) => Some(path),
        }
    }

    /// Makes sure that the file in the data folder is on disk as it is read. One that the operator keeps may be where nobody
    /// else can make sure of anything.
    fn write_through(&self) -> io::Result<()> {
        match self {
            Self::Variable | Self::Named(_) => Ok(()),
            Self::Folder(path) => write_through(path),
        }
    }

    /// The keys as they are now, for a command that makes none.
    pub(crate) fn keys(&self, config: &StoreConfig) -> Result<Vec<MasterKey>, Failure> {
        match self {
            Self::Variable => Ok(config.master_keys.clone()),
            Self::Named(path) | Self::Folder(path) => read(path).map_err(|why| broken(path, &why)),
        }
    }
}

/// The master keys of a start: those that were configured, else those in the data folder, where one is made if there is none
/// and nothing was sealed yet. A database without the key that it was sealed with is refused: with another its secrets are
/// lost.
pub(crate) async fn master_keys(config: &StoreConfig, chance: &dyn Chance) -> Result<MasterKeys, Failure> {
    let source = KeySource::of(config);
    if let KeySource::Folder(path) = &source {
        if !path.exists() {
            let sealed = is_sealed(&config.database).await;
            if sealed.map_err(|error| Failure::Failed(error.to_string()))? {
                let why = "it is missing, and the database was made with it; restore it from the backup, \
                           or set STENTOR_MASTER_KEY";
                return Err(broken(path, why));
            }
            make_first(path, chance).map_err(|error| broken(path, &error.to_string()))?;
        }
        warn_of_others(path);
    }
    let written = source.write_through();
    written.map_err(|error| broken(source.path().unwrap_or(&config.data), &error.to_string()))?;
    for_store(&source.keys(config)?)
}

/// The same keys, as the store takes them.
fn for_store(keys: &[MasterKey]) -> Result<MasterKeys, Failure> {
    let mut keys = keys
        .iter()
        .map(|key| stentor_store::MasterKey::new(*key.expose()));
    let first = keys.next();
    let first = first.ok_or_else(|| Failure::Failed("the list of master keys is empty".to_owned()))?;
    Ok(MasterKeys::new(first, keys.collect()))
}

/// The names of keys, in their order.
pub(crate) fn ids(keys: &[MasterKey]) -> Vec<MasterKeyId> {
    let ids = keys.iter();
    ids.map(|key| stentor_store::MasterKey::new(*key.expose()).id())
        .collect()
}

fn read(path: &Path) -> Result<Vec<MasterKey>, String> {
    let mut text = Zeroizing::new(String::new());
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text))
        .map_err(|error| error.to_string())?;
    MasterKey::parse_list(text.trim())
}

fn warn_of_others(path: &Path) {
    if fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o077 != 0) {
        tracing::warn!(path = %path.display(), "others may read the master key; set its mode to 0600");
    }
}

/// Makes sure that a file is on disk as it is, under its name.
fn write_through(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()?;
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

/// Draws the first key and makes sure that it is on disk before anything is sealed with it.
fn make_first(path: &Path, chance: &dyn Chance) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(ONLY_OWNER)
        .open(path)?;
    writeln!(file, "{}", *list(&[draw(chance)]))?;
    write_through(path)?;
    tracing::info!(path = %path.display(), "made a master key; keep a copy of it apart from the database's backups");
    Ok(())
}

/// A new key.
pub(crate) fn draw(chance: &dyn Chance) -> MasterKey {
    let mut key = Zeroizing::new([0; 32]);
    chance.fill(&mut *key);
    MasterKey::new(*key)
}

fn list(keys: &[MasterKey]) -> Zeroizing<String> {
    let keys: Vec<_> = keys.iter().map(MasterKey::text).collect();
    let keys: Vec<&str> = keys.iter().map(|key| key.as_str()).collect();
    Zeroizing::new(keys.join(","))
}

/// The file in a data folder, which one command at a time may change: as long as this is held, no other one does.
#[derive(Debug)]
pub(crate) struct OwnFile {
    path: PathBuf,
    _lock: File,
}

impl OwnFile {
    /// Takes the right to change the file at `path`.
    pub(crate) fn take(path: &Path) -> Result<Self, Failure> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let lock = File::open(folder).map_err(|error| broken(path, &error.to_string()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(fs::TryLockError::WouldBlock) => Err(Failure::Failed(
                "another `stentor master-key` is at work in this data folder; wait for its end".to_owned(),
            )),
            Err(fs::TryLockError::Error(error)) => Err(broken(path, &error.to_string())),
        }
    }

    /// Replaces the keys in the file, all at once; when this returns they are on disk.
    pub(crate) fn replace(&self, keys: &[MasterKey]) -> Result<(), Failure> {
        self.try_replace(keys)
            .map_err(|error| broken(&self.path, &error.to_string()))
    }

    fn try_replace(&self, keys: &[MasterKey]) -> io::Result<()> {
        let before = self.path.with_file_name(FILE_BEFORE);
        // What a command that was killed has left behind.
        match fs::remove_file(&before) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(ONLY_OWNER)
            .open(&before)?;
        // The server's user reads it, whoever types the command.
        let owner = fs::metadata(&self.path)?;
        let own = file.metadata()?;
        if (owner.uid(), owner.gid()) != (own.uid(), own.gid()) {
            fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
        }
        writeln!(file, "{}", *list(keys))?;
        file.sync_all()?;
        fs::rename(&before, &self.path)?;
        write_through(&self.path)
    }
}

fn broken(path: &Path, why: &str) -> Failure {
    Failure::Failed(format!("the master key {} cannot be used: {why}", path.display()))
}

/// Takes what the file says, whenever it says something else, until `stop` turns true. `known` are the keys of the start.
pub(crate) async fn follow(
    source: KeySource,
    store: Store,
    known: Vec<MasterKeyId>,
    mut stop: watch::Receiver<bool>,
) {
    let Some(path) = source.path().map(Path::to_owned) else {
        return;
    };
    let mut follower = Follower {
        source,
        path,
        store,
        known,
        complaint: None,
    };
    loop {
        tokio::select! {
            () = rest() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        follower.tick().await;
    }
}

#[expect(clippy::disallowed_methods, reason = "the loop's own rest, between two looks")]
async fn rest() {
    tokio::time::sleep(READ_EVERY).await;
}

struct Follower {
    source: KeySource,
    path: PathBuf,
    store: Store,
    /// What the file said when it was taken last.
    known: Vec<MasterKeyId>,
    /// What is wrong with it now, which is logged once.
    complaint: Option<String>,
}

impl Follower {
    async fn tick(&mut self) {
        let complaint = self.look().await.err();
        if complaint.is_some() && complaint != self.complaint {
            let why = complaint.as_deref().unwrap_or_default();
            tracing::error!(path = %self.path.display(), why, "the master keys stay as they are");
        }
        self.complaint = complaint;
    }

    async fn look(&mut self) -> Result<(), String> {
        let path = self.path.clone();
        let reading = tokio::task::spawn_blocking(move || read(&path));
        let keys = reading.await.map_err(|error| error.to_string())??;
        let ids = ids(&keys);
        if ids == self.known {
            return Ok(());
        }
        let source = self.source.clone();
        let writing = tokio::task::spawn_blocking(move || source.write_through());
        let written = writing.await.map_err(|error| error.to_string())?;
        written.map_err(|error| error.to_string())?;
        let keys = for_store(&keys).map_err(|failure| failure.to_string())?;
        let used = self.store.use_master_keys(keys).await;
        used.map_err(|error| error.to_string())?;
        tracing::info!(path = %self.path.display(), keys = ids.len(), "took the master keys from the file anew");
        self.known = ids;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(u8);
    impl Chance for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    #[test]
    fn the_file_is_replaced_as_a_whole_and_stays_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        make_first(&path, &Fixed(1)).unwrap();
        // A command that was killed before its end.
        fs::write(folder.path().join(FILE_BEFORE), "half a k").unwrap();
        let old = read(&path).unwrap();
        let both = [vec![draw(&Fixed(2))], old].concat();
        OwnFile::take(&path).unwrap().replace(&both).unwrap();
        assert_eq!(ids(&read(&path).unwrap()), ids(&both));
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            ONLY_OWNER
        );
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "nothing else is left"
        );
    }

    #[test]
    fn two_commands_do_not_change_the_file_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let first = OwnFile::take(&path).unwrap();
        let refused = OwnFile::take(&path).unwrap_err().to_string();
        assert!(refused.contains("another `stentor master-key`"), "{refused}");
        drop(first);
        OwnFile::take(&path).unwrap();
    }

    #[test]
    fn the_first_key_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        make_first(&path, &Fixed(1)).unwrap();
        assert!(make_first(&path, &Fixed(2)).is_err());
        assert_eq!(ids(&read(&path).unwrap()), ids(&[draw(&Fixed(1))]));
    }
}
