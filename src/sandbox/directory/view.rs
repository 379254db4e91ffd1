//! Making the private view of a tree: a reflinked or plain copy, with its manifest.
//!
//! Two cursors go down the base and the view together. A directory is copied name by name first
//! and its subdirectories are entered afterwards, so that nothing but the way down is held in
//! memory besides the manifest itself. A directory gets its attributes, its final mode and its
//! times when it is left.

use super::exclude::Exclusions;
use super::manifest::{Entry, LeftOut, Manifest, Signature};
use super::notes::Notes;
use crate::error::{Fault, ParticipantError};
use crate::fs::{self, CopyWish, Cursor, FileKind, Stat};
use crate::sandbox::{Outcome, Work};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

/// How often a file that changes while it is copied is copied again.
const COPY_TRIES: usize = 5;

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
/// Kept are modes, modification times, links byte by byte, hard links inside the tree, carried
/// attributes, holes, empty directories and, where permitted, owners. Left out, with an entry and
/// a note, are special files, other mounts and excluded names; set-id bits and capabilities of
/// files are dropped with a note.
///
/// # Errors
/// [`Fault::Denied`] for what cannot be read, [`Fault::Unsupported`] if the pinned view cannot be
/// made here, [`Fault::Io`] for a file that never stands still, [`Fault::Interrupted`] on request.
/// What was made until then stays in `into`.
pub(crate) fn make_view(
    root: &fs::Dir,
    into: &fs::Dir,
    choice: ViewChoice,
    exclusions: &Exclusions,
    work: &Work<'_>,
) -> Outcome<(Manifest, ViewKind, Vec<String>)> {
    let failed = |error| ParticipantError::io("open the directory", root.path(), error);
    let root_stat = root.stat().map_err(failed)?;
    let mut maker = Maker {
        from: Cursor::new(root).map_err(failed)?,
        into: Cursor::new(into).map_err(failed)?,
        view_root: into,
        root_stat,
        wish: first_wish(root, into, &root_stat, choice)?,
        cloned: false,
        links: HashMap::new(),
        strangers: 0,
        notes: Notes::default(),
        work,
        manifest: Manifest {
            entries: vec![new_entry(0, OsStr::new(""), &root_stat)],
            exclusions: exclusions.clone(),
            boot: fs::boot_id_near(into.path()),
        },
    };
    let bare = fs::write_xattrs(into, &fs::Xattrs::default());
    bare.map_err(|error| ParticipantError::io("prepare the view", into.path(), error))?;
    maker.tree()?;
    maker.settle_links();
    let strangers = maker.strangers;
    if strangers > 0 {
        maker.notes.text(format!(
            "{strangers} entries have another owner or group in the view"
        ));
    }
    let kind = if maker.cloned {
        ViewKind::Reflink
    } else {
        ViewKind::Copy
    };
    let kind = match choice {
        ViewChoice::Pinned(kind) => kind,
        ViewChoice::Auto => kind,
    };
    Ok((maker.manifest, kind, maker.notes.finish()))
}

/// What to ask of the file system for the first file.
fn first_wish(
    root: &fs::Dir,
    into: &fs::Dir,
    root_stat: &Stat,
    choice: ViewChoice,
) -> Outcome<CopyWish> {
    match choice {
        ViewChoice::Auto => Ok(CopyWish::CloneOrCopy),
        ViewChoice::Pinned(ViewKind::Copy) => Ok(CopyWish::Copy),
        ViewChoice::Pinned(ViewKind::Reflink) => {
            let failed = |error| ParticipantError::io("probe for reflinks", into.path(), error);
            let near = into.stat().map_err(failed)?.dev == root_stat.dev;
            if near && into.probe_reflink().map_err(failed)? {
                return Ok(CopyWish::Clone);
            }
            let reason = if near {
                "a reflink view was asked for, but this file system cannot share blocks between files"
            } else {
                "a reflink view was asked for, but the store is on another file system than the directory"
            };
            Err(ParticipantError::new(Fault::Unsupported, reason).at(root.path()))
        }
    }
}

fn new_entry(parent: u32, name: &OsStr, stat: &Stat) -> Entry {
    let base = Signature::of(stat);
    Entry {
        parent,
        name: Box::from(name.as_bytes()),
        base,
        view: base,
        left_out: None,
        extra: None,
        children: 0..0,
    }
}

/// The names of one inode that have been met.
pub(super) struct Links {
    pub(super) first: u32,
    pub(super) others: Vec<u32>,
}

/// A directory being copied: which of its children to look at next.
struct Level {
    index: u32,
    next: u32,
}

pub(super) struct Maker<'a> {
    pub(super) from: Cursor,
    pub(super) into: Cursor,
    pub(super) view_root: &'a fs::Dir,
    root_stat: Stat,
    pub(super) wish: CopyWish,
    pub(super) cloned: bool,
    pub(super) links: HashMap<(u64, u64), Links>,
    /// How many entries could not be given to the owner they have in the base.
    pub(super) strangers: u64,
    notes: Notes,
    pub(super) work: &'a Work<'a>,
    pub(super) manifest: Manifest,
}

