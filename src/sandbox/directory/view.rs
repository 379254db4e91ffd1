//! Making the private view of a tree: a reflinked or plain copy, with its manifest.

use super::exclude::Exclusions;
use super::manifest::Manifest;
use crate::fs;
use crate::sandbox::{Outcome, Work};
use serde::{Deserialize, Serialize};

/// How a view is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ViewKind {
    /// Files share their blocks with the base until they are written to.
    Reflink,
    /// Files are copied.
    Copy,
}

impl ViewKind {
    /// The word for receipts: `reflink` or `copy`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Reflink => "reflink",
            Self::Copy => "copy",
        }
    }
}

/// Which view is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ViewChoice {
    /// The cheapest that works.
    #[default]
    Auto,
    /// This one or none.
    Pinned(ViewKind),
}

/// Copies `root` into the empty directory `into`; returns what it copied, how, and what a person
/// should know about it.
///
/// # Errors
/// A `ParticipantError`.
pub(crate) fn make_view(
    root: &fs::Dir,
    into: &fs::Dir,
    choice: ViewChoice,
    exclusions: &Exclusions,
    work: &Work<'_>,
) -> Outcome<(Manifest, ViewKind, Vec<String>)> {
    let _ = (root, into, choice, exclusions, work);
    Err(crate::error::ParticipantError::new(
        crate::error::Fault::Unsupported,
        "not yet",
    ))
}
