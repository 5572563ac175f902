//! How a command ends when it does not succeed.

use std::process::ExitCode;

use crate::config::Refusal;

/// The code of a wrong command line or configuration, which trying again does not mend. `clap` exits with the same.
const EXIT_USAGE: u8 = 2;
const EXIT_FAILED: u8 = 1;

/// Why a command failed, in words for whoever typed it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// What was asked for cannot be done as it was written.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// What was asked for did not succeed.
    #[error("{0}")]
    Failed(String),
}

impl Failure {
    /// 2 for a wrong command line or configuration, 1 for anything else.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Refused(_) => EXIT_USAGE,
            Self::Failed(_) => EXIT_FAILED,
        })
    }
}
