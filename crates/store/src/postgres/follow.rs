//! Following what other processes change of the configuration: a look at its clock ten times a second. It is apart from the
//! beats, since a large change may take longer to read than a beat may.

use super::session::{Session, within};
use super::{CONTROL_SETTINGS, Core};
use crate::error::Result;
use crate::tx::{Tx, values};
use std::sync::Arc;
use std::time::Duration;

/// How often a process asks whether somebody else has changed the configuration.
const POLL_EVERY: Duration = Duration::from_millis(100);
/// How long it may take to read what was changed.
const FOLLOW_MAX: Duration = Duration::from_secs(30);

/// Follows until the store is closed.
pub(crate) async fn run(core: Arc<Core>) {
    let mut session = None;
    let mut fails = false;
    while !core.is_closed() {
        let followed = within(FOLLOW_MAX, follow(&core, &mut session)).await;
        if let Err(error) = &followed {
            // The connection may have half an answer in it.
            session = None;
            if !fails {
                tracing::error!(%error, "changes of the configuration by other processes cannot be followed");
            }
        }
        fails = followed.is_err();
        core.rest(POLL_EVERY).await;
    }
}

async fn follow(core: &Core, kept: &mut Option<Session>) -> Result<()> {
    let mut session = match kept.take() {
        Some(session) => session,
        None => Session::open(&core.address, core.name_for("follow"), CONTROL_SETTINGS).await?,
    };
    let seq = Tx::Postgres(&mut session)
        .row("SELECT seq FROM config_clock", values![], |row| row.int(0))
        .await?;
    if seq.is_some_and(|seq| seq > core.outside.config.applied()) {
        core.refresh(&mut session).await?;
    }
    *kept = Some(session);
    Ok(())
}
