//! The two ends of every rename: the real tree and the staging, both held open.

use super::ops::{Op, describe_stat};
use super::restored::Restored;
use super::staging::Staging;
use super::text::Rel;
use crate::error::{Conflict, Fault, ParticipantError};
use crate::fs::{Dir, Stat};
use crate::sandbox::Outcome;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

/// The real tree, entered one directory at a time.
#[derive(Debug)]
pub(super) struct Tree {
    root: Dir,
    path: PathBuf,
    last: Option<(Rel, Dir)>,
}

/// Why a directory of the tree is not the one the plan knew.
#[derive(Debug)]
pub(super) enum Astray {
    /// It is gone, or something else is in its place.
    Changed(&'static str),
    /// Anything else.
    Failed(ParticipantError),
}

impl Tree {
    /// The tree below `root`, which was opened at `path`.
    pub(super) fn new(root: Dir, path: PathBuf) -> Self {
        Self {
            root,
            path,
            last: None,
        }
    }

    /// The root itself.
    pub(super) fn root(&self) -> &Dir {
        &self.root
    }

    /// The full path of `rel`, for messages only.
    pub(super) fn full(&self, rel: &Rel) -> PathBuf {
        if rel.is_root() {
            self.path.clone()
        } else {
            self.path.join(rel.as_path())
        }
    }

    /// Opens the directory `rel` and checks that it is still `id`. The last one stays open.
    pub(super) fn enter(&mut self, rel: &Rel, id: (u64, u64)) -> Result<&Dir, Astray> {
        let known = self.last.as_ref().is_some_and(|(last, _)| last == rel);
        if !known {
            self.last = None;
            let opened = open_beneath(&self.root, rel).map_err(|error| self.explain(rel, error))?;
            self.last = Some((rel.clone(), opened));
        }
        let Some((_, dir)) = &self.last else {
            return Err(Astray::Changed("nothing"));
        };
        match dir.stat() {
            Ok(stat) if (stat.dev, stat.ino) == id => Ok(dir),
            Ok(_) => Err(Astray::Changed("another directory")),
            Err(error) => Err(Astray::Failed(ParticipantError::io(
                "look at a directory",
                self.path.join(rel.as_path()),
                error,
            ))),
        }
    }

    fn explain(&self, rel: &Rel, error: io::Error) -> Astray {
        match error
            .raw_os_error()
            .map(rustix::io::Errno::from_raw_os_error)
        {
            Some(rustix::io::Errno::NOENT) => Astray::Changed("nothing"),
            Some(rustix::io::Errno::NOTDIR) => Astray::Changed("not a directory"),
            Some(rustix::io::Errno::LOOP) => Astray::Changed("a symbolic link"),
            Some(rustix::io::Errno::XDEV) => Astray::Failed(
                ParticipantError::new(
                    Fault::Refused,
                    "another file system is mounted inside the directory; it is never entered",
                )
                .at(self.full(rel)),
            ),
            _ => Astray::Failed(ParticipantError::io(
                "open a directory of the tree",
                self.full(rel),
                error,
            )),
        }
    }
}

impl Astray {
    /// The failure of the operation `op`, whose directory is not the known one.
    pub(super) fn into_error(self, op: &Op) -> ParticipantError {
        match self {
            Self::Failed(error) => error,
            Self::Changed(now) => ParticipantError::conflict(vec![parent_conflict(op, now)]),
        }
    }
}

/// The conflict of an operation whose directory is `now` something else.
pub(super) fn parent_conflict(op: &Op, now: &str) -> Conflict {
    Conflict::new(
        op.path.shown(),
        op.base(),
        format!("below {now}, where the directory was"),
        op.ours(),
    )
}

/// The conflict of an operation at whose path there is now `theirs`.
pub(super) fn conflict(op: &Op, theirs: Option<&Stat>) -> Conflict {
    Conflict::new(op.path.shown(), op.base(), describe_stat(theirs), op.ours())
}

/// As [`conflict`], for a thing that looks as before from outside.
pub(super) fn conflict_within(op: &Op, theirs: String) -> Conflict {
    Conflict::new(op.path.shown(), op.base(), theirs, op.ours())
}

fn open_beneath(root: &Dir, rel: &Rel) -> io::Result<Dir> {
    if rel.is_root() {
        root.dup()
    } else {
        root.beneath(rel.as_path())
    }
}

/// What apply and take-back work on.
#[derive(Debug)]
pub(super) struct Ends {
    /// The real tree.
    pub(super) tree: Tree,
    /// The staging.
    pub(super) staging: Staging,
    /// Where the staging is, for messages only.
    pub(super) staging_path: PathBuf,
    /// What a take-back put back.
    pub(super) restored: Restored,
}

impl Ends {
    /// What is in slot `name` of `slots`.
    pub(super) fn slot(slots: &Dir, name: &str) -> Outcome<Option<Stat>> {
        slots
            .stat_at(OsStr::new(name))
            .map_err(|error| ParticipantError::io("look at a staging slot", Path::new(name), error))
    }
}

/// The directory and the name of an operation that has both.
pub(super) fn split(op: &Op) -> Outcome<(Rel, &OsStr)> {
    op.path.split().ok_or_else(|| {
        ParticipantError::new(
            Fault::Corrupt,
            "an operation wants to replace the root itself",
        )
    })
}
