//! Carrying out the operations, one rename each.
//!
//! What is done is known from the inodes in the slots, so that any prefix may have been done by a
//! process that died: a replacement is done iff its slot no longer holds the staged inode, a
//! creation iff its slot is empty, a deletion iff its `old` slot is filled. Every displaced
//! original is looked at *after* it was displaced; if it is not what the plan started from,
//! somebody else was there between the check and the rename, and it is put back.

use super::attributes;
use super::ends::{Ends, conflict, conflict_within, split};
use super::ops::{Act, Image, Op, RedoFile};
use super::restored::Restored;
use super::staging::slot;
use super::times::Times;
use super::tree::differs;
use crate::error::{Fault, ParticipantError};
use crate::fs::{Dir, Stat};
use crate::sandbox::{Outcome, Work};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::io;

/// The permission bits that a directory is lent while it waits in a slot.
pub(super) const LENT: u32 = 0o700;

/// Carries out what is not done yet.
///
/// # Errors
/// [`Fault::Conflict`] if somebody else changed what the plan touched: that one is as they left
/// it, the operations before it are done. [`Fault::Hazard`] if both sides are kept, but not where
/// they were.
pub(super) fn apply(ends: &mut Ends, redo: &RedoFile, work: &Work<'_>) -> Outcome<()> {
    crate::crash::point("apply.before");
    let mut times = Times::begin(ends, redo)?;
    let total = redo.ops.len() as u64;
    for (done, op) in (1..).zip(&redo.ops) {
        match one(ends, &mut times, op) {
            Err(error) if error.fault == Fault::Conflict && work.keeps_theirs() => {}
            outcome => outcome?,
        }
        // A decided step goes on, whoever wishes to stop.
        drop(work.step(done, total, "entries"));
        if done < total {
            crate::crash::point("apply.between");
        }
    }
    times.finish(ends, |dir| dir.new);
    crate::crash::point("apply.after");
    Ok(())
}

fn one(ends: &mut Ends, times: &mut Times<'_>, op: &Op) -> Outcome<()> {
    match &op.act {
        Act::Create { slot, staged } => create(ends, times, op, (*slot, staged)),
        Act::Replace { slot, staged, base } => replace(ends, times, op, (*slot, staged, base)),
        Act::Delete { slot, base } => delete(ends, times, op, (*slot, base)),
        Act::Meta { slot, old, new, .. } => attributes::set(ends, op, (*slot, old, new)),
    }
}

fn create(
    ends: &mut Ends,
    times: &mut Times<'_>,
    op: &Op,
    (number, staged): (u64, &Image),
) -> Outcome<()> {
    let slot = slot(number);
    let waiting = Ends::slot(&ends.staging.new, &slot)?;
    let (parent, name) = split(op)?;
    match waiting {
        Some(stat) if staged.is_inode(&stat) => {
            let full = ends.tree.full(&op.path);
            let dir = enter(ends.tree.enter(&parent, op.parent), op)?;
            times.before(dir);
            match ends.staging.new.rename_new(OsStr::new(&slot), dir, name) {
                Err(error) if is(&error, Errno::EXIST) => {
                    let theirs = dir.stat_at(name).ok().flatten();
                    return Err(ParticipantError::conflict(vec![conflict(
                        op,
                        theirs.as_ref(),
                    )]));
                }
                other => other.map_err(|e| ParticipantError::io("put into place", full, e))?,
            }
            settle_mode(dir, name, staged)?;
            times.after(dir);
            Ok(())
        }
        Some(_) => Err(foreign_slot(&slot)),
        None => {
            // Done already, but perhaps not to the end.
            if let Ok(dir) = ends.tree.enter(&parent, op.parent) {
                settle_mode(dir, name, staged)?;
            }
            Ok(())
        }
    }
}

fn replace(
    ends: &mut Ends,
    times: &mut Times<'_>,
    op: &Op,
    (number, staged, base): (u64, &Image, &Image),
) -> Outcome<()> {
    let slot = slot(number);
    let waiting = Ends::slot(&ends.staging.new, &slot)?.ok_or_else(|| empty_slot(&slot))?;
    let (parent, name) = split(op)?;
    let full = ends.tree.full(&op.path);
    if staged.is_inode(&waiting) {
        let dir = enter(ends.tree.enter(&parent, op.parent), op)?;
        untouched((dir, name), base, &ends.restored, op)?;
        times.before(dir);
        match dir.exchange(name, &ends.staging.new, OsStr::new(&slot)) {
            Err(error) if is(&error, Errno::NOENT) => {
                return Err(ParticipantError::conflict(vec![conflict(op, None)]));
            }
            other => other.map_err(|e| ParticipantError::io("exchange into place", &full, e))?,
        }
        settle_mode(dir, name, staged)?;
        times.after(dir);
    } else if let Ok(dir) = ends.tree.enter(&parent, op.parent) {
        settle_mode(dir, name, staged)?;
    }
    let Some(theirs) = differs(&ends.staging.new, OsStr::new(&slot), base, 0)? else {
        return Ok(());
    };
    // Somebody was faster: theirs goes back to where they put it.
    let hazard = || both_kept(op, &full, &ends.staging_path.join("new").join(&slot));
    let dir = ends.tree.enter(&parent, op.parent).map_err(|_| hazard())?;
    let at_target = dir.stat_at(name).ok().flatten();
    if !at_target.is_some_and(|stat| staged.is_inode(&stat)) {
        return Err(hazard());
    }
    lend(dir, name, staged)?;
    times.before(dir);
    dir.exchange(name, &ends.staging.new, OsStr::new(&slot))
        .map_err(|_| hazard())?;
    times.after(dir);
    match Ends::slot(&ends.staging.new, &slot)? {
        Some(stat) if staged.is_inode(&stat) => {
            Err(ParticipantError::conflict(vec![conflict_within(
                op, theirs,
            )]))
        }
        _ => Err(hazard()),
    }
}

