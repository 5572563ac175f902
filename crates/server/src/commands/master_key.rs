//! `stentor master-key`: one master key takes the place of another, while a server runs too.
//!
//! `rotate` puts a new key in front of the file, or finds it there; then everything must be sealed anew. A server that holds
//! the embedded database does that, and the command looks on; otherwise the command takes the same steps itself (on
//! PostgreSQL beside the nodes: a step is a transaction, whoever takes it). What a step is, and why each may be interrupted, is
//! said in `stentor_store::master_keys`. `forget` takes keys out of the file that nothing needs.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use stentor_domain::{Chance, Clock};
use stentor_store::master_keys::{Resealed, SealedWith, is_held, sealed_with};
use stentor_store::{MasterKeyId, Options, Purpose, Store, StoreError};

use super::wait;
use crate::config::{MASTER_KEYS_MAX, MasterKey, StoreConfig};
use crate::failure::Failure;
use crate::key_source::{self, KeySource, OwnFile};
use crate::system::{SystemChance, SystemClock};

/// How often the command looks how far the others are.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// After so long without any progress the command gives up; a server does not.
const STALLED_AFTER: Duration = Duration::from_secs(30);
/// How often the database may refuse to be opened while nobody holds it.
const REFUSALS_MAX: u32 = 3;
/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Makes a new key, or goes on with the one that was made, and returns when it has sealed everything.
pub(crate) async fn rotate(config: StoreConfig) -> Result<(), Failure> {
    let source = KeySource::of(&config);
    // Held to the end: of two that rotate at once, one would take the other's new key for the old one.
    let file = match &source {
        KeySource::Folder(path) => Some(OwnFile::take(path)?),
        KeySource::Named(_) | KeySource::Variable => None,
    };
    let keys = source.keys(&config)?;
    let seen = look(&config).await?;
    refuse_missing(&seen, &keys)?;
    let wanted = begin(&source, file.as_ref(), keys, &seen)?;
    Rotation {
        config: &config,
        clock: Arc::new(SystemClock::new()),
        wanted,
        told_at: None,
    }
    .see_through()
    .await?;
    tell_end(&source, &config, wanted)
}

/// The key that shall seal: a new one, unless the one in front does not seal everything yet.
fn begin(
    source: &KeySource,
    file: Option<&OwnFile>,
    keys: Vec<MasterKey>,
    seen: &SealedWith,
) -> Result<MasterKeyId, Failure> {
    let ids = key_source::ids(&keys);
    let first = ids.first().copied();
    if let Some(first) = first.filter(|first| seen.needed() != BTreeSet::from([*first])) {
        note(&format!("Going on with the rotation to master key {first}."));
        return Ok(first);
    }
    let file = match (file, first) {
        (Some(file), _) => file,
        // The one that the operator has put in front is done with already.
        (None, Some(first)) if ids.len() > 1 => return Ok(first),
        (None, _) => return Err(Failure::Failed(put_in_front(source))),
    };
    if keys.len() >= MASTER_KEYS_MAX {
        return Err(Failure::Failed(format!(
            "there are {MASTER_KEYS_MAX} keys already; `stentor master-key forget` removes those that nothing needs"
        )));
    }
    let mut with_new = vec![key_source::draw(&SystemChance)];
    with_new.extend(keys);
    file.replace(&with_new)?;
    let new = key_source::ids(&with_new).first().copied();
    let new = new.ok_or_else(|| Failure::Failed("no key was made".to_owned()))?;
    note(&format!("Made master key {new}."));
    Ok(new)
}

fn put_in_front(source: &KeySource) -> String {
    let then = match source {
        KeySource::Named(_) | KeySource::Folder(_) => "a running server reads it anew",
        KeySource::Variable => "start the server again with it, and set it for this command, too",
    };
    format!(
        "everything is sealed with the first key of {}, which is yours to change: put a new key (`openssl rand -base64 \
         32`) and a comma in front of the others, {then}, and run this command again",
        place(source)
    )
}

/// One rotation, until its end.
struct Rotation<'a> {
    config: &'a StoreConfig,
    clock: Arc<SystemClock>,
    wanted: MasterKeyId,
    /// When progress was told last.
    told_at: Option<Duration>,
}

