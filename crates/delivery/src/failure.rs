//! Why an exchange brought no answer.

use std::error::Error;
use stentor_domain::attempt::ErrorClass;

/// Bytes kept of a detail; texts of libraries may quote what a receiver sent.
const DETAIL_BYTES_MAX: usize = 512;
/// Causes followed below an error; a chain has two or three.
const CAUSES_MAX: usize = 8;

/// A receiver's or network's failure: it becomes the outcome of an attempt, never an error of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The kind of failure.
    pub(crate) class: ErrorClass,
    /// More than the class says, without secrets or what lies behind a blocked address.
    pub(crate) detail: Option<String>,
}

impl Failure {
    /// A failure whose class says everything.
    pub(crate) const fn plain(class: ErrorClass) -> Self {
        Self { class, detail: None }
    }

    /// A failure with more to say; what is too long is cut.
    pub(crate) fn new(class: ErrorClass, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        detail.truncate(detail.floor_char_boundary(DETAIL_BYTES_MAX));
        Self {
            class,
            detail: Some(detail),
        }
    }

    /// A failure told by an error and its causes.
    pub(crate) fn from_error(class: ErrorClass, error: &dyn Error) -> Self {
        let mut detail = error.to_string();
        let mut cause = error.source();
        for _ in 0..CAUSES_MAX {
            let Some(error) = cause else { break };
            let text = error.to_string();
            // Some libraries repeat the cause in the text of the effect.
            if !detail.contains(&text) {
                detail.push_str(": ");
                detail.push_str(&text);
            }
            cause = error.source();
        }
        Self::new(class, detail)
    }
}
