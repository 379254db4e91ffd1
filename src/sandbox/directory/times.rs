//! Modification times of the directories in which names come and go.
//!
//! Apply gives them the times that the plan's own directories have, take-back the old ones, but
//! only where nobody else changed the directory meanwhile. What we changed ourselves is known from
//! the time we saw right after our own rename; after a crash in between, from the time of change
//! of the inodes we moved, which the same rename set.

use super::ends::Ends;
use super::ops::{Act, DirTime, Op, RedoFile};
use super::staging::slot;
use crate::fs::{Dir, Stat, Time};
use crate::sandbox::Outcome;
use std::collections::HashMap;
use std::ffi::OsStr;

/// How far the times that one rename sets on several inodes lie apart at most: an old kernel's
/// clock tick, doubled for rounding.
const ONE_RENAME_NS: i128 = 10_000_000;

/// What is known of the times while operations run.
#[derive(Debug)]
pub(super) struct Times<'a> {
    dirs: &'a [DirTime],
    /// The time we left each directory with; absent if somebody else changed it.
    known: HashMap<(u64, u64), Time>,
}

impl<'a> Times<'a> {
    /// Looks at all directories before the first operation.
    pub(super) fn begin(ends: &mut Ends, redo: &'a RedoFile) -> Outcome<Self> {
        let mut known = HashMap::new();
        let mut stamps = None;
        for dir in &redo.times {
            let Ok(stat) = ends.tree.enter(&dir.path, dir.id).map(Dir::stat) else {
                // The operation in it will say so.
                continue;
            };
            let Ok(Stat { mtime, .. }) = stat else {
                continue;
            };
            if mtime == dir.old || Some(mtime) == dir.new {
                known.insert(dir.id, mtime);
                continue;
            }
            if stamps.is_none() {
                stamps = Some(newest_changes(ends, &redo.ops)?);
            }
            let stamp = stamps.as_ref().and_then(|stamps| stamps.get(&dir.id));
            if stamp.is_some_and(|stamp| is_one_rename(*stamp, mtime)) {
                known.insert(dir.id, mtime);
            }
        }
        Ok(Self {
            dirs: &redo.times,
            known,
        })
    }

    /// Right before a rename in `dir`: notices what others did there.
    pub(super) fn before(&mut self, dir: &Dir) {
        let Ok(stat) = dir.stat() else { return };
        if self.known.get(&stat.id()) != Some(&stat.mtime) {
            self.known.remove(&stat.id());
        }
    }

    /// Right after our rename in `dir`.
    pub(super) fn after(&mut self, dir: &Dir) {
        let Ok(stat) = dir.stat() else { return };
        if let Some(known) = self.known.get_mut(&stat.id()) {
            *known = stat.mtime;
        }
    }

    /// Sets the times that `pick` names, deepest directories first.
    ///
    /// What cannot be set is left: a time is never a reason to fail a decided step.
    pub(super) fn finish(&self, ends: &mut Ends, pick: fn(&DirTime) -> Option<Time>) {
        for dir in self.dirs.iter().rev() {
            let (Some(wanted), Some(known)) = (pick(dir), self.known.get(&dir.id)) else {
                continue;
            };
            let Ok(open) = ends.tree.enter(&dir.path, dir.id) else {
                continue;
            };
            if open.stat().is_ok_and(|stat| stat.mtime == *known) {
                drop(open.set_mtime(wanted));
            }
        }
    }
}

/// For each directory, the newest time of change of an inode that an operation moves.
fn newest_changes(ends: &mut Ends, ops: &[Op]) -> Outcome<HashMap<(u64, u64), Time>> {
    let mut newest: HashMap<(u64, u64), Time> = HashMap::new();
    for op in ops {
        let found = match &op.act {
            Act::Meta { .. } => None,
            Act::Replace { slot: n, .. } => Ends::slot(&ends.staging.new, &slot(*n))?,
            Act::Delete { slot: n, .. } => Ends::slot(&ends.staging.old, &slot(*n))?,
            Act::Create { slot: n, .. } => match Ends::slot(&ends.staging.new, &slot(*n))? {
                Some(stat) => Some(stat),
                None => at_target(ends, op),
            },
        };
        if let Some(stat) = found {
            let entry = newest.entry(op.parent).or_insert(stat.ctime);
            *entry = (*entry).max(stat.ctime);
        }
    }
    Ok(newest)
}

fn at_target(ends: &mut Ends, op: &Op) -> Option<Stat> {
    let (parent, name) = op.path.split()?;
    let dir = ends.tree.enter(&parent, op.parent).ok()?;
    dir.stat_at(OsStr::new(name)).ok()?
}

/// True if one rename may have set both times.
pub(super) fn is_one_rename(one: Time, other: Time) -> bool {
    let ns = |time: Time| i128::from(time.0) * 1_000_000_000 + i128::from(time.1);
    (ns(one) - ns(other)).abs() <= ONE_RENAME_NS
}
