//! What a plan changed, in plain data for receipts, diffs and JSON.

use crate::error::Shown;
use crate::id::hex;
use serde::{Deserialize, Serialize};
use std::fmt;
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
    /// What is (or was) there: `file`, `directory`, `symlink`, `row`, `value`.
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

/// A named part of a resource, with what the plan did to it, in the resource's own terms: a branch
/// that moves, a table whose rows change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Section {
    /// What kind of part it is: `branch`, `table`, `schema`; `whole` for one that was not looked
    /// into, with its kind as the unit.
    pub what: String,
    /// Which one, escaped for display: `refs/heads/main`, `users`.
    pub name: String,
    /// What is counted in it: `file`, `row`.
    pub unit: String,
    /// How many units are new.
    pub added: u64,
    /// How many units are different.
    pub modified: u64,
    /// How many units are gone.
    pub removed: u64,
    /// Where it stood before, if it moves as a whole: a commit id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Where it stands afterwards; none as long as that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

impl Section {
    /// The part `name`, of which nothing has changed yet.
    #[must_use]
    pub fn new(what: &str, name: impl Into<String>, unit: &str) -> Self {
        Self {
            what: what.to_owned(),
            name: name.into(),
            unit: unit.to_owned(),
            ..Self::default()
        }
    }

    /// Counts one more unit.
    pub fn count(&mut self, action: Action) {
        match action {
            Action::Added => self.added += 1,
            Action::Modified => self.modified += 1,
            Action::Removed => self.removed += 1,
        }
    }
}

impl fmt::Display for Section {
    /// `table users: 2 rows added, 1 modified`, or `branch main: 1 file added on top of
    /// 1a2b3c4d5e6f`, or, once it has moved, `branch main: 1 file added, 1a2b3c4d5e6f ->
    /// 9f8e7d6c5b4a`. What is zero is not told.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |id: &str| id.get(..12).unwrap_or(id).to_owned();
        let name = self.name.strip_prefix("refs/heads/").unwrap_or(&self.name);
        if self.what == "whole" {
            return write!(f, "{} {name}: changed as a whole", self.unit);
        }
        write!(f, "{} {name}: ", self.what)?;
        let counts = [
            (self.added, "added"),
            (self.modified, "modified"),
            (self.removed, "removed"),
        ];
        let mut told = 0;
        for (count, done) in counts.into_iter().filter(|(count, _)| *count > 0) {
            match told {
                0 => write!(f, "{} {done}", counted(count, &self.unit))?,
                _ => write!(f, ", {count} {done}")?,
            }
            told += 1;
        }
        if told == 0 {
            f.write_str("changed")?;
        }
        match (&self.from, &self.to) {
            (Some(from), Some(to)) => write!(f, ", {} -> {}", short(from), short(to)),
            (Some(from), None) => write!(f, " on top of {}", short(from)),
            (None, Some(to)) => write!(f, ", now {}", short(to)),
            (None, None) => Ok(()),
        }
    }
}

/// A number with its unit, in the singular where it is one: `1 row`, `2 rows`.
fn counted(count: u64, unit: &str) -> String {
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// Everything a plan changed in one resource.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Changes {
    /// The changed places, sorted by path.
    pub entries: Vec<Change>,
    /// The same in the resource's own terms, for kinds that have parts: branches, tables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sections: Vec<Section>,
    /// How many more places were changed that are not listed: too many, or with too long a path.
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
        self.entries.is_empty() && self.sections.is_empty() && self.unlisted == 0
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_reads_like_a_sentence() {
        let mut table = Section::new("table", "users", "row");
        assert_eq!(table.to_string(), "table users: changed");
        table.count(Action::Removed);
        assert_eq!(table.to_string(), "table users: 1 row removed");
        table.count(Action::Added);
        table.count(Action::Added);
        assert_eq!(table.to_string(), "table users: 2 rows added, 1 removed");
        let mut whole = Section::new("whole", "users", "table");
        whole.count(Action::Modified);
        assert_eq!(whole.to_string(), "table users: changed as a whole");
        let mut branch = Section::new("branch", "refs/heads/main", "file");
        branch.count(Action::Modified);
        branch.from = Some("1a2b3c4d5e6f7a8b".to_owned());
        assert_eq!(
            branch.to_string(),
            "branch main: 1 file modified on top of 1a2b3c4d5e6f"
        );
        branch.to = Some("9f8e7d6c5b4a3f2e".to_owned());
        assert_eq!(
            branch.to_string(),
            "branch main: 1 file modified, 1a2b3c4d5e6f -> 9f8e7d6c5b4a"
        );
    }
}
