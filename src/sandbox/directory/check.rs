//! Comparing every touched pre-image with reality, before anything is decided.

use super::apply::{LENT, enter, foreign_slot, is};
use super::attributes;
use super::ends::{Astray, Ends, conflict, conflict_within, parent_conflict, split};
use super::manifest::{Entry, Manifest, Signature};
use super::ops::{Act, DirTime, Image, Op, SealedFile, What};
use super::restored::Restored;
use super::staging::slot;
use super::subtree;
use super::tree::differs;
use crate::error::{Conflict, Fault, ParticipantError};
use crate::fs::{Dir, FileKind, Stat};
use crate::sandbox::{Outcome, Work};
use rustix::io::Errno;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::path::Path;

/// What the check found.
#[derive(Debug)]
pub(super) struct Checked {
    /// The operations with everything that apply needs.
    pub(super) ops: Vec<Op>,
    /// The times of the directories, as they are now and as they are to be.
    pub(super) times: Vec<DirTime>,
    /// What somebody else changed; nothing may be applied unless this is empty.
    pub(super) conflicts: Vec<Conflict>,
}

/// Checks all of `sealed` against the real tree and the staging.
///
/// # Errors
/// [`Fault::Denied`] for what the system would refuse, [`Fault::Refused`] for a mount in the way,
/// [`Fault::Lost`] if the staging is not what was sealed.
pub(super) fn check(
    ends: &mut Ends,
    sealed: &SealedFile,
    (manifest, restored): (&Manifest, &Restored),
    work: &Work<'_>,
) -> Outcome<Checked> {
    let becoming_writable = sealed
        .ops
        .iter()
        .filter(|op| matches!(op.act, Act::Meta { .. }))
        .map(|op| op.parent)
        .collect();
    let mut checker = Checker {
        manifest,
        restored,
        becoming_writable,
        conflicts: Vec::new(),
        work,
    };
    let mut ops = sealed.ops.clone();
    let total = ops.len() as u64;
    for (done, op) in (1..).zip(&mut ops) {
        is_staged(ends, op)?;
        checker.operation(ends, op)?;
        work.step(done, total, "entries")?;
    }
    forget_shared_ctimes(&mut ops);
    let times = sealed
        .times
        .iter()
        .filter_map(|dir| time_now(ends, dir))
        .collect();
    Ok(Checked {
        ops,
        times,
        conflicts: checker.conflicts,
    })
}

/// The time of a directory now, and the one it is to get: the plan's, unless somebody else changed
/// the directory too.
fn time_now(ends: &mut Ends, sealed: &DirTime) -> Option<DirTime> {
    let dir = ends.tree.enter(&sealed.path, sealed.id).ok()?;
    let now = dir.stat().ok()?.mtime;
    let new = if now == sealed.old {
        sealed.new
    } else if sealed.new == Some(sealed.old) {
        Some(now)
    } else {
        None
    };
    Some(DirTime {
        path: sealed.path.clone(),
        id: sealed.id,
        old: now,
        new,
    })
}

struct Checker<'a> {
    manifest: &'a Manifest,
    restored: &'a Restored,
    becoming_writable: HashSet<(u64, u64)>,
    conflicts: Vec<Conflict>,
    work: &'a Work<'a>,
}

