//! Mode and extended attributes of a directory that stays: the one thing changed in place.

use super::apply::enter;
use super::ends::{Astray, Ends, conflict_within};
use super::ops::{Attributes, MODE_BITS, Op};
use super::staging::slot;
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

/// Gives the directory of `op` its `new` attributes. Nothing to do if it has them.
///
/// # Errors
/// A conflict, with nothing written, if it has something that is in neither `old` nor `new`.
pub(super) fn set(
    ends: &mut Ends,
    op: &Op,
    (number, old, new): (u64, &Attributes, &Attributes),
) -> Outcome<()> {
    let full = ends.tree.full(&op.path);
    let failed = |error| ParticipantError::io("set the attributes of a directory", &full, error);
    let dir = enter(ends.tree.enter(&op.path, op.parent), op)?;
    let now = read(dir).map_err(failed)?;
    if now == *new {
        return Ok(());
    }
    if !is_between(&now, old, new) {
        let theirs = format!("a directory with other attributes (mode {:04o})", now.mode);
        return Err(ParticipantError::conflict(vec![conflict_within(
            op, theirs,
        )]));
    }
    match ends.staging.old.create_file(slot(number).as_ref(), 0o600) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => drop(other.map_err(failed)?),
    }
    write(dir, (&now, new)).map_err(failed)
}

/// Gives the directory of `op` its `old` attributes back. True if somebody else set others after
/// it got the new ones: those stay.
pub(super) fn set_back(
    ends: &mut Ends,
    op: &Op,
    (number, old, new): (u64, &Attributes, &Attributes),
) -> Outcome<bool> {
    let full = ends.tree.full(&op.path);
    let failed = |error| ParticipantError::io("set the attributes of a directory", &full, error);
    let mark = slot(number);
    let begun = Ends::slot(&ends.staging.old, &mark)?.is_some();
    let dir = match ends.tree.enter(&op.path, op.parent) {
        // Another directory, or none: theirs stays.
        Err(Astray::Changed(_)) => return Ok(begun),
        found => enter(found, op)?,
    };
    let now = read(dir).map_err(failed)?;
    if now != *old {
        if !is_between(&now, new, old) {
            return Ok(begun);
        }
        write(dir, (&now, old)).map_err(failed)?;
    }
    if begun {
        let removed = ends.staging.old.remove_file(mark.as_ref());
        removed.map_err(failed)?;
    }
    Ok(false)
}

/// Attributes first: they need the permission to write that the mode may take away.
fn write(dir: &Dir, (now, wanted): (&Attributes, &Attributes)) -> io::Result<()> {
    if now.xattrs != wanted.xattrs {
        let xattrs = Xattrs {
            carried: wanted
                .xattrs
                .iter()
                .map(|(name, value)| (name.0.clone(), value.0.clone()))
                .collect(),
            has_capability: false,
        };
        fs::write_xattrs(dir, &xattrs)?;
    }
    dir.set_mode(wanted.mode)
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