impl Rotation<'_> {
    async fn see_through(&mut self) -> Result<(), Failure> {
        let mut stalled = Stalled::default();
        let mut refusals = 0;
        loop {
            match self.open().await {
                Ok(store) => {
                    let done = self.work(&store, &mut stalled).await;
                    store.close().await;
                    return done;
                }
                Err(_) if is_held(&self.config.database) => refusals = 0,
                // Whoever held it may just have let it go.
                Err(_) if refusals < REFUSALS_MAX => refusals += 1,
                Err(error) => return Err(Failure::Failed(error.to_string())),
            }
            let seen = look(self.config).await?;
            if self.is_done(&seen) {
                return Ok(());
            }
            self.check(&mut stalled, &seen)?;
            wait(LOOK_EVERY).await;
        }
    }

    async fn open(&self) -> Result<Store, StoreError> {
        let chance: Arc<dyn Chance> = Arc::new(SystemChance);
        let master = key_source::master_keys(self.config, &*chance).await;
        let options = Options {
            database: self.config.database.clone(),
            purpose: Purpose::Administer,
            master: master.map_err(|failure| StoreError::Unavailable(failure.to_string()))?,
            clock: Arc::clone(&self.clock) as _,
            chance,
        };
        // What waits for delivery is left to the next start of a server: nobody reads what the store hands over here.
        Ok(Store::open(options).await?.0)
    }

    /// Takes step after step.
    async fn work(&mut self, store: &Store, stalled: &mut Stalled) -> Result<(), Failure> {
        loop {
            let step = store.reseal().await;
            match step.map_err(|error| Failure::Failed(error.to_string()))? {
                Resealed::Nothing => return Ok(()),
                Resealed::Seals(_) => {}
                Resealed::Rows { .. } if !self.is_time_to_tell() => {}
                Resealed::Rows { .. } => self.tell(&look(self.config).await?),
                Resealed::Awaits(_) => {
                    self.check(stalled, &look(self.config).await?)?;
                    wait(LOOK_EVERY).await;
                }
            }
        }
    }

    fn is_done(&self, seen: &SealedWith) -> bool {
        seen.needed() == BTreeSet::from([self.wanted])
    }

    /// Tells how far it is, and gives up where nothing moves.
    fn check(&mut self, stalled: &mut Stalled, seen: &SealedWith) -> Result<(), Failure> {
        if self.is_time_to_tell() {
            self.tell(seen);
        }
        let now = self.clock.monotonic();
        if stalled.note(seen, now) <= STALLED_AFTER {
            return Ok(());
        }
        let unaware = seen.unaware_of(self.wanted);
        let why = if unaware.is_empty() {
            "the server that holds the database does not go on; see its log".to_owned()
        } else {
            format!(
                "it waits until {} knows master key {}: is that the same list of keys ({})? A variable is read at a start only",
                unaware.join(" and "),
                self.wanted,
                place(&KeySource::of(self.config)),
            )
        };
        Err(Failure::Failed(format!(
            "the rotation stands still at {} of {} values; {why}. Nothing is lost: it goes on by itself, and this command, \
             run again, looks on",
            seen.count(self.wanted),
            seen.total()
        )))
    }

    fn is_time_to_tell(&self) -> bool {
        let now = self.clock.monotonic();
        self.told_at
            .is_none_or(|told_at| now.saturating_sub(told_at) >= TELL_EVERY)
    }

    fn tell(&mut self, seen: &SealedWith) {
        self.told_at = Some(self.clock.monotonic());
        note(&format!(
            "{} of {} values are sealed with it.",
            seen.count(self.wanted),
            seen.total()
        ));
    }
}

/// Since when nothing has moved.
#[derive(Default)]
struct Stalled {
    seen: Option<(SealedWith, Duration)>,
}

impl Stalled {
    /// How long it is as it is `seen` now.
    fn note(&mut self, seen: &SealedWith, now: Duration) -> Duration {
        match &self.seen {
            Some((before, since)) if before.values == seen.values && before.sealing == seen.sealing => {
                now.saturating_sub(*since)
            }
            _ => {
                self.seen = Some((seen.clone(), now));
                Duration::ZERO
            }
        }
    }
}

/// Shows the keys, and how much is sealed with each.
pub(crate) async fn list(config: StoreConfig) -> Result<(), Failure> {
    let source = KeySource::of(&config);
    let known = key_source::ids(&source.keys(&config)?);
    let seen = look(&config).await?;
    let needed = seen.needed();
    let missing = needed.iter().copied().filter(|id| !known.contains(id));
    let mut out = format!("{:16}  {:>10}\n", "KEY", "VALUES");
    for id in known.iter().copied().chain(missing) {
        let is_first = known.first() == Some(&id);
        let role = match (seen.sealing == Some(id), needed.contains(&id)) {
            _ if !known.contains(&id) => "is needed, and missing here",
            (true, _) if is_first => "seals",
            (true, _) => "seals until the first key does",
            (false, _) if is_first => "is to seal: `stentor master-key rotate` sees it through",
            (false, true) => "opens what it has sealed",
            (false, false) => "is needed for nothing: `stentor master-key forget` removes it",
        };
        out.push_str(&format!("{id}  {:>10}  {role}\n", seen.count(id)));
    }
    let _ = write!(std::io::stdout(), "{out}");
    Ok(())
}