impl Checker<'_> {
    fn operation(&mut self, ends: &mut Ends, op: &mut Op) -> Outcome<()> {
        if let Act::Meta { .. } = op.act {
            return self.meta(ends, op);
        }
        let full = ends.tree.full(&op.path);
        let (parent, name) = split(op)?;
        let name = name.to_owned();
        let dir = match ends.tree.enter(&parent, op.parent) {
            Ok(dir) => dir,
            Err(Astray::Changed(now)) => {
                self.conflicts.push(parent_conflict(op, now));
                return Ok(());
            }
            Err(astray) => return Err(astray.into_error(op)),
        };
        let failed = |error| ParticipantError::io("look at a name of the directory", &full, error);
        let holder = dir.stat().map_err(failed)?;
        let now = dir.stat_at(&name).map_err(failed)?;
        // Freezing something changes it too, and the reason says more than the conflict.
        if !self.becoming_writable.contains(&op.parent) {
            may_change(dir, &holder, &full)?;
        }
        if let Some(stat) = &now
            && !matches!(op.act, Act::Create { .. })
        {
            if !stat.same_mount(&holder) {
                return Err(mounted(&full));
            }
            may_move(dir, &name, (&holder, stat), &full)?;
        }
        match (&op.act, &now) {
            (Act::Create { .. }, None) => {}
            (Act::Create { .. }, Some(_)) | (_, None) => {
                self.conflicts.push(conflict(op, now.as_ref()));
            }
            (_, Some(stat)) => match self.original(dir, &name, (op, stat))? {
                Ok(image) => set_base(op, image),
                Err(conflicts) => self.conflicts.extend(conflicts),
            },
        }
        Ok(())
    }

    fn entry(&self, op: &Op) -> Outcome<(u32, &Entry)> {
        let index = self.manifest.lookup(op.path.as_path());
        index
            .and_then(|index| Some((index, self.manifest.get(index)?)))
            .ok_or_else(|| {
                ParticipantError::new(Fault::Corrupt, "an operation on what was never there")
                    .at(op.path.as_path())
            })
    }

    /// The original as it is now, with its subtree; `None` if it is not the one the plan knew.
    fn original(
        &self,
        dir: &Dir,
        name: &OsStr,
        (op, stat): (&Op, &Stat),
    ) -> Outcome<Result<Image, Vec<Conflict>>> {
        let (index, entry) = self.entry(op)?;
        let known = self.restored.is_base(entry, &Signature::of(stat))
            || only_status_moved(dir, name, (entry, stat))?;
        if !known {
            return Ok(Err(vec![conflict(op, Some(stat))]));
        }
        if let Some(digest) = entry.racy_digest()
            && hash_of(dir, name)? != digest
        {
            let theirs = "a file with other content and the same times".to_owned();
            return Ok(Err(vec![conflict_within(op, theirs)]));
        }
        let mut image = Image::of(stat).ok_or_else(|| {
            ParticipantError::new(Fault::Corrupt, "a manifest with a special file in it")
        })?;
        image.ctime = Some(stat.ctime);
        if image.what == What::Directory {
            let sides = (self.manifest, self.restored);
            let seen = subtree::compare((dir, name), sides, (index, op), self.work)?;
            if !seen.conflicts.is_empty() {
                return Ok(Err(seen.conflicts));
            }
            image.tree = Some(seen.digest);
        }
        Ok(Ok(image))
    }

    fn meta(&mut self, ends: &mut Ends, op: &mut Op) -> Outcome<()> {
        let full = ends.tree.full(&op.path);
        let failed = |error| ParticipantError::io("look at a directory", &full, error);
        let dir = match ends.tree.enter(&op.path, op.parent) {
            Err(Astray::Changed(now)) => {
                self.conflicts.push(parent_conflict(op, now));
                return Ok(());
            }
            found => enter(found, op)?,
        };
        let stat = dir.stat().map_err(failed)?;
        let now = attributes::read(dir).map_err(failed)?;
        refuse_frozen(&stat, &full)?;
        let (_, entry) = self.entry(op)?;
        let digest = crate::fs::xattr_digest(dir).map_err(failed)?;
        if stat.mode != entry.base.mode || digest != entry.xattr_digest() {
            self.conflicts.push(conflict(op, Some(&stat)));
            return Ok(());
        }
        let us = rustix::process::geteuid().as_raw();
        if us != 0 && us != stat.uid {
            return Err(denied("only its owner can set the mode of a directory").at(full));
        }
        if let Act::Meta { old, .. } = &mut op.act {
            *old = now;
        }
        Ok(())
    }
}

/// The staged content is still what was sealed.
fn is_staged(ends: &Ends, op: &Op) -> Outcome<()> {
    let (Act::Create { slot: n, staged }
    | Act::Replace {
        slot: n, staged, ..
    }) = &op.act
    else {
        return Ok(());
    };
    let name = slot(*n);
    match differs(&ends.staging.new, OsStr::new(&name), staged, LENT)? {
        None => Ok(()),
        Some(_) => Err(foreign_slot(&name)),
    }
}

