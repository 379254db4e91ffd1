//! What a plan wants of a directory, as data: a list of independent operations.
//!
//! No operation lies below another one (a whole new or deleted subtree is one operation), so their
//! order does not matter; only [`Act::Meta`] may be about a directory that holds others. All paths
//! are relative to the root and lead through directories that were there when the plan began.

use super::text::{Bytes, Rel};
use crate::fs::{FileKind, Stat, Time};
use crate::id::{rfc3339, rfc3339_nanos};
use crate::sandbox::Changes;
use serde::{Deserialize, Serialize};

/// Version of the `sealed` and `redo` files.
pub(super) const FORMAT: u32 = 1;

/// The bits that `chmod` sets.
pub(super) const MODE_BITS: u32 = 0o7777;

/// The two set-id bits.
pub(super) const SET_ID: u32 = 0o6000;

/// What kind of thing an inode is; nothing else is ever committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum What {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
}

impl What {
    /// The kind, if it is one that can be committed.
    pub(super) fn of(kind: FileKind) -> Option<Self> {
        match kind {
            FileKind::File => Some(Self::File),
            FileKind::Directory => Some(Self::Directory),
            FileKind::Symlink => Some(Self::Symlink),
            _ => None,
        }
    }

    /// The word in a [`crate::sandbox::Change`].
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Symlink => "symlink",
        }
    }
}

/// One inode as it was seen: enough to know it again after it was renamed.
///
/// The time of change is no part of that, because a rename sets it; it only tells, before we
/// rename an original ourselves, whether anybody touched it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Image {
    /// Device number.
    pub(super) dev: u64,
    /// Inode number.
    pub(super) ino: u64,
    /// Kind of thing.
    pub(super) what: What,
    /// Length in bytes; 0 for a directory.
    pub(super) size: u64,
    /// Time of the last modification.
    pub(super) mtime: Time,
    /// Permission bits.
    pub(super) mode: u32,
    /// Time of the last change of an original at prepare, before anything moved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ctime: Option<Time>,
    /// For a directory that is moved as a whole: digest of everything below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tree: Option<String>,
}

impl Image {
    /// The image of what `stat` shows, without its subtree; `None` for a special file.
    pub(super) fn of(stat: &Stat) -> Option<Self> {
        let what = What::of(stat.kind)?;
        Some(Self {
            dev: stat.dev,
            ino: stat.ino,
            what,
            size: if what == What::Directory {
                0
            } else {
                stat.size
            },
            mtime: stat.mtime,
            mode: stat.mode & MODE_BITS,
            ctime: None,
            tree: None,
        })
    }

    /// True if `stat` shows the same inode, whatever became of it.
    pub(super) fn is_inode(&self, stat: &Stat) -> bool {
        (self.dev, self.ino) == (stat.dev, stat.ino)
    }

    /// True if `stat` shows the same inode, unmodified. The subtree is not looked at.
    pub(super) fn is_unmodified(&self, stat: &Stat) -> bool {
        Self::of(stat).is_some_and(|now| {
            now == Self {
                ctime: None,
                tree: None,
                ..self.clone()
            }
        })
    }

    /// For a conflict: what it is, how long and since when.
    pub(super) fn describe(&self) -> String {
        describe(self.what.word(), self.size, self.mtime, self.mode)
    }
}

/// For a conflict: what a thing is, how long and since when.
pub(super) fn describe(word: &str, size: u64, mtime: Time, mode: u32) -> String {
    let bytes = if size == 1 { "byte" } else { "bytes" };
    match word {
        "directory" => format!("a directory (mode {:04o})", mode & MODE_BITS),
        _ => format!(
            "a {word} of {size} {bytes}, modified at {} (mode {:04o})",
            moment(mtime),
            mode & MODE_BITS
        ),
    }
}

/// To the millisecond, which is what people compare; to the nanosecond before 1970.
fn moment((seconds, nanos): Time) -> String {
    match u64::try_from(seconds) {
        Ok(seconds) => rfc3339(seconds * 1_000 + u64::from(nanos / 1_000_000)),
        Err(_) => rfc3339_nanos(seconds, nanos),
    }
}

/// For a conflict: what `stat` shows.
pub(super) fn describe_stat(stat: Option<&Stat>) -> String {
    let Some(stat) = stat else {
        return "nothing".to_owned();
    };
    let word = match stat.kind {
        FileKind::File => "file",
        FileKind::Directory => "directory",
        FileKind::Symlink => "symlink",
        _ => "special file",
    };
    describe(word, stat.size, stat.mtime, stat.mode)
}

