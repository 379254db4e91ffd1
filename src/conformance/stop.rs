//! Why a rule ends early.

use super::Tried;
use crate::error::{Explain as _, ParticipantError};
use crate::sandbox::Outcome;

/// Why a rule ended before its end.
#[derive(Debug)]
pub(super) enum Stop {
    /// The participant broke it.
    Failed(String),
    /// It asks something that this participant has not got.
    NotApplicable(&'static str),
}

/// The outcome of a part of a rule.
pub(super) type Step<T = ()> = Result<T, Stop>;

/// A failure that says `what` was seen.
pub(super) fn failed<T>(what: impl Into<String>) -> Step<T> {
    Err(Stop::Failed(what.into()))
}

/// What a participant answered, which must not be an error.
pub(super) fn done<T>(step: &str, outcome: Outcome<T>) -> Step<T> {
    outcome.map_err(|error| Stop::Failed(format!("{step} failed: {}", told(&error))))
}

/// What the subject answered, which must not be an error.
pub(super) fn tried<T>(what: &str, outcome: Tried<T>) -> Step<T> {
    outcome.map_err(|error| Stop::Failed(format!("{what}: {error}")))
}

/// What a manager answered, which must not be an error.
pub(super) fn managed<T, E: std::error::Error>(step: &str, outcome: Result<T, E>) -> Step<T> {
    outcome.map_err(|error| {
        let mut text = format!("{step} failed: {error}");
        let mut source = error.source();
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        Stop::Failed(text)
    })
}

/// An error with its code, for people.
pub(super) fn told(error: &ParticipantError) -> String {
    format!("{} ({})", error, error.code())
}

/// Fails with `what` unless it `holds`.
pub(super) fn ensure(holds: bool, what: impl FnOnce() -> String) -> Step {
    if holds { Ok(()) } else { failed(what()) }
}

/// Fails unless both texts are equal, and shows both.
pub(super) fn same(what: &str, found: &str, wanted: &str) -> Step {
    ensure(found == wanted, || {
        format!("{what}\n--- wanted\n{wanted}\n--- found\n{found}")
    })
}