/// An original with several names that all go is changed by our own first rename of it.
fn forget_shared_ctimes(ops: &mut [Op]) {
    let mut seen: HashMap<(u64, u64), u32> = HashMap::new();
    for op in ops.iter() {
        if let Act::Replace { base, .. } | Act::Delete { base, .. } = &op.act {
            *seen.entry((base.dev, base.ino)).or_default() += 1;
        }
    }
    for op in ops {
        if let Act::Replace { base, .. } | Act::Delete { base, .. } = &mut op.act
            && seen.get(&(base.dev, base.ino)) != Some(&1)
        {
            base.ctime = None;
        }
    }
}

/// Fills in the original as it is now.
fn set_base(op: &mut Op, image: Image) {
    if let Act::Replace { base, .. } | Act::Delete { base, .. } = &mut op.act {
        *base = image;
    }
}

/// True if the file has another time of status change than `entry`, but the same content and
/// attributes: somebody set and cleared a flag, or made a link.
pub(super) fn only_status_moved(
    dir: &Dir,
    name: &OsStr,
    (entry, stat): (&Entry, &Stat),
) -> Outcome<bool> {
    let Some(digest) = entry.content_digest() else {
        return Ok(false);
    };
    if !entry.base.differs_in_status_time(&Signature::of(stat)) {
        return Ok(false);
    }
    let read = || {
        let file = dir.read_file(name)?;
        let attributes = crate::fs::xattr_digest(&file)?;
        Ok((attributes, crate::fs::content_digest(&file)?))
    };
    let now = read()
        .map_err(|error| ParticipantError::io("read a file of the directory", name, error))?;
    Ok(now == (entry.xattr_digest(), digest))
}

pub(super) fn hash_of(dir: &Dir, name: &OsStr) -> Outcome<[u8; 32]> {
    dir.read_file(name)
        .and_then(|file| crate::fs::content_digest(&file))
        .map_err(|error| ParticipantError::io("read a file of the directory", name, error))
}

/// Asks before the decision what apply would be told after it: may names of `dir` be changed?
pub(super) fn may_change(dir: &Dir, stat: &Stat, full: &Path) -> Outcome<()> {
    let shown = full.parent().unwrap_or(full);
    refuse_frozen(stat, shown)?;
    dir.may_change_names()
        .map_err(|error| ParticipantError::io("change names in a directory", shown, error))
}

/// May what is there be renamed away?
pub(super) fn may_move(
    dir: &Dir,
    name: &OsStr,
    (holder, stat): (&Stat, &Stat),
    full: &Path,
) -> Outcome<()> {
    refuse_frozen(stat, full)?;
    let us = rustix::process::geteuid().as_raw();
    let sticky = holder.mode & 0o1000 != 0;
    if us != 0 && sticky && us != stat.uid && us != holder.uid {
        return Err(denied("it belongs to somebody else, in a sticky directory").at(full));
    }
    if us == 0 || stat.kind != FileKind::Directory {
        return Ok(());
    }
    // A directory that moves gets another `..`, which is a write to it.
    let movable = match dir.child(name) {
        Ok(child) => child.may_change_names(),
        Err(error) if is(&error, Errno::XDEV) => return Err(mounted(full)),
        Err(error) => Err(error),
    };
    movable.map_err(|error| ParticipantError::io("move a directory aside", full, error))
}

/// Refuses what `chattr` protects.
pub(super) fn refuse_frozen(stat: &Stat, full: &Path) -> Outcome<()> {
    if stat.immutable {
        return Err(denied("it is immutable (chattr +i)").at(full));
    }
    if stat.append_only {
        return Err(denied("it is append-only (chattr +a)").at(full));
    }
    Ok(())
}

pub(super) fn mounted(full: &Path) -> ParticipantError {
    ParticipantError::new(
        Fault::Refused,
        "another file system is mounted here; it is never touched",
    )
    .at(full)
}

fn denied(message: &str) -> ParticipantError {
    ParticipantError::new(Fault::Denied, message)
}
