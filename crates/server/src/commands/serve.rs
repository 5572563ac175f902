//! `stentor serve`: the server.

use std::io::Write as _;
use std::time::Duration;

use stentor_store::measure_file::slow_down_the_disk;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::ServeOptions;
use crate::config::ServeConfig;
use crate::failure::Failure;
use crate::node::Node;

/// Serves until it is told to stop. `open_files` is the limit in force.
pub(crate) async fn run(options: ServeOptions, config: ServeConfig, open_files: u64) -> Result<(), Failure> {
    slow_down_the_disk(Duration::from_micros(options.slow_disk_micros));
    let mut signals = Signals::listen()?;
    let data = config.store.data.display().to_string();
    let node = Node::start(config, open_files).await?;
    if let Some(key) = &node.new_root_key {
        // To standard output, not to the log: logs are kept and shipped.
        let mut out = std::io::stdout();
        let _ = writeln!(out, "The root key, shown this once: {}", key.expose());
        let _ = out.flush();
    }
    tracing::info!(address = %node.address, %data, "listening on http://{}", node.address);
    let evicted = tokio::select! {
        () = signals.first() => None,
        why = node.evicted() => Some(why),
    };
    match &evicted {
        None => tracing::info!("stopping; a second signal ends at once"),
        Some(why) => tracing::error!(%why, "stopping"),
    }
    tokio::select! {
        () = node.stop() => tracing::info!("stopped"),
        () = signals.first() => {
            tracing::warn!("ended at once; what was in flight is repeated by the next start");
            std::process::exit(1);
        }
    }
    evicted.map_or(Ok(()), |why| Err(Failure::Failed(why)))
}

/// The signals that ask a process to end.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn listen() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| Failure::Failed(format!("signals cannot be received: {error}")))
        };
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next one.
    pub(super) async fn first(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
