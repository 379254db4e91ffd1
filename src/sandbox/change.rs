//! What a plan changed, in plain data for receipts, diffs and JSON.

use crate::error::Shown;
use crate::id::hex;
use serde::{Deserialize, Serialize};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

/// What was done to one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Action {
    /// It was not there.
    Added,
    /// It was there and is different now.
    Modified,
    /// It is gone.
    Removed,
}

impl Action {
    /// The one-letter mark used in listings: `A`, `M` or `D`.
    #[must_use]
    pub fn mark(self) -> char {
        match self {
            Self::Added => 'A',
            Self::Modified => 'M',
            Self::Removed => 'D',
        }
    }
}

/// One changed place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Change {
    /// Where inside the resource, for people: escaped where it is not printable UTF-8.
    pub path: String,
    /// The exact bytes of the path in hex, only where `path` had to be escaped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_hex: Option<String>,
    /// What was done.
    pub action: Action,
    /// What is (or was) there: `file`, `directory`, `symlink`, `value`.
    pub what: String,
    /// Bytes of content that the change brings; 0 for a removal.
    pub bytes: u64,
}

impl Change {
    /// A change of the thing at `path`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, action: Action, what: &str, bytes: u64) -> Self {
        let path = path.into();
        let shown = Shown(&path).to_string();
        let exact = path.to_str() == Some(shown.as_str());
        let path_hex = (!exact).then(|| hex(path.as_os_str().as_bytes()));
        Self {
            path: shown,
            path_hex,
            action,
            what: what.to_owned(),
            bytes,
        }
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde asks for"
)]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Everything a plan changed in one resource.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Changes {
    /// The changed places, sorted by path.
    pub entries: Vec<Change>,
    /// How many more places were changed whose paths are too long to be listed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unlisted: u64,
    /// What a person should know: things left out, links broken, bits dropped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Changes {
    /// True if nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.unlisted == 0
    }

    /// How many places were changed in this way.
    #[must_use]
    pub fn count(&self, action: Action) -> usize {
        self.entries
            .iter()
            .filter(|change| change.action == action)
            .count()
    }

    /// Bytes of content that the changes bring.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.entries.iter().map(|change| change.bytes).sum()
    }
}