/// What can be set on a directory in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Attributes {
    /// Permission bits.
    pub(super) mode: u32,
    /// Extended attributes, sorted by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) xattrs: Vec<(Bytes, Bytes)>,
}

/// What is done at one path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "kebab-case")]
pub(super) enum Act {
    /// Nothing was there: slot `new/<slot>` is renamed into place.
    Create {
        /// Number of the slot.
        slot: u64,
        /// What waits in the slot.
        staged: Image,
    },
    /// Slot `new/<slot>` and the original change places.
    Replace {
        /// Number of the slot.
        slot: u64,
        /// What waits in the slot.
        staged: Image,
        /// The original.
        base: Image,
    },
    /// The original is renamed to `old/<slot>`.
    Delete {
        /// Number of the slot.
        slot: u64,
        /// The original.
        base: Image,
    },
    /// Mode and attributes of a directory that stays.
    Meta {
        /// Number of the slot: an empty file `old/<slot>` says that it was begun.
        slot: u64,
        /// The directory.
        base: Image,
        /// What it has; filled in by prepare.
        old: Attributes,
        /// What it gets.
        new: Attributes,
    },
}

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Op {
    /// Where; empty (the root) only for [`Act::Meta`].
    pub(super) path: Rel,
    /// Device and inode of the directory that holds it; of the directory itself for
    /// [`Act::Meta`].
    pub(super) parent: (u64, u64),
    /// What.
    #[serde(flatten)]
    pub(super) act: Act,
}

impl Op {
    /// What is there when the plan has its way, for a conflict.
    pub(super) fn ours(&self) -> String {
        match &self.act {
            Act::Create { staged, .. } | Act::Replace { staged, .. } => staged.describe(),
            Act::Delete { .. } => "nothing".to_owned(),
            Act::Meta { base, new, .. } => describe("directory", 0, base.mtime, new.mode),
        }
    }

    /// What the plan started from, for a conflict.
    pub(super) fn base(&self) -> String {
        match &self.act {
            Act::Create { .. } => "nothing".to_owned(),
            Act::Replace { base, .. } | Act::Delete { base, .. } | Act::Meta { base, .. } => {
                base.describe()
            }
        }
    }
}

/// The modification time of a directory in which operations take place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DirTime {
    /// Where.
    pub(super) path: Rel,
    /// Device and inode.
    pub(super) id: (u64, u64),
    /// What it had at prepare: `take_back` restores it.
    pub(super) old: Time,
    /// What the plan's own directory has; `None` if somebody else changed the real one since the
    /// plan began, whose time is then not known to be older.
    pub(super) new: Option<Time>,
}

/// What `seal` froze: the file `sealed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SealedFile {
    /// [`FORMAT`].
    pub(super) version: u32,
    /// The operations.
    pub(super) ops: Vec<Op>,
    /// Modification times that the plan's directories have, for the directories that hold
    /// operations.
    pub(super) times: Vec<DirTime>,
    /// What the plan is told.
    pub(super) changes: Changes,
    /// How many inodes are staged.
    pub(super) inodes: u64,
    /// How many bytes of content are staged.
    pub(super) bytes: u64,
    /// BLAKE3 of paths, acts, metadata and contents; free of inode numbers, so that equal work has
    /// an equal digest.
    pub(super) digest: String,
}

/// What `apply` and `take_back` need: the file `redo`, made durable by `prepare`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RedoFile {
    /// [`FORMAT`].
    pub(super) version: u32,
    /// The operations in the order of execution, with the digests of displaced subtrees.
    pub(super) ops: Vec<Op>,
    /// The directories whose modification time is set.
    pub(super) times: Vec<DirTime>,
}

/// The text of a [`crate::sandbox::Redo`]: it names the file `redo` by its digest.
///
/// The operations themselves are in the sandbox's place and not in the journal: a plan of a
/// hundred thousand files would make the one durable decision a write of many megabytes, and the
/// staged content without which they mean nothing is there anyway. The digest ties the two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RedoText {
    /// [`FORMAT`].
    pub(super) version: u32,
    /// How many operations there are, for people.
    pub(super) ops: u64,
    /// BLAKE3 of the file, in hex.
    pub(super) digest: String,
}
