//! The base manifest: what a tree looked like when its sandbox was opened.
//!
//! It is a tree itself: an entry knows its parent's index and its own name, so that 20,000 levels
//! cost 20,000 names and not the square of it. The children of a directory stand side by side,
//! sorted by name; a parent stands before its children.

use super::exclude::Exclusions;
use crate::fs::{FileKind, Stat, Time};
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

/// A base change within this time before it was seen may be followed by another one that leaves
/// the same time stamps; the content is hashed then. Older kernels stamp once per tick, at most
/// 10 ms long.
pub(crate) const RACY_MS: u64 = 10;

/// What tells whether an inode is still as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Signature {
    /// Device.
    pub(crate) dev: u64,
    /// Inode.
    pub(crate) ino: u64,
    /// Kind.
    pub(crate) kind: FileKind,
    /// Permission bits with set-id and sticky bits.
    pub(crate) mode: u32,
    /// Owner.
    pub(crate) uid: u32,
    /// Group.
    pub(crate) gid: u32,
    /// Number of names.
    pub(crate) nlink: u32,
    /// Bytes.
    pub(crate) size: u64,
    /// When the content changed.
    pub(crate) mtime: Time,
    /// When anything changed.
    pub(crate) ctime: Time,
}

impl Signature {
    /// The signature of what `stat` describes.
    #[must_use]
    pub(crate) fn of(stat: &Stat) -> Self {
        Self {
            dev: stat.dev,
            ino: stat.ino,
            kind: stat.kind,
            mode: stat.mode,
            uid: stat.uid,
            gid: stat.gid,
            nlink: stat.nlink,
            size: stat.size,
            mtime: stat.mtime,
            ctime: stat.ctime,
        }
    }

    /// True if nothing happened to the inode between the two: same device, inode, kind, size,
    /// times and mode.
    #[must_use]
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (self.dev, self.ino, self.kind, self.mode, self.size)
            == (other.dev, other.ino, other.kind, other.mode, other.size)
            && self.mtime == other.mtime
            && self.ctime == other.ctime
    }

    /// True if nothing but the time of the last change of status is different: a link was made, an
    /// attribute or the mode was set (and perhaps set back), or the content was written and its
    /// time set back.
    #[must_use]
    pub(crate) fn differs_in_status_time(&self, other: &Self) -> bool {
        self.ctime != other.ctime
            && (self.uid, self.gid) == (other.uid, other.gid)
            && self.is_same(&Self {
                ctime: self.ctime,
                ..*other
            })
    }

    /// True if the last change is so near to `seen_unix_ms` that the next one may look the same.
    #[must_use]
    pub(crate) fn is_racy(&self, seen_unix_ms: u64) -> bool {
        let seconds = i128::from(self.ctime.0) * 1_000;
        let changed = seconds + i128::from(self.ctime.1 / 1_000_000);
        changed + i128::from(RACY_MS) >= i128::from(seen_unix_ms)
    }
}

/// Why an entry of the base is not in the view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeftOut {
    /// A pipe, socket or device.
    Special(FileKind),
    /// The root of another mount or file system.
    NestedMount,
    /// Its name is excluded.
    Excluded,
}

/// What few entries have; boxed, so that the others stay small.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Extra {
    /// Target of a link.
    pub(crate) link_target: Option<Box<[u8]>>,
    /// Digest of the extended attributes.
    pub(crate) xattr_digest: Option<[u8; 32]>,
    /// Digest of the content of a file.
    pub(crate) content_digest: Option<[u8; 32]>,
    /// True if the file changed just before it was copied: its signature alone cannot be trusted.
    pub(crate) racy: bool,
}

/// One name of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Index of the directory it is in; 0 for the root itself.
    pub(crate) parent: u32,
    /// Its name; empty for the root.
    pub(crate) name: Box<[u8]>,
    /// What it was in the base.
    pub(crate) base: Signature,
    /// What it was in the view when that was made; equal to `base` if it was left out.
    pub(crate) view: Signature,
    /// Why it is not in the view, if so.
    pub(crate) left_out: Option<LeftOut>,
    pub(super) extra: Option<Box<Extra>>,
    pub(super) children: Range<u32>,
}

impl Entry {
    /// Its name.
    #[must_use]
    pub(crate) fn name(&self) -> &OsStr {
        OsStr::from_bytes(&self.name)
    }

    /// The target, if it is a link.
    #[must_use]
    pub(crate) fn link_target(&self) -> Option<&OsStr> {
        let target = self.extra.as_ref()?.link_target.as_ref()?;
        Some(OsStr::from_bytes(target))
    }

    /// Digest of its extended attributes; `None` if it had none.
    #[must_use]
    pub(crate) fn xattr_digest(&self) -> Option<[u8; 32]> {
        self.extra.as_ref()?.xattr_digest
    }

