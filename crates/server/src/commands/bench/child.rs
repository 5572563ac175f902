//! A child process of this binary, and what the operating system says of it.

use std::ffi::OsStr;
use std::fs;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{ChildStderr, Command};

use super::process::{self, Stat};
use crate::failure::Failure;

/// Migrations and a slow disk included.
const START_MAX: Duration = Duration::from_secs(30);
/// More than `--shutdown-grace-seconds` is by default.
const STOP_MAX: Duration = Duration::from_secs(30);
/// What a listening process says in its log.
const LISTENING: &str = "listening on http://";
const OPTIONS_PREFIX: &[u8] = b"STENTOR_";

/// A process that listens; it is killed when this is dropped.
pub(super) struct Child {
    process: tokio::process::Child,
    pid: Pid,
    /// Where it listens.
    pub(super) address: SocketAddr,
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Usage {
    /// In user and kernel mode together; counted by the kernel in ticks of 10 ms.
    pub(super) cpu: Duration,
    /// Resident memory.
    pub(super) rss_bytes: u64,
}

impl Child {
    /// Starts this binary with `words`, in the environment without any option of Stentor's but `variables`, and waits
    /// until it listens.
    pub(super) async fn start(
        words: impl IntoIterator<Item = impl AsRef<OsStr>>,
        variables: &[(&str, String)],
    ) -> Result<Self, Failure> {
        let failed =
            |error: std::io::Error| Failure::Failed(format!("this program cannot be started again: {error}"));
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command.args(words).args(["--log-format", "json"]);
        for (name, _) in std::env::vars_os() {
            // An option set for a real server must not lead the measurement to its database.
            if name.as_encoded_bytes().starts_with(OPTIONS_PREFIX) {
                command.env_remove(name);
            }
        }
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut process = command.spawn().map_err(failed)?;
        let pid = process.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let (Some(pid), Some(log)) = (pid, process.stderr.take()) else {
            return Err(Failure::Failed(
                "a process that was started is not there".to_owned(),
            ));
        };
        let mut log = BufReader::new(log).lines();
        let address = tokio::time::timeout(START_MAX, address_in(&mut log))
            .await
            .map_err(|_elapsed| {
                Failure::Failed(format!("a process did not listen within {START_MAX:?}"))
            })??;
        tokio::spawn(pass_on_complaints(log));
        Ok(Self {
            process,
            pid,
            address,
        })
    }

    /// What it has used up to now.
    pub(super) fn usage(&self) -> Result<Usage, Failure> {
        let pid = self.pid.as_raw_nonzero().get();
        let path = format!("/proc/{pid}/status");
        let status = fs::read_to_string(&path)
            .map_err(|error| Failure::Failed(format!("{path} cannot be read: {error}")))?;
        let unknown = || Failure::Failed("what /proc says of a process was not understood".to_owned());
        Ok(Usage {
            cpu: process::duration(Stat::of(pid).ok_or_else(unknown)?.own_ticks),
            rss_bytes: rss_bytes(&status).ok_or_else(unknown)?,
        })
    }

    /// Ends it at once.
    pub(super) async fn kill(mut self) -> Result<(), Failure> {
        let killed = self.process.kill().await;
        killed.map_err(|error| Failure::Failed(format!("a process could not be killed: {error}")))
    }

    /// Asks it to end, and ends it if it does not.
    pub(super) async fn stop(mut self) -> Result<(), Failure> {
        let failed =
            |error: &dyn std::fmt::Display| Failure::Failed(format!("a process did not stop: {error}"));
        kill_process(self.pid, Signal::TERM).map_err(|error| failed(&error))?;
        match tokio::time::timeout(STOP_MAX, self.process.wait()).await {
            Ok(ended) => ended.map(drop).map_err(|error| failed(&error)),
            Err(_elapsed) => Err(failed(&format_args!("it was killed after {STOP_MAX:?}"))),
        }
    }
}

async fn address_in(log: &mut Lines<BufReader<ChildStderr>>) -> Result<SocketAddr, Failure> {
    let mut last = String::new();
    while let Ok(Some(line)) = log.next_line().await {
        if let Some(address) = address_said(&line) {
            return Ok(address);
        }
        last = line;
    }
    Err(Failure::Failed(format!(
        "a process ended before it listened: {last}"
    )))
}

fn address_said(line: &str) -> Option<SocketAddr> {
    let line: Value = serde_json::from_str(line).ok()?;
    line.get("message")?
        .as_str()?
        .strip_prefix(LISTENING)?
        .parse()
        .ok()
}

/// Reads the log to its end, since a full pipe would stop the process, and shows what is worth a look.
async fn pass_on_complaints(mut log: Lines<BufReader<ChildStderr>>) {
    while let Ok(Some(line)) = log.next_line().await {
        if !line.contains(r#""level":"INFO""#) {
            tracing::warn!(line, "a measured process complains");
        }
    }
}

fn rss_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resident_memory_is_told_in_bytes() {
        let status = "Name:\tstentor\nVmPeak:\t 9000 kB\nVmRSS:\t    2048 kB\nThreads:\t4\n";
        assert_eq!(rss_bytes(status), Some(2 * 1_024 * 1_024));
        assert_eq!(rss_bytes("Name:\tstentor\n"), None);
    }

    #[test]
    fn the_address_is_read_from_the_log_and_from_nothing_else() {
        let said = r#"{"level":"INFO","message":"listening on http://127.0.0.1:4711","target":"stentor"}"#;
        assert_eq!(address_said(said), Some("127.0.0.1:4711".parse().unwrap()));
        assert_eq!(address_said(r#"{"message":"stopping"}"#), None);
        assert_eq!(address_said("listening on http://127.0.0.1:4711"), None);
    }
}
