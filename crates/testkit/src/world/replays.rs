//! Replays in a story.

use super::World;
use super::deeds::now_of;
use stentor_domain::Timestamp;
use stentor_domain::id::{EndpointId, ReplayId};
use stentor_domain::replay::Replay;
use stentor_engine::Result;
use stentor_engine::replays::ReplayFields;

/// Everything that an endpoint was ever sent.
pub fn all_of(endpoint: EndpointId) -> ReplayFields {
    ReplayFields {
        endpoint: Some(endpoint),
        since: Timestamp::EPOCH,
        until: None,
        status: None,
        event_type: None,
        missing: false,
    }
}

impl World {
    /// Asks for a replay.
    pub async fn replay(&self, fields: ReplayFields) -> Result<ReplayId> {
        let asked = self.engine.create_replay(&self.root, fields, None).await;
        asked.map(|done| now_of(done).id)
    }

    /// How many deliveries a replay would make due.
    pub async fn dry_run(&self, fields: ReplayFields) -> Result<u64> {
        let counted = self.engine.count_replay(&self.root, fields, None).await;
        counted.map(now_of)
    }

    /// Cancels a replay.
    pub async fn cancel_replay(&self, id: ReplayId) -> Result<Replay> {
        let cancelled = self.engine.cancel_replay(&self.root, &id.to_string(), None).await;
        cancelled.map(now_of)
    }

    /// A replay as anybody sees it.
    pub async fn replay_now(&self, id: ReplayId) -> Replay {
        self.replay_if_kept(id).await.expect("the replay is there")
    }

    /// A replay, unless it has gone by its age.
    pub async fn replay_if_kept(&self, id: ReplayId) -> Option<Replay> {
        self.engine.get_replay(&self.root, &id.to_string()).await.ok()
    }

    /// Where a replay is and how far it has come, in a line.
    pub async fn replay_line(&self, id: ReplayId) -> String {
        let replay = self.replay_now(id).await;
        let why = replay.reason.map(|reason| format!(": {}", reason.as_str()));
        let total = replay.progress.total.map(|total| format!(" of {total}"));
        format!(
            "{}{}, looked at {}{}, replayed {}, skipped {}",
            replay.state.as_str(),
            why.unwrap_or_default(),
            replay.progress.considered,
            total.unwrap_or_default(),
            replay.progress.replayed,
            replay.progress.skipped,
        )
    }
}
