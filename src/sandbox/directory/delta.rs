//! What of the scan is a change, and of which kind: the list that `diff` shows and `seal` stages.

use super::ends::Tree;
use super::listing::Listing;
use super::manifest::{Entry, LeftOut, Manifest, Signature};
use super::ops::{MODE_BITS, SET_ID};
use super::restored::Restored;
use super::scan::{Difference, Touched, scan};
use super::text::Rel;
use crate::error::{Fault, ParticipantError};
use crate::fs::{self, Dir, FileKind, Stat};
use crate::sandbox::{Action, Changes, Outcome, Work};
use std::collections::{HashMap, HashSet};
use std::fs::File;

/// What is to be done at one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Something where nothing was.
    Create,
    /// Something else where something was.
    Replace,
    /// Nothing where something was.
    Delete,
    /// The same directory with other attributes.
    Meta,
}

/// One place that the plan changed.
#[derive(Debug)]
pub(super) struct Item {
    /// Where.
    pub(super) path: Rel,
    /// What the scan says.
    pub(super) touched: Touched,
    /// What is to be done.
    pub(super) kind: Kind,
}

/// Everything that the plan changed.
#[derive(Debug, Default)]
pub(super) struct Delta {
    /// The places; parents before children.
    pub(super) items: Vec<Item>,
    /// The same for people.
    pub(super) changes: Changes,
}

/// What a delta is made from.
#[derive(Debug)]
pub(super) struct Sides<'a> {
    /// The plan's own tree.
    pub(super) view: &'a Dir,
    /// The real tree, if it is still the one.
    pub(super) tree: Option<Tree>,
    /// What the plan started from.
    pub(super) manifest: &'a Manifest,
    /// What a take-back put back.
    pub(super) restored: &'a Restored,
}

/// Finds out what the plan changed.
///
/// # Errors
/// [`Fault::Refused`] naming what cannot be committed.
pub(super) fn delta(mut sides: Sides<'_>, work: &Work<'_>) -> Outcome<Delta> {
    let found = scan(sides.view, sides.manifest, work)?;
    let mut items = Vec::new();
    let mut same = Vec::new();
    for touched in found.touched {
        let path = path_of(sides.manifest, &touched)?;
        let entry = touched.was.and_then(|was| sides.manifest.get(was));
        check(&path, &touched, entry)?;
        let kind = sides.decide(&path, &touched, entry)?;
        let (list, kind) = match kind {
            Some(kind) => (&mut items, kind),
            // Wanted only if it has another name that changes.
            None => (&mut same, Kind::Replace),
        };
        list.push(Item {
            path,
            touched,
            kind,
        });
    }
    let mut listing = Listing::new(sides.manifest, found.ignored);
    for item in &items {
        listing.add(sides.view, item, work)?;
    }
    promote(&mut items, same, &mut listing);
    note_links(&items, sides.manifest, &mut listing);
    Ok(Delta {
        items,
        changes: listing.finish(),
    })
}

fn path_of(manifest: &Manifest, touched: &Touched) -> Outcome<Rel> {
    let path = if touched.name.is_empty() {
        manifest.path_of(touched.parent)
    } else {
        manifest.path_in(touched.parent, &touched.name)
    };
    Rel::new(&path)
        .ok_or_else(|| ParticipantError::new(Fault::Corrupt, "a manifest with an impossible name"))
}

/// Refuses what cannot be committed.
fn check(path: &Rel, touched: &Touched, entry: Option<&Entry>) -> Outcome<()> {
    let refuse =
        |message: String| Err(ParticipantError::new(Fault::Refused, message).at(path.as_path()));
    if let Some(now) = &touched.now {
        refuse_special(path.as_path(), now)?;
        let had = entry
            .filter(|entry| entry.base.kind == FileKind::File && entry.left_out.is_none())
            .map_or(0, |entry| entry.base.mode & SET_ID);
        refuse_set_id(path.as_path(), now, had)?;
    }
    if touched.kind == Difference::Added
        && let Some(left_out) = entry.and_then(|entry| entry.left_out)
    {
        return refuse(format!(
            "the real directory has {} of this name, which is not part of the sandbox",
            word(left_out)
        ));
    }
    if touched.left_out_was > 0 {
        return refuse(format!(
            "the real directory holds {} entries here that are not part of the sandbox (excluded \
             names, special files or mounts); removing it would destroy them",
            touched.left_out_was
        ));
    }
    Ok(())
}

fn word(left_out: LeftOut) -> &'static str {
    match left_out {
        LeftOut::Special(kind) => kind.word(),
        LeftOut::NestedMount => "a mount",
        LeftOut::Excluded => "something excluded",
    }
}

/// Refuses pipes, sockets and devices.
pub(super) fn refuse_special(path: &std::path::Path, now: &Stat) -> Outcome<()> {
    if now.kind.is_ordinary() {
        return Ok(());
    }
    let message = format!("a {} cannot be committed", now.kind.word());
    Err(ParticipantError::new(Fault::Refused, message).at(path))
}

/// Refuses set-id bits on a file beyond those it `had`.
pub(super) fn refuse_set_id(path: &std::path::Path, now: &Stat, had: u32) -> Outcome<()> {
    if now.kind == FileKind::File && now.mode & SET_ID & !had != 0 {
        return Err(ParticipantError::new(
            Fault::Refused,
            "a plan cannot make a file set-user-id or set-group-id",
        )
        .at(path));
    }
    Ok(())
}

