//! Undoing whatever is done: the same renames, backwards.
//!
//! What apply put into the tree goes back to its slot only if it is still exactly what was staged.
//! If somebody changed it since, theirs stays, the original stays in its slot, and the others are
//! taken back all the same: a [`Fault::Hazard`] at the end names both places.

use super::apply::{LENT, empty_slot, in_slot, is, lend};
use super::attributes;
use super::ends::{Ends, split};
use super::ops::{Act, Image, Op, RedoFile};
use super::restored::Restored;
use super::staging::slot;
use super::times::{Times, is_one_rename};
use super::tree::differs;
use crate::error::{Conflict, Fault, ParticipantError, Shown};
use crate::fs::Stat;
use crate::sandbox::{Outcome, Work};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::path::PathBuf;

/// A foreign change that was kept.
#[derive(Debug)]
struct Kept {
    conflict: Conflict,
    at: PathBuf,
    original: Option<PathBuf>,
}

/// Undoes what is done.
///
/// # Errors
/// [`Fault::Hazard`] if a foreign change was kept; everything else is taken back then.
pub(super) fn take_back(ends: &mut Ends, redo: &RedoFile, work: &Work<'_>) -> Outcome<()> {
    let mut times = Times::begin(ends, redo)?;
    let mut kept = Vec::new();
    let total = redo.ops.len() as u64;
    for (done, op) in (1..).zip(redo.ops.iter().rev()) {
        let foreign = match &op.act {
            Act::Create { slot, staged } => un_create(ends, &mut times, op, (*slot, staged))?,
            Act::Replace { slot, staged, base } => {
                un_replace(ends, &mut times, op, (*slot, staged, base))?
            }
            Act::Delete { slot, base } => un_delete(ends, &mut times, op, (*slot, base))?,
            Act::Meta { slot, old, new, .. } => {
                let begun = attributes::set_back(ends, op, (*slot, old, new))?;
                begun.then(|| kept_attributes(ends, op))
            }
        };
        kept.extend(foreign.filter(|_| !work.keeps_theirs()));
        // Going back is never interrupted.
        drop(work.step(done, total, "entries"));
        if done < total {
            crate::crash::point("takeback.between");
        }
    }
    times.finish(ends, |dir| Some(dir.old));
    hazard(kept)
}

fn un_create(
    ends: &mut Ends,
    times: &mut Times<'_>,
    op: &Op,
    (number, staged): (u64, &Image),
) -> Outcome<Option<Kept>> {
    let slot = slot(number);
    if in_slot(&ends.staging.new, &slot)?.is_some() {
        return Ok(None);
    }
    let (parent, name) = split(op)?;
    let full = ends.tree.full(&op.path);
    let kept = |theirs| Some(Kept::new(op, theirs, full.clone(), None));
    let Ok(dir) = ends.tree.enter(&parent, op.parent) else {
        // Its directory is gone, and with it what we made there.
        return Ok(None);
    };
    let failed = |error| ParticipantError::io("take back", &full, error);
    if dir.stat_at(name).map_err(failed)?.is_none() {
        return Ok(None);
    }
    if let Some(theirs) = differs(dir, name, staged, LENT)? {
        return Ok(kept(theirs));
    }
    lend(dir, name, staged)?;
    times.before(dir);
    let new = &ends.staging.new;
    dir.rename_new(name, new, OsStr::new(&slot))
        .map_err(failed)?;
    times.after(dir);
    let Some(theirs) = differs(new, OsStr::new(&slot), staged, LENT)? else {
        return Ok(None);
    };
    new.rename_new(OsStr::new(&slot), dir, name)
        .map_err(failed)?;
    times.after(dir);
    Ok(kept(theirs))
}

