//! Mode and extended attributes of a directory that stays: the one thing changed in place.

use super::apply::enter;
use super::ends::{Ends, conflict_within};
use super::ops::{Attributes, MODE_BITS, Op};
use super::text::Bytes;
use crate::error::ParticipantError;
use crate::fs::{self, Dir, Xattrs};
use crate::sandbox::Outcome;
use std::io;

/// What `dir` has now.
pub(super) fn read(dir: &Dir) -> io::Result<Attributes> {
    let mode = dir.stat()?.mode & MODE_BITS;
    let xattrs = fs::read_xattrs(dir)?;
    Ok(Attributes {
        mode,
        xattrs: xattrs
            .carried
            .into_iter()
            .map(|(name, value)| (Bytes(name), Bytes(value)))
            .collect(),
    })
}

/// Changes the directory of `op` from `from` to `to`. Nothing to do if it is done.
///
/// # Errors
/// A conflict, with nothing written, if it has something that is in neither.
pub(super) fn move_to(
    ends: &mut Ends,
    op: &Op,
    (from, to): (&Attributes, &Attributes),
) -> Outcome<()> {
    let full = ends.tree.full(&op.path);
    let failed = |error| ParticipantError::io("set the mode of a directory", &full, error);
    let dir = enter(ends.tree.enter(&op.path, op.parent), op)?;
    let now = read(dir).map_err(failed)?;
    if now == *to {
        return Ok(());
    }
    if !is_between(&now, from, to) {
        let theirs = format!("a directory with other attributes (mode {:04o})", now.mode);
        return Err(ParticipantError::conflict(vec![conflict_within(
            op, theirs,
        )]));
    }
    if now.xattrs != to.xattrs {
        let wanted = Xattrs {
            carried: to
                .xattrs
                .iter()
                .map(|(name, value)| (name.0.clone(), value.0.clone()))
                .collect(),
            has_capability: false,
        };
        fs::write_xattrs(dir, &wanted).map_err(failed)?;
    }
    dir.set_mode(to.mode).map_err(failed)
}

/// True if every part of `now` is from one of the two: the step was not begun, or half done.
fn is_between(now: &Attributes, from: &Attributes, to: &Attributes) -> bool {
    let has = |of: &Attributes, pair: &(Bytes, Bytes)| of.xattrs.contains(pair);
    let known = |pair: &(Bytes, Bytes)| has(from, pair) || has(to, pair);
    let lists = |of: &Attributes| of.xattrs.iter().any(|(name, _)| is_access_list(name));
    // An access list sets permission bits along with it, so its half-way modes are in neither.
    let mode = now.mode == from.mode || now.mode == to.mode || lists(from) || lists(to);
    let kept = from
        .xattrs
        .iter()
        .filter(|pair| has(to, pair))
        .all(|pair| has(now, pair));
    let foreign = now
        .xattrs
        .iter()
        .any(|pair| !known(pair) && !is_access_list(&pair.0));
    mode && kept && !foreign
}

fn is_access_list(name: &Bytes) -> bool {
    name.0.starts_with(b"system.posix_acl")
}
