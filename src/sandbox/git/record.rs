//! What a git sandbox remembers between processes, and its files in the place.

use super::checkout::{CheckoutRedo, WorkTree};
use super::program::Oid;
use crate::error::{Fault, ParticipantError};
use crate::sandbox::directory::record::key;
use crate::sandbox::directory::staging::check_token;
use crate::sandbox::directory::text::Bytes;
use crate::sandbox::{Changes, Identity, Outcome};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// Version of the record, the sealed file and the redo.
pub(super) const VERSION: u32 = 1;

/// The work tree of the plan.
pub(super) const VIEW: &str = "view";

/// Our own git directory, of which nothing is known to the plan.
pub(super) const OWN: &str = "git";

/// The index of the base in our own git directory, with what the files were when it was written.
pub(super) const INDEX: &str = "index";

/// The files that git would write differently even if nobody touched them, in our own git directory.
pub(super) const NORMAL: &str = "planbox-normal";

/// What is sealed.
pub(super) const SEALED: &str = "sealed";

/// There as long as the real repository may hold a reference of ours.
pub(super) const KEPT: &str = "kept";

/// Who wrote a commit: a name and an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Person {
    pub(super) name: String,
    pub(super) email: String,
}

/// Where the sandbox is, of what, and in which state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) version: u32,
    /// Absolute path by which the repository was named.
    pub(super) given: Bytes,
    /// Absolute path of the git directory that all its work trees share.
    pub(super) common: Bytes,
    /// Device and inode of that directory.
    pub(super) id: (u64, u64),
    /// Device and inode of what encloses the resource, nearest first.
    pub(super) enclosing: Vec<(u64, u64)>,
    /// Device and inode of the work tree in which the branch is checked out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tree: Option<(u64, u64)>,
    /// The full name of the branch.
    pub(super) reference: String,
    /// The commit the plan started from; none on a branch without one.
    pub(super) base: Option<Oid>,
    /// The empty tree, in the hash of the repository.
    pub(super) empty: Oid,
    /// Token of the place.
    pub(super) token: String,
    /// The start of the machine in which the view was made.
    pub(super) boot: String,
    /// Device and inode of the view.
    pub(super) view: (u64, u64),
    pub(super) message: String,
    pub(super) author: Person,
    pub(super) committer: Person,
    /// BLAKE3 of the file `sealed`, in hex, while the sandbox is sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sealed: Option<String>,
}

impl Record {
    /// Reads a record.
    pub(super) fn from_json(text: &str) -> Outcome<Self> {
        let record: Self = serde_json::from_str(text)
            .map_err(|error| corrupt(format!("the record of a git sandbox: {error}")))?;
        known(record.version)?;
        check_token(&record.token)?;
        if !record.common().is_absolute() {
            return Err(corrupt("a repository that is not absolute"));
        }
        if !record.reference.starts_with(super::repository::HEADS) {
            return Err(corrupt("a reference that is not a branch"));
        }
        Ok(record)
    }

    /// Absolute path of the common git directory.
    pub(super) fn common(&self) -> PathBuf {
        PathBuf::from(OsString::from_vec(self.common.0.clone()))
    }

    /// The repository and the branch, for people.
    pub(super) fn target(&self) -> String {
        let given = OsString::from_vec(self.given.0.clone());
        let short = self.reference.strip_prefix(super::repository::HEADS);
        let short = Path::new(short.unwrap_or(&self.reference));
        format!(
            "{}#{}",
            crate::error::Shown(Path::new(&given)),
            crate::error::Shown(short)
        )
    }

    /// Who the branch is.
    pub(super) fn identity(&self) -> Identity {
        Identity {
            key: super::resource::key_of(self.id, &self.reference),
            enclosing: self.enclosing.iter().copied().map(key).collect(),
            tree: self.tree.map(key),
        }
    }
}

/// What the plan made, frozen.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct SealedFile {
    pub(super) version: u32,
    /// The tree of the view.
    pub(super) tree: Oid,
    /// That tree as a commit on top of the base; none if nothing changed.
    pub(super) commit: Option<Oid>,
    /// When, in seconds since 1970: the date of every commit made from this seal.
    pub(super) at: u64,
    pub(super) changes: Changes,
    /// Digest of what would be committed.
    pub(super) digest: String,
}

/// What a sandbox may have outside of its place; written down before it has.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Kept {
    /// The work tree in which it made something ready.
    pub(super) tree: Option<WorkTree>,
}

/// A work tree that moves along, and how.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Followed {
    pub(super) tree: WorkTree,
    pub(super) redo: Box<CheckoutRedo>,
}

/// What apply and take-back need.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct RedoText {
    pub(super) version: u32,
    /// The full name of the branch.
    pub(super) reference: String,
    /// Where it stood; none if it had no commit.
    pub(super) old: Option<Oid>,
    /// Where it shall stand.
    pub(super) new: Oid,
    /// The line for the log of the branch.
    pub(super) reason: String,
    /// The work tree that moves along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) checkout: Option<Followed>,
}

impl RedoText {
    /// Reads a redo.
    pub(super) fn from_json(text: &str) -> Outcome<Self> {
        let redo: Self = serde_json::from_str(text)
            .map_err(|error| corrupt(format!("the redo of a branch: {error}")))?;
        known(redo.version)?;
        Ok(redo)
    }
}

pub(super) fn known(version: u32) -> Outcome<()> {
    if version == VERSION {
        return Ok(());
    }
    Err(corrupt(format!(
        "a file of a git sandbox has version {version}; this program knows {VERSION}"
    )))
}

fn corrupt(message: impl Into<String>) -> ParticipantError {
    ParticipantError::new(Fault::Corrupt, message)
}