fn delete(
    ends: &mut Ends,
    times: &mut Times<'_>,
    op: &Op,
    (number, base): (u64, &Image),
) -> Outcome<()> {
    let slot = slot(number);
    let (parent, name) = split(op)?;
    let full = ends.tree.full(&op.path);
    if Ends::slot(&ends.staging.old, &slot)?.is_none() {
        let dir = enter(ends.tree.enter(&parent, op.parent), op)?;
        untouched((dir, name), base, &ends.restored, op)?;
        times.before(dir);
        match dir.rename_new(name, &ends.staging.old, OsStr::new(&slot)) {
            Err(error) if is(&error, Errno::NOENT) => {
                return Err(ParticipantError::conflict(vec![conflict(op, None)]));
            }
            other => other.map_err(|e| ParticipantError::io("move aside", &full, e))?,
        }
        times.after(dir);
    }
    let Some(theirs) = differs(&ends.staging.old, OsStr::new(&slot), base, 0)? else {
        return Ok(());
    };
    let hazard = || both_kept(op, &full, &ends.staging_path.join("old").join(&slot));
    let dir = ends.tree.enter(&parent, op.parent).map_err(|_| hazard())?;
    times.before(dir);
    ends.staging
        .old
        .rename_new(OsStr::new(&slot), dir, name)
        .map_err(|_| hazard())?;
    times.after(dir);
    Err(ParticipantError::conflict(vec![conflict_within(
        op, theirs,
    )]))
}

/// Looks at an original right before it is displaced. What is seen afterwards tells the same,
/// except that somebody wrote to it and set size and time back.
fn untouched(
    (dir, name): (&Dir, &OsStr),
    base: &Image,
    restored: &Restored,
    op: &Op,
) -> Outcome<()> {
    let stat = dir
        .stat_at(name)
        .map_err(|error| ParticipantError::io("look at a name", name, error))?;
    let same = stat.is_some_and(|stat| {
        let known = base.ctime.is_none_or(|ctime| ctime == stat.ctime)
            || restored.ctime_of(stat.id()) == Some(stat.ctime);
        base.is_unmodified(&stat) && known
    });
    if same {
        return Ok(());
    }
    Err(ParticipantError::conflict(vec![conflict(
        op,
        stat.as_ref(),
    )]))
}

/// Gives a directory that arrived in its place the mode it is to have.
///
/// Nothing to do if it has it, or if somebody put another thing there.
fn settle_mode(dir: &Dir, name: &OsStr, staged: &Image) -> Outcome<()> {
    set_mode(
        dir,
        name,
        staged,
        |mode| mode == staged.mode | LENT,
        staged.mode,
    )
}

/// Lends a directory the bits it needs to be moved.
pub(super) fn lend(dir: &Dir, name: &OsStr, staged: &Image) -> Outcome<()> {
    set_mode(
        dir,
        name,
        staged,
        |mode| mode == staged.mode,
        staged.mode | LENT,
    )
}

fn set_mode(
    dir: &Dir,
    name: &OsStr,
    staged: &Image,
    is_ours: impl Fn(u32) -> bool,
    mode: u32,
) -> Outcome<()> {
    if staged.what != super::ops::What::Directory || staged.mode & LENT == LENT {
        return Ok(());
    }
    let failed = |error| ParticipantError::io("set the mode of a directory", name, error);
    match dir.stat_at(name).map_err(failed)? {
        Some(stat) if staged.is_inode(&stat) && is_ours(stat.mode) => {
            dir.set_mode_at(name, mode).map_err(failed)
        }
        _ => Ok(()),
    }
}

/// The directory of an operation, or why it cannot be carried out.
pub(super) fn enter<'a>(found: Result<&'a Dir, super::ends::Astray>, op: &Op) -> Outcome<&'a Dir> {
    found.map_err(|astray| astray.into_error(op))
}

/// True if `error` is this error of the system.
pub(super) fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}

/// A staged thing is not there any more.
pub(super) fn empty_slot(slot: &str) -> ParticipantError {
    ParticipantError::new(Fault::Lost, "the staged content is gone").at(slot)
}

/// A staged thing is not the one that was staged.
pub(super) fn foreign_slot(slot: &str) -> ParticipantError {
    ParticipantError::new(
        Fault::Lost,
        "the staged content is not the one that was sealed",
    )
    .at(slot)
}

/// Both sides are kept, one of them in a slot.
pub(super) fn both_kept(
    op: &Op,
    at: &std::path::Path,
    beside: &std::path::Path,
) -> ParticipantError {
    ParticipantError::new(
        Fault::Hazard,
        format!(
            "somebody else changed {} while it was being committed; what is there is theirs, and \
             what it displaced is kept at {}",
            op.path.shown(),
            crate::error::Shown(beside)
        ),
    )
    .at(at)
}

/// What is in a slot, for take-back.
pub(super) fn in_slot(slots: &Dir, slot: &str) -> Outcome<Option<Stat>> {
    Ends::slot(slots, slot)
}