impl Sides<'_> {
    /// What is to be done at a touched place; `None` if it equals the base after all.
    fn decide(
        &mut self,
        path: &Rel,
        touched: &Touched,
        entry: Option<&Entry>,
    ) -> Outcome<Option<Kind>> {
        let (Some(entry), Some(now)) = (entry, &touched.now) else {
            return Ok(Some(match touched.now {
                Some(_) => Kind::Create,
                None => Kind::Delete,
            }));
        };
        match (touched.kind, now.kind) {
            (Difference::TypeChanged, _) => Ok(Some(Kind::Replace)),
            (_, FileKind::Directory) => {
                let stamped = now.mtime != entry.view.mtime && now.mtime != now.ctime;
                let same = now.mode == entry.view.mode && !stamped && {
                    let dir = open_view(self.view, path)?;
                    let digest = fs::xattr_digest(&dir);
                    digest.map_err(|e| at(path, e))? == entry.xattr_digest()
                };
                Ok((!same).then_some(Kind::Meta))
            }
            (_, FileKind::Symlink) => {
                let same = touched.kind == Difference::MetaOnly && now.mtime == entry.view.mtime;
                Ok((!same).then_some(Kind::Replace))
            }
            _ => {
                let same = self.is_same_file(path, now, entry)?;
                Ok((!same).then_some(Kind::Replace))
            }
        }
    }

    /// True if a touched file has the metadata and the content of its base. The content is read
    /// only if the metadata are the same, and taken for changed if the base is not as it was.
    fn is_same_file(&mut self, path: &Rel, now: &Stat, entry: &Entry) -> Outcome<bool> {
        let view = &entry.view;
        let seen = |mode: u32| mode & MODE_BITS & !SET_ID;
        if (now.size, now.mtime, seen(now.mode)) != (view.size, view.mtime, seen(view.mode)) {
            return Ok(false);
        }
        let Some((parent, name)) = path.split() else {
            return Ok(false);
        };
        let failed = |error| at(path, error);
        let ours = open_view(self.view, &parent)?
            .read_file(name)
            .map_err(failed)?;
        if fs::xattr_digest(&ours).map_err(failed)? != entry.xattr_digest() {
            return Ok(false);
        }
        let holder = self.manifest.get(entry.parent);
        let (Some(tree), Some(holder)) = (&mut self.tree, holder) else {
            return Ok(false);
        };
        let id = (holder.base.dev, holder.base.ino);
        let Ok(dir) = tree.enter(&parent, id) else {
            return Ok(false);
        };
        let Ok(theirs) = dir.read_file(name) else {
            return Ok(false);
        };
        let stat = fs::stat_file(&theirs).map_err(failed)?;
        if !self.restored.is_base(entry, &Signature::of(&stat)) {
            return Ok(false);
        }
        is_same_content(&ours, &theirs).map_err(failed)
    }
}

fn is_same_content(one: &File, other: &File) -> std::io::Result<bool> {
    Ok(fs::content_digest(one)? == fs::content_digest(other)?)
}

/// Opens a directory of the view.
pub(super) fn open_view(view: &Dir, path: &Rel) -> Outcome<Dir> {
    view.beneath(path.as_path())
        .map_err(|error| at(path, error))
}

fn at(path: &Rel, error: std::io::Error) -> ParticipantError {
    ParticipantError::io("read the sandbox", path.as_path(), error)
}

/// Makes changes of names that are as before but share their inode with one that changes, so that
/// they stay linked.
fn promote(items: &mut Vec<Item>, same: Vec<Item>, listing: &mut Listing<'_>) {
    let linked: HashSet<_> = items
        .iter()
        .filter_map(|item| item.touched.now.as_ref())
        .filter(|now| now.kind != FileKind::Directory && now.nlink > 1)
        .map(Stat::id)
        .chain(listing.linked())
        .collect();
    for item in same {
        let Some(now) = &item.touched.now else {
            continue;
        };
        if now.kind == FileKind::File && linked.contains(&now.id()) {
            listing.push(&item.path, Action::Modified, now);
            items.push(item);
        }
    }
}

/// Notes the originals that have names which stay behind, and the bits that are dropped.
fn note_links(items: &[Item], manifest: &Manifest, listing: &mut Listing<'_>) {
    let gone = |item: &&Item| matches!(item.kind, Kind::Replace | Kind::Delete);
    let base_of = |item: &Item| item.touched.was.and_then(|was| manifest.get(was));
    let mut names: HashMap<(u64, u64), u32> = HashMap::new();
    for entry in items.iter().filter(gone).filter_map(base_of) {
        *names.entry((entry.base.dev, entry.base.ino)).or_default() += 1;
    }
    for item in items.iter().filter(|item| item.kind == Kind::Replace) {
        let Some(entry) = base_of(item).filter(|entry| entry.base.kind == FileKind::File) else {
            continue;
        };
        let replaced = names.get(&(entry.base.dev, entry.base.ino)).copied();
        if entry.base.nlink > replaced.unwrap_or_default() {
            listing.note(format!(
                "link broken: {} has other names in the real directory, which keep the old content",
                item.path.shown()
            ));
        }
        if entry.base.mode & SET_ID != 0 {
            listing.note(format!(
                "set-id bits dropped: {} was changed by the plan",
                item.path.shown()
            ));
        }
    }
}