fn un_replace(
    ends: &mut Ends,
    times: &mut Times<'_>,
    op: &Op,
    (number, staged, base): (u64, &Image, &Image),
) -> Outcome<Option<Kept>> {
    let slot = slot(number);
    let new = &ends.staging.new;
    let waiting = in_slot(new, &slot)?.ok_or_else(|| empty_slot(&slot))?;
    let (parent, name) = split(op)?;
    if staged.is_inode(&waiting) {
        // Undone, perhaps by a process that died before it could store that.
        if let Ok(dir) = ends.tree.enter(&parent, op.parent)
            && let Ok(Some(stat)) = dir.stat_at(name)
            && is_one_rename(stat.ctime, waiting.ctime)
        {
            remember(&mut ends.restored, base, &stat);
        }
        return Ok(None);
    }
    let full = ends.tree.full(&op.path);
    let beside = ends.staging_path.join("new").join(&slot);
    let kept = |theirs| Some(Kept::new(op, theirs, full.clone(), Some(beside.clone())));
    let Ok(dir) = ends.tree.enter(&parent, op.parent) else {
        return Ok(kept("in another directory".to_owned()));
    };
    if let Some(theirs) = differs(dir, name, staged, LENT)? {
        return Ok(kept(theirs));
    }
    lend(dir, name, staged)?;
    let failed = |error| ParticipantError::io("take back", &full, error);
    times.before(dir);
    dir.exchange(name, new, OsStr::new(&slot)).map_err(failed)?;
    times.after(dir);
    let Some(theirs) = differs(new, OsStr::new(&slot), staged, LENT)? else {
        if let Some(stat) = dir.stat_at(name).map_err(failed)? {
            remember(&mut ends.restored, base, &stat);
        }
        return Ok(None);
    };
    dir.exchange(name, new, OsStr::new(&slot)).map_err(failed)?;
    times.after(dir);
    Ok(kept(theirs))
}

fn un_delete(
    ends: &mut Ends,
    times: &mut Times<'_>,
    op: &Op,
    (number, base): (u64, &Image),
) -> Outcome<Option<Kept>> {
    let slot = slot(number);
    let old = &ends.staging.old;
    if in_slot(old, &slot)?.is_none() {
        return Ok(None);
    }
    let (parent, name) = split(op)?;
    let full = ends.tree.full(&op.path);
    let beside = ends.staging_path.join("old").join(&slot);
    let kept = |theirs: &str| {
        let theirs = theirs.to_owned();
        Ok(Some(Kept::new(op, theirs, full.clone(), Some(beside))))
    };
    let Ok(dir) = ends.tree.enter(&parent, op.parent) else {
        return kept("in another directory");
    };
    times.before(dir);
    match old.rename_new(OsStr::new(&slot), dir, name) {
        Err(error) if is(&error, Errno::EXIST) => return kept("something new"),
        other => other.map_err(|error| ParticipantError::io("take back", &full, error))?,
    }
    times.after(dir);
    if let Ok(Some(stat)) = dir.stat_at(name) {
        remember(&mut ends.restored, base, &stat);
    }
    Ok(None)
}

/// Our own rename is no change of the original.
fn remember(restored: &mut Restored, base: &Image, stat: &Stat) {
    if base.is_unmodified(stat) {
        restored.remember(stat);
    }
}

fn kept_attributes(ends: &Ends, op: &Op) -> Kept {
    let theirs = "a directory with other attributes".to_owned();
    Kept::new(op, theirs, ends.tree.full(&op.path), None)
}

impl Kept {
    /// From our point of view, when we go back: the base is what we put there, and we want what
    /// was there before.
    fn new(op: &Op, theirs: String, at: PathBuf, original: Option<PathBuf>) -> Self {
        Self {
            conflict: Conflict::new(op.path.shown(), op.ours(), theirs, op.base()),
            at,
            original,
        }
    }
}

fn hazard(kept: Vec<Kept>) -> Outcome<()> {
    let Some(first) = kept.first() else {
        return Ok(());
    };
    let originals: Vec<String> = kept
        .iter()
        .filter_map(|kept| kept.original.as_deref())
        .map(|path| Shown(path).to_string())
        .collect();
    let mut message =
        "somebody else changed what the commit had put in place; theirs is kept there".to_owned();
    if !originals.is_empty() {
        message.push_str(", and what was there before is kept at ");
        message.push_str(&originals.join(", "));
    }
    let mut error = ParticipantError::new(Fault::Hazard, message).at(&first.at);
    error.conflicts = kept.into_iter().map(|kept| kept.conflict).collect();
    Err(error)
}
