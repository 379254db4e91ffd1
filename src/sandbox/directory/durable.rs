//! Making the staged content and the redo last before anything is decided.

use super::ends::Ends;
use super::exclude::STAGING_NAME;
use super::ops::{Act, RedoFile, SealedFile};
use super::record::{Firmness, REDO, store};
use super::settle::all_at_once;
use super::staging::{Side, slot};
use super::tree::{Go, Visit, Visitor, walk};
use crate::error::ParticipantError;
use crate::fs::{self, Dir, FileKind};
use crate::sandbox::Outcome;
use std::ffi::OsStr;
use std::io;

/// Flushes beside those of the staged inodes: the redo, and the directories above the slots.
const OTHER_FLUSHES: u64 = 5;

/// Writes the redo and flushes it with everything that is staged; returns its digest.
///
/// One flush of the whole file system, or one for each file, whichever is likely to be faster.
pub(super) fn make_durable(
    ends: &Ends,
    (place, side): (&Dir, Side),
    sealed: &SealedFile,
    redo: &RedoFile,
) -> Outcome<String> {
    let failed =
        |error| ParticipantError::io("make the staging durable", &ends.staging_path, error);
    let flushes = sealed.inodes.saturating_add(OTHER_FLUSHES);
    if !all_at_once(place, flushes, sealed.bytes) && one_by_one(ends, side, sealed)? {
        return store(place, REDO, redo, Firmness::Durable);
    }
    let digest = store(place, REDO, redo, Firmness::Visible)?;
    place.sync_filesystem().map_err(failed)?;
    let (here, there) = (place.stat(), ends.staging.dir.stat());
    if here.map_err(failed)?.dev != there.map_err(failed)?.dev {
        ends.staging.dir.sync_filesystem().map_err(failed)?;
    }
    Ok(digest)
}

/// Flushes every staged inode and the directories above; false if one of them may not be opened.
fn one_by_one(ends: &Ends, side: Side, sealed: &SealedFile) -> Outcome<bool> {
    let failed =
        |error| ParticipantError::io("make the staging durable", &ends.staging_path, error);
    let mut flusher = Flusher { all: true };
    for op in &sealed.ops {
        let (Act::Create { slot: n, .. } | Act::Replace { slot: n, .. }) = &op.act else {
            continue;
        };
        let name = slot(*n);
        let name = OsStr::new(&name);
        let stat = ends.staging.new.stat_at(name).map_err(failed)?;
        let Some(kind) = stat.map(|stat| stat.kind) else {
            continue;
        };
        flusher.one(&ends.staging.new, name, kind).map_err(failed)?;
        if kind == FileKind::Directory {
            walk(ends.staging.new.child(name).map_err(failed)?, &mut flusher)?;
        }
        if !flusher.all {
            return Ok(false);
        }
    }
    for dir in [&ends.staging.new, &ends.staging.old, &ends.staging.dir] {
        dir.sync().map_err(failed)?;
    }
    if side == Side::Root {
        let root = ends.tree.root();
        let holder = root.child(OsStr::new(STAGING_NAME));
        holder.and_then(|dir| dir.sync()).map_err(failed)?;
        root.sync().map_err(failed)?;
    }
    Ok(true)
}

struct Flusher {
    all: bool,
}

impl Flusher {
    /// Flushes one inode. A link has nothing to flush but its name.
    fn one(&mut self, dir: &Dir, name: &OsStr, kind: FileKind) -> io::Result<()> {
        let flushed = match kind {
            FileKind::File => dir.read_file(name).and_then(fs::sync_all),
            FileKind::Directory => dir.child(name).and_then(|dir| dir.sync()),
            _ => Ok(()),
        };
        match flushed {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.all = false;
                Ok(())
            }
            other => other,
        }
    }
}

impl Visitor for Flusher {
    fn entry(&mut self, visit: &Visit<'_>) -> Outcome<Go> {
        self.one(visit.dir, visit.name, visit.stat.kind)
            .map_err(|error| ParticipantError::io("make the staging durable", visit.name, error))?;
        Ok(Go::Into)
    }
}