/// Takes out of the file what nothing is sealed with any more.
pub(crate) async fn forget(config: StoreConfig) -> Result<(), Failure> {
    let source = KeySource::of(&config);
    let KeySource::Folder(path) = &source else {
        return Err(Failure::Failed(format!(
            "the master keys are in {}, which is yours to change: take out those that `stentor master-key list` shows as \
             needed for nothing",
            place(&source)
        )));
    };
    let file = OwnFile::take(path)?;
    let keys = source.keys(&config)?;
    let seen = look(&config).await?;
    refuse_missing(&seen, &keys)?;
    let needed = seen.needed();
    let stays = |(at, id): (usize, &MasterKeyId)| at == 0 || needed.contains(id);
    let ids = key_source::ids(&keys);
    let stay: Vec<bool> = ids.iter().enumerate().map(stays).collect();
    let kept: Vec<MasterKey> = keys
        .into_iter()
        .zip(&stay)
        .filter_map(|(key, stays)| stays.then_some(key))
        .collect();
    if kept.len() == ids.len() {
        let why = match ids.get(1) {
            None => "there is only one".to_owned(),
            Some(_) => "each is still needed; `stentor master-key rotate` seals everything anew".to_owned(),
        };
        return Err(Failure::Failed(format!("no key can be forgotten: {why}")));
    }
    file.replace(&kept)?;
    let forgotten = ids.iter().zip(&stay).filter(|(_, stays)| !**stays);
    let forgotten: Vec<String> = forgotten.map(|(id, _)| id.to_string()).collect();
    tell(&format!(
        "Removed master key {} from {}. Backups from before the rotation still need it.",
        forgotten.join(" and "),
        path.display()
    ));
    Ok(())
}

async fn look(config: &StoreConfig) -> Result<SealedWith, Failure> {
    let seen = sealed_with(&config.database).await;
    let seen = seen.map_err(|error| Failure::Failed(error.to_string()))?;
    if seen.sealing.is_none() {
        return Err(Failure::Failed(
            "nothing was ever sealed in this database; the first start of a server begins to".to_owned(),
        ));
    }
    Ok(seen)
}

fn refuse_missing(seen: &SealedWith, keys: &[MasterKey]) -> Result<(), Failure> {
    let known = key_source::ids(keys);
    match seen.needed().into_iter().find(|id| !known.contains(id)) {
        None => Ok(()),
        Some(missing) => Err(Failure::Failed(format!(
            "master key {missing} is missing, and {} values are sealed with it; put it back first",
            seen.count(missing)
        ))),
    }
}

fn tell_end(source: &KeySource, config: &StoreConfig, wanted: MasterKeyId) -> Result<(), Failure> {
    let keys = key_source::ids(&source.keys(config)?);
    let others: Vec<String> = keys
        .iter()
        .filter(|id| **id != wanted)
        .map(ToString::to_string)
        .collect();
    let next = match source {
        _ if others.is_empty() => String::new(),
        KeySource::Folder(path) => format!(
            " Back up {}; then `stentor master-key forget` removes {}, which only backups from before now still need.",
            path.display(),
            others.join(" and ")
        ),
        KeySource::Named(_) | KeySource::Variable => format!(
            " {} may be taken out of {}; only backups from before now still need it.",
            others.join(" and "),
            place(source)
        ),
    };
    tell(&format!("Everything is sealed with master key {wanted}.{next}"));
    Ok(())
}

/// Where the keys are, in words.
fn place(source: &KeySource) -> String {
    match source {
        KeySource::Folder(path) | KeySource::Named(path) => path.display().to_string(),
        KeySource::Variable => "STENTOR_MASTER_KEY".to_owned(),
    }
}

fn tell(what: &str) {
    let _ = writeln!(std::io::stdout(), "{what}");
}

/// Says how it goes, beside what the command answers.
fn note(what: &str) {
    let _ = writeln!(std::io::stderr(), "{what}");
}
