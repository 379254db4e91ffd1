//! Making renames and staged content durable with as little waiting as possible.

use super::ends::Ends;
use super::ops::{Act, RedoFile};
use crate::error::ParticipantError;
use crate::fs::{self, Dir};
use crate::sandbox::Outcome;
use std::path::PathBuf;

/// What one flush of one file or directory costs, in microseconds: the order of magnitude of a
/// disk with a write cache.
const ONE_FLUSH_US: u64 = 300;

/// How many of other people's dirty bytes a whole-system flush writes in one microsecond.
const BYTES_PER_US: u64 = 2500;

/// True if one `syncfs` at `dir` is likely to be faster than `flushes` single ones.
///
/// It writes everybody's data, so it is worth it where little is dirty or much is ours.
pub(super) fn all_at_once(dir: &Dir, flushes: u64, own_bytes: u64) -> bool {
    if let Some(whole) = fs::flushes_whole(dir) {
        return whole;
    }
    let Some(dirty) = fs::dirty_bytes() else {
        return flushes > 16;
    };
    let foreign = dirty.saturating_sub(own_bytes);
    flushes.saturating_mul(ONE_FLUSH_US) >= ONE_FLUSH_US + foreign / BYTES_PER_US
}

/// Makes every rename of `redo` durable, whichever way it went.
pub(super) fn settle(ends: &mut Ends, redo: &RedoFile) -> Outcome<()> {
    let failed = |path: PathBuf| move |error| ParticipantError::io("make durable", path, error);
    let mut parents: Vec<_> = redo
        .ops
        .iter()
        .filter_map(|op| match &op.act {
            Act::Meta { .. } => Some((op.path.clone(), op.parent)),
            _ => op.path.split().map(|(parent, _)| (parent, op.parent)),
        })
        .chain(redo.times.iter().map(|dir| (dir.path.clone(), dir.id)))
        .collect();
    parents.sort_unstable();
    parents.dedup();
    if parents.is_empty() {
        return Ok(());
    }
    let staging_path = ends.staging_path.clone();
    if all_at_once(&ends.staging.dir, parents.len() as u64 + 2, 0) {
        return ends
            .staging
            .dir
            .sync_filesystem()
            .map_err(failed(staging_path));
    }
    // The tree first: if only a part survives, it is the part that people see.
    for (path, id) in &parents {
        let full = ends.tree.full(path);
        match ends.tree.enter(path, *id).map(Dir::sync) {
            Ok(synced) => synced.map_err(failed(full))?,
            // Moved away by somebody else, and the names in it with it.
            Err(super::ends::Astray::Changed(_)) => {
                let whole = ends.staging.dir.sync_filesystem();
                return whole.map_err(failed(staging_path));
            }
            Err(super::ends::Astray::Failed(error)) => return Err(error),
        }
    }
    for slots in [&ends.staging.new, &ends.staging.old] {
        slots.sync().map_err(failed(staging_path.clone()))?;
    }
    Ok(())
}