impl Maker<'_> {
    fn tree(&mut self) -> Outcome<()> {
        let mut levels = vec![self.fill(0)?];
        while let Some(level) = levels.last_mut() {
            let end = self.manifest.children(level.index).end;
            let below = (level.next..end).find(|at| {
                let entry = self.manifest.get(*at);
                entry.is_some_and(Entry::is_open_directory)
            });
            if let Some(below) = below {
                level.next = below + 1;
                self.enter(below)?;
                let level = self.fill(below)?;
                levels.push(level);
            } else {
                let index = level.index;
                levels.pop();
                self.finish(index)?;
            }
        }
        Ok(())
    }

    pub(super) fn failed(&self, action: &str, path: PathBuf, error: io::Error) -> ParticipantError {
        ParticipantError::io(action, self.from.dir().path().join(path), error)
    }

    pub(super) fn failed_at(&self, entry: &Entry, error: io::Error) -> ParticipantError {
        self.failed("copy", self.path(entry), error)
    }

    /// The path of an entry below the root.
    pub(super) fn path(&self, entry: &Entry) -> PathBuf {
        self.manifest.path_in(entry.parent, entry.name())
    }

    fn enter(&mut self, index: u32) -> Outcome<()> {
        let Some(entry) = self.manifest.get(index) else {
            return Ok(());
        };
        let entered = self
            .from
            .enter(entry.name())
            .and_then(|()| self.into.enter(entry.name()));
        entered.map_err(|e| self.failed("open a directory", self.manifest.path_of(index), e))
    }

    /// Copies the names of the directory `index`, in which both cursors are.
    fn fill(&mut self, index: u32) -> Outcome<Level> {
        let names = self.from.dir().entries();
        let names = names
            .map_err(|e| self.failed("read a directory", self.manifest.path_of(index), e))?
            .sorted();
        let first = self.next_index()?;
        for name in names {
            if let Some(entry) = self.place(index, &name)? {
                self.next_index()?;
                self.manifest.entries.push(entry);
                let children = first..self.next_index()?;
                if let Some(parent) = self.manifest.entries.get_mut(index as usize) {
                    parent.children = children;
                }
            }
            let done = self.manifest.entries.len() as u64;
            self.work.step(done, 0, "entries")?;
        }
        Ok(Level { index, next: first })
    }

    fn next_index(&self) -> Outcome<u32> {
        u32::try_from(self.manifest.entries.len()).map_err(|_| {
            ParticipantError::new(Fault::Refused, "a directory of more than 4294967295 names")
        })
    }

    /// Copies one name; `None` if it went away meanwhile.
    fn place(&mut self, parent: u32, name: &OsStr) -> Outcome<Option<Entry>> {
        for _ in 0..COPY_TRIES {
            let stat = self.from.dir().stat_at(name);
            let stat =
                stat.map_err(|e| self.failed("look at", self.manifest.path_in(parent, name), e))?;
            let Some(stat) = stat else {
                return Ok(None);
            };
            let mut entry = new_entry(parent, name, &stat);
            if let Some(reason) = self.reason_to_leave_out(name, &stat) {
                let note = match reason {
                    LeftOut::Special(kind) => format!("left out: a {}", kind.word()),
                    LeftOut::NestedMount => "left out: another mount".to_owned(),
                    LeftOut::Excluded => "left out: excluded by name".to_owned(),
                };
                self.note(&entry, &note);
                entry.left_out = Some(reason);
                return Ok(Some(entry));
            }
            let placed = match stat.kind {
                FileKind::Directory => {
                    let made = self.into.dir().make_dir(name, 0o700);
                    made.map(|()| true).map_err(|e| self.failed_at(&entry, e))?
                }
                FileKind::Symlink => self
                    .symlink(&mut entry, &stat)
                    .map_err(|e| self.failed_at(&entry, e))?,
                _ => self.file(&mut entry, &stat)?,
            };
            if placed {
                return Ok(Some(entry));
            }
        }
        Err(ParticipantError::new(
            Fault::Io,
            format!("it changed {COPY_TRIES} times while it was being copied"),
        )
        .at(self
            .from
            .dir()
            .path()
            .join(self.manifest.path_in(parent, name))))
    }

    pub(super) fn note(&mut self, entry: &Entry, what: &str) {
        let manifest = &self.manifest;
        self.notes
            .add(what, || manifest.path_in(entry.parent, entry.name()));
    }

    fn reason_to_leave_out(&self, name: &OsStr, stat: &Stat) -> Option<LeftOut> {
        if self.manifest.exclusions.excludes(name) {
            Some(LeftOut::Excluded)
        } else if !stat.same_mount(&self.root_stat) {
            Some(LeftOut::NestedMount)
        } else if !stat.kind.is_ordinary() {
            Some(LeftOut::Special(stat.kind))
        } else {
            None
        }
    }
}