    /// BLAKE3 of its content, if it is a file that was not too large to be read for that.
    #[must_use]
    pub(crate) fn content_digest(&self) -> Option<[u8; 32]> {
        self.extra.as_ref()?.content_digest
    }

    /// BLAKE3 of its content, if it is a file whose signature alone cannot be trusted.
    #[must_use]
    pub(crate) fn racy_digest(&self) -> Option<[u8; 32]> {
        let extra = self.extra.as_ref()?;
        extra.content_digest.filter(|_| extra.racy)
    }

    /// True if it is a directory of the view.
    #[must_use]
    pub(crate) fn is_open_directory(&self) -> bool {
        self.left_out.is_none() && self.base.kind == FileKind::Directory
    }
}

/// A whole tree; entry 0 is its root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(super) entries: Vec<Entry>,
    pub(super) exclusions: Exclusions,
    pub(super) boot: String,
}

/// What a subtree amounts to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Names, the top included; without what was left out.
    pub(crate) entries: u64,
    /// Bytes of the files.
    pub(crate) bytes: u64,
    /// Names that are not in the view.
    pub(crate) left_out: u64,
}

impl Manifest {
    /// All entries, the root first.
    #[must_use]
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry at `index`.
    #[must_use]
    pub(crate) fn get(&self, index: u32) -> Option<&Entry> {
        self.entries.get(index as usize)
    }

    /// The names that were left out.
    #[must_use]
    pub(crate) fn exclusions(&self) -> &Exclusions {
        &self.exclusions
    }

    /// The boot in which the view was made, empty if unknown. A view that nobody synced cannot be
    /// trusted in a later boot: what the crash took looks like the plan's work.
    #[must_use]
    pub(crate) fn boot(&self) -> &str {
        &self.boot
    }

    /// Indices of what is in the directory `index`, sorted by name.
    #[must_use]
    pub(crate) fn children(&self, index: u32) -> Range<u32> {
        self.get(index).map_or(0..0, |entry| entry.children.clone())
    }

    /// The entry called `name` in the directory `index`.
    #[must_use]
    pub(crate) fn child(&self, index: u32, name: &OsStr) -> Option<u32> {
        let range = self.children(index);
        let slice = self.entries.get(range.start as usize..range.end as usize)?;
        let at = slice
            .binary_search_by(|entry| (*entry.name).cmp(name.as_bytes()))
            .ok()?;
        u32::try_from(at).ok().map(|at| range.start + at)
    }

    /// The entry at a path below the root; the empty path is the root.
    #[must_use]
    pub(crate) fn lookup(&self, path: &Path) -> Option<u32> {
        path.components()
            .try_fold(0, |at, component| match component {
                Component::Normal(name) => self.child(at, name),
                _ => None,
            })
    }

    /// The names on the way from the root to `index`.
    #[must_use]
    pub(crate) fn names_of(&self, index: u32) -> Vec<&OsStr> {
        let mut names = Vec::new();
        let mut at = index;
        while let Some(entry) = self.get(at).filter(|_| at != 0) {
            names.push(entry.name());
            at = entry.parent;
        }
        names.reverse();
        names
    }

    /// The path of `index` below the root; empty for the root.
    #[must_use]
    pub(crate) fn path_of(&self, index: u32) -> PathBuf {
        join(&self.names_of(index))
    }

    /// The path of `name` in the directory `index`.
    #[must_use]
    pub(crate) fn path_in(&self, index: u32, name: &OsStr) -> PathBuf {
        let mut names = self.names_of(index);
        names.push(name);
        join(&names)
    }

    /// What the subtree at `index` amounts to.
    #[must_use]
    pub(crate) fn totals(&self, index: u32) -> Totals {
        let mut totals = Totals::default();
        let mut pending = Vec::new();
        let mut range = index..index.saturating_add(1);
        loop {
            for entry in range.filter_map(|at| self.get(at)) {
                if entry.left_out.is_some() {
                    totals.left_out += 1;
                    continue;
                }
                totals.entries += 1;
                if entry.base.kind == FileKind::File {
                    totals.bytes = totals.bytes.saturating_add(entry.base.size);
                }
                if !entry.children.is_empty() {
                    pending.push(entry.children.clone());
                }
            }
            match pending.pop() {
                Some(next) => range = next,
                None => return totals,
            }
        }
    }
}

/// Joins names without looking at each other's bytes again and again.
fn join(names: &[&OsStr]) -> PathBuf {
    let mut path = OsString::with_capacity(names.iter().map(|name| name.len() + 1).sum());
    for (position, name) in names.iter().enumerate() {
        if position > 0 {
            path.push("/");
        }
        path.push(name);
    }
    PathBuf::from(path)
}
