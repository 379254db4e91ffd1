//! Changes for people: every entry of every new or removed tree, in bounded memory.

use super::delta::{Item, Kind, refuse_set_id, refuse_special};
use super::manifest::Manifest;
use super::text::Rel;
use super::tree::{Go, Visit, Visitor, walk};
use crate::error::ParticipantError;
use crate::fs::{Dir, FileKind, Stat};
use crate::sandbox::{Action, Change, Changes, Outcome, Work};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Longest path that is listed, in bytes: the longest that Linux takes in one call. What is deeper
/// is committed like the rest and counted; listing it would cost the square of the depth.
const LISTED_BYTES: usize = 4096;

/// The listing in the making.
#[derive(Debug)]
pub(super) struct Listing<'a> {
    manifest: &'a Manifest,
    changes: Changes,
    unlisted: u64,
    ignored: u64,
    linked: Vec<(u64, u64)>,
}

impl<'a> Listing<'a> {
    /// Nothing yet; the scan left `ignored` names out.
    pub(super) fn new(manifest: &'a Manifest, ignored: u64) -> Self {
        Self {
            manifest,
            changes: Changes::default(),
            unlisted: 0,
            ignored,
            linked: Vec::new(),
        }
    }

    /// Inodes with several names that are in new trees.
    pub(super) fn linked(&self) -> impl Iterator<Item = (u64, u64)> {
        self.linked.iter().copied()
    }

    /// Adds a note.
    pub(super) fn note(&mut self, note: String) {
        self.changes.notes.push(note);
    }

    /// Adds one change.
    pub(super) fn push(&mut self, path: &Rel, action: Action, stat: &Stat) {
        self.entry(path.as_path(), action, (stat.kind, stat.size));
    }

    fn entry(&mut self, path: &Path, action: Action, (kind, size): (FileKind, u64)) {
        if path.as_os_str().len() > LISTED_BYTES {
            self.unlisted += 1;
            return;
        }
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        let brings = kind == FileKind::File && action != Action::Removed;
        let bytes = if brings { size } else { 0 };
        let change = Change::new(path, action, kind.word(), bytes);
        self.changes.entries.push(change);
    }

    /// Adds the changes of an item, with what is below it in the view and was below it in the
    /// base.
    ///
    /// # Errors
    /// [`Fault::Refused`](crate::error::Fault::Refused) naming what cannot be committed.
    pub(super) fn add(&mut self, view: &Dir, item: &Item, work: &Work<'_>) -> Outcome<()> {
        let (was, now) = (item.touched.was, &item.touched.now);
        match (item.kind, now) {
            (Kind::Delete, _) | (_, None) => {
                if let Some(entry) = was.and_then(|was| self.manifest.get(was)) {
                    let what = (entry.base.kind, entry.base.size);
                    self.entry(item.path.as_path(), Action::Removed, what);
                }
            }
            (Kind::Create, Some(now)) => self.push(&item.path, Action::Added, now),
            (Kind::Replace | Kind::Meta, Some(now)) => {
                self.push(&item.path, Action::Modified, now);
            }
        }
        if matches!(item.kind, Kind::Delete | Kind::Replace)
            && let Some(was) = was
        {
            self.removed(was);
        }
        if matches!(item.kind, Kind::Create | Kind::Replace)
            && now.is_some_and(|now| now.kind == FileKind::Directory)
        {
            self.added(view, item, work)?;
        }
        Ok(())
    }

    /// What was below entry `top` of the base.
    fn removed(&mut self, top: u32) {
        let mut levels = vec![(self.manifest.children(top), self.manifest.path_of(top))];
        while let Some((range, path)) = levels.last_mut() {
            let Some(at) = range.next() else {
                levels.pop();
                continue;
            };
            let Some(entry) = self.manifest.get(at) else {
                continue;
            };
            if path.as_os_str().len() + entry.name.len() >= LISTED_BYTES {
                self.unlisted += self.manifest.totals(at).entries;
                continue;
            }
            let path = path.join(entry.name());
            let what = (entry.base.kind, entry.base.size);
            self.entry(&path, Action::Removed, what);
            levels.push((self.manifest.children(at), path));
        }
    }

    /// What is below a new directory of the view.
    fn added(&mut self, view: &Dir, item: &Item, work: &Work<'_>) -> Outcome<()> {
        let top = view.beneath(item.path.as_path()).map_err(|error| {
            ParticipantError::io("read the sandbox", item.path.as_path(), error)
        })?;
        let mut seen = Added {
            listing: self,
            top: item.path.as_path(),
            work,
            done: 0,
        };
        walk(top, &mut seen)
    }

    /// The changes, sorted.
    pub(super) fn finish(mut self) -> Changes {
        if self.ignored > 0 {
            self.note(format!(
                "{} names in the sandbox are excluded and left out",
                self.ignored
            ));
        }
        if self.unlisted > 0 {
            self.changes.unlisted = self.unlisted;
            self.note(format!(
                "{} changed entries have paths of more than {LISTED_BYTES} bytes and are not listed",
                self.unlisted
            ));
        }
        self.changes.entries.sort_unstable();
        self.changes.notes.sort_unstable();
        self.changes
    }
}

struct Added<'l, 'm, 'w> {
    listing: &'l mut Listing<'m>,
    top: &'w Path,
    work: &'w Work<'w>,
    done: u64,
}

impl Visitor for Added<'_, '_, '_> {
    fn entry(&mut self, visit: &Visit<'_>) -> Outcome<Go> {
        self.done += 1;
        self.work.step(self.done, 0, "entries")?;
        if self.listing.manifest.exclusions().excludes(visit.name) {
            self.listing.ignored += 1;
            return Ok(Go::Past);
        }
        let below = Path::new(OsStr::from_bytes(visit.path));
        let too_long = self.top.as_os_str().len() + visit.path.len() >= LISTED_BYTES;
        if too_long {
            let named = Path::new(visit.name);
            refuse_special(named, visit.stat)?;
            refuse_set_id(named, visit.stat, 0)?;
            self.listing.unlisted += 1;
        } else {
            let path = self.top.join(below);
            refuse_special(&path, visit.stat)?;
            refuse_set_id(&path, visit.stat, 0)?;
            let what = (visit.stat.kind, visit.stat.size);
            self.listing.entry(&path, Action::Added, what);
        }
        if visit.stat.kind == FileKind::File && visit.stat.nlink > 1 {
            self.listing.linked.push(visit.stat.id());
        }
        Ok(Go::Into)
    }
}
