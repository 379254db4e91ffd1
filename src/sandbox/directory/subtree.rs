//! A whole original, to be deleted or replaced, against the manifest: every name that was there
//! must be there unchanged, and nothing else.

use super::check::{only_status_moved, refuse_frozen};
use super::manifest::{Entry, Manifest, Signature};
use super::ops::{Op, describe_stat};
use super::restored::Restored;
use super::tree::{Go, TreeHash, Visit, Visitor, walk};
use crate::error::{Conflict, ParticipantError, Shown};
use crate::fs::{Dir, FileKind};
use crate::sandbox::{Outcome, Work};
use std::ffi::OsStr;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// What a subtree turned out to be.
#[derive(Debug)]
pub(super) struct Seen {
    /// Digest of its inodes: see [`TreeHash`].
    pub(super) digest: String,
    /// What differs from the manifest.
    pub(super) conflicts: Vec<Conflict>,
}

/// Compares the directory `name` of `dir` with entry `index` of the manifest.
pub(super) fn compare(
    (dir, name): (&Dir, &OsStr),
    (manifest, restored): (&Manifest, &Restored),
    (index, op): (u32, &Op),
    work: &Work<'_>,
) -> Outcome<Seen> {
    let top = dir
        .child(name)
        .map_err(|error| ParticipantError::io("open a directory", op.path.as_path(), error))?;
    let mut comparison = Comparison {
        manifest,
        restored,
        op,
        work,
        hash: TreeHash::default(),
        conflicts: Vec::new(),
        levels: vec![manifest.children(index)],
        done: 0,
    };
    walk(top, &mut comparison)?;
    comparison.close_level();
    Ok(Seen {
        digest: comparison.hash.finish(),
        conflicts: comparison.conflicts,
    })
}

/// Both sides are sorted by name, so that they are compared in step.
struct Comparison<'a> {
    manifest: &'a Manifest,
    restored: &'a Restored,
    op: &'a Op,
    work: &'a Work<'a>,
    hash: TreeHash,
    conflicts: Vec<Conflict>,
    /// For each open directory, the entries that were not met yet.
    levels: Vec<Range<u32>>,
    done: u64,
}

impl Comparison<'_> {
    fn differs(&mut self, path: &Path, base: String, theirs: String) {
        let ours = "nothing, or something else in its place".to_owned();
        let shown = Shown(path).to_string();
        self.conflicts
            .push(Conflict::new(shown, base, theirs, ours));
    }

    fn path(&self, below: &[u8]) -> PathBuf {
        self.op.path.as_path().join(OsStr::from_bytes(below))
    }

    fn gone(&mut self, index: u32) {
        let path = self.manifest.path_of(index);
        self.differs(&path, self.describe(index), describe_stat(None));
    }

    fn describe(&self, index: u32) -> String {
        self.manifest.get(index).map_or_else(String::new, |entry| {
            super::ops::describe(
                entry.base.kind.word(),
                entry.base.size,
                entry.base.mtime,
                entry.base.mode,
            )
        })
    }

    /// The entry called `name` in the directory that is being walked; those before it are gone.
    fn expect(&mut self, name: &OsStr) -> Option<u32> {
        loop {
            let level = self.levels.last_mut()?;
            let index = level.start;
            if level.start >= level.end {
                return None;
            }
            let entry = self.manifest.get(index)?;
            match entry.name().cmp(name) {
                std::cmp::Ordering::Greater => return None,
                std::cmp::Ordering::Equal => {
                    level.start += 1;
                    return Some(index);
                }
                std::cmp::Ordering::Less => {
                    level.start += 1;
                    self.gone(index);
                }
            }
        }
    }

    fn close_level(&mut self) {
        for index in self.levels.pop().unwrap_or_default() {
            self.gone(index);
        }
    }

    fn entry_differs(&self, index: u32, visit: &Visit<'_>) -> Outcome<bool> {
        let Some(entry) = self.manifest.get(index) else {
            return Ok(true);
        };
        if entry.left_out.is_some() {
            return Ok(true);
        }
        let known = self.restored.is_base(entry, &Signature::of(visit.stat))
            || only_status_moved(visit.dir, visit.name, (entry, visit.stat))?;
        Ok(!known)
    }
}

impl Visitor for Comparison<'_> {
    fn entry(&mut self, visit: &Visit<'_>) -> Outcome<Go> {
        self.done += 1;
        self.work.step(self.done, 0, "entries")?;
        if visit.stat.immutable || visit.stat.append_only {
            refuse_frozen(visit.stat, &self.path(visit.path))?;
        }
        self.hash.add(visit.name, visit.stat);
        let Some(index) = self.expect(visit.name) else {
            let path = self.path(visit.path);
            self.differs(&path, describe_stat(None), describe_stat(Some(visit.stat)));
            return Ok(Go::Past);
        };
        if self.entry_differs(index, visit)? {
            let path = self.path(visit.path);
            self.differs(&path, self.describe(index), describe_stat(Some(visit.stat)));
            return Ok(Go::Past);
        }
        if let Some(digest) = self.manifest.get(index).and_then(Entry::racy_digest)
            && super::check::hash_of(visit.dir, visit.name)? != digest
        {
            let theirs = "a file with other content and the same times".to_owned();
            let path = self.path(visit.path);
            self.differs(&path, self.describe(index), theirs);
        }
        if visit.stat.kind == FileKind::Directory {
            self.levels.push(self.manifest.children(index));
        }
        Ok(Go::Into)
    }

    fn leave(&mut self) -> Outcome<()> {
        self.close_level();
        self.hash.close();
        Ok(())
    }
}
