//! Subtrees as a whole: walked without recursion, and known again by a digest.

use super::ops::{Image, What, describe_stat};
use crate::error::{Fault, ParticipantError};
use crate::fs::{Cursor, Dir, FileKind, Stat};
use crate::sandbox::Outcome;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

/// What a visitor wants of the directory it was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Go {
    /// Walk what is in it.
    Into,
    /// Leave it out.
    Past,
}

/// An entry of a walk.
#[derive(Debug)]
pub(super) struct Visit<'a> {
    /// The directory that holds it.
    pub(super) dir: &'a Dir,
    /// Its name.
    pub(super) name: &'a OsStr,
    /// What it is.
    pub(super) stat: &'a Stat,
    /// The path from the top of the walk to it.
    pub(super) path: &'a [u8],
}

/// Who sees the entries of a walk.
pub(super) trait Visitor {
    /// An entry, parents before children, siblings in the order of their names.
    fn entry(&mut self, visit: &Visit<'_>) -> Outcome<Go>;

    /// The directory that was entered last and not left yet is done.
    fn leave(&mut self) -> Outcome<()> {
        Ok(())
    }
}

/// Walks everything below `top`, with a bounded number of descriptors at any depth.
pub(super) fn walk(top: Dir, visitor: &mut dyn Visitor) -> Outcome<()> {
    let shown = top.path().to_path_buf();
    let failed = |path: &[u8], error| failed(shown.join(OsStr::from_bytes(path)), error);
    let mut path: Vec<u8> = Vec::new();
    let mut cursor = Cursor::new(&top).map_err(|error| failed(&path, error))?;
    drop(top);
    let mut levels = vec![
        sorted(cursor.dir())
            .map_err(|error| failed(&path, error))?
            .into_iter(),
    ];
    while let Some(level) = levels.last_mut() {
        let Some(name) = level.next() else {
            levels.pop();
            if !levels.is_empty() {
                drop(cursor.leave().map_err(|error| failed(&path, error))?);
                visitor.leave()?;
                pop(&mut path);
            }
            continue;
        };
        let Some(stat) = cursor
            .dir()
            .stat_at(&name)
            .map_err(|error| failed(&path, error))?
        else {
            continue;
        };
        push(&mut path, &name);
        let visit = Visit {
            dir: cursor.dir(),
            name: &name,
            stat: &stat,
            path: &path,
        };
        let go = visitor.entry(&visit)?;
        if stat.kind == FileKind::Directory && go == Go::Into {
            cursor.enter(&name).map_err(|error| failed(&path, error))?;
            levels.push(
                sorted(cursor.dir())
                    .map_err(|error| failed(&path, error))?
                    .into_iter(),
            );
        } else {
            pop(&mut path);
        }
    }
    Ok(())
}

fn failed(path: PathBuf, error: io::Error) -> ParticipantError {
    if error.raw_os_error() == Some(rustix::io::Errno::XDEV.raw_os_error()) {
        let message = "another file system is mounted here; it is never entered";
        return ParticipantError::new(Fault::Refused, message).at(path);
    }
    ParticipantError::io("read a directory", path, error)
}

fn sorted(dir: &Dir) -> io::Result<Vec<OsString>> {
    Ok(dir.entries()?.sorted())
}

fn push(path: &mut Vec<u8>, name: &OsStr) {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name.as_bytes());
}

fn pop(path: &mut Vec<u8>) {
    let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    path.truncate(end);
}

/// The digest of the inodes below a directory.
///
/// It covers names, inodes, kinds, sizes, modes, times of modification and of change: two equal
/// digests mean that nobody touched anything in between. A rename of the top changes none of it.
#[derive(Debug, Default)]
pub(super) struct TreeHash {
    hasher: blake3::Hasher,
}

impl TreeHash {
    /// Adds an entry.
    pub(super) fn add(&mut self, name: &OsStr, stat: &Stat) {
        let mut add = |number: u64| {
            self.hasher.update(&number.to_le_bytes());
        };
        add(name.len() as u64);
        add(stat.ino);
        add(stat.dev);
        add(u64::from(stat.mode));
        add(match stat.kind {
            FileKind::File => 1,
            FileKind::Directory => 2,
            FileKind::Symlink => 3,
            _ => 4,
        });
        if stat.kind != FileKind::Directory {
            add(stat.size);
        }
        // A rename of another name of the same inode sets its time of change.
        let only_name = stat.kind == FileKind::Directory || stat.nlink == 1;
        let ctime = if only_name { stat.ctime } else { (0, 0) };
        for (seconds, nanoseconds) in [stat.mtime, ctime] {
            add(seconds.cast_unsigned());
            add(u64::from(nanoseconds));
        }
        self.hasher.update(name.as_bytes());
    }

    /// Closes the directory that was added last and not closed yet.
    pub(super) fn close(&mut self) {
        self.hasher.update(&u64::MAX.to_le_bytes());
    }

    /// The digest, in hex.
    pub(super) fn finish(&self) -> String {
        self.hasher.finalize().to_hex().to_string()
    }
}

impl Visitor for TreeHash {
    fn entry(&mut self, visit: &Visit<'_>) -> Outcome<Go> {
        self.add(visit.name, visit.stat);
        Ok(Go::Into)
    }

    fn leave(&mut self) -> Outcome<()> {
        self.close();
        Ok(())
    }
}

/// The digest of everything below the directory `name` in `dir`.
pub(super) fn digest(dir: &Dir, name: &OsStr) -> Outcome<String> {
    let top = dir
        .child(name)
        .map_err(|error| ParticipantError::io("open a directory", name, error))?;
    let mut hash = TreeHash::default();
    walk(top, &mut hash)?;
    Ok(hash.finish())
}

/// Compares what is at `name` in `dir` with `image`; what is there instead, if it differs.
///
/// `mask` leaves out permission bits of a directory: one that waits in a slot is writable for its
/// owner whatever it will be in its place, because a directory that its owner cannot write cannot
/// be moved.
pub(super) fn differs(
    dir: &Dir,
    name: &OsStr,
    image: &Image,
    mask: u32,
) -> Outcome<Option<String>> {
    let stat = dir
        .stat_at(name)
        .map_err(|error| ParticipantError::io("look at a name", name, error))?;
    let Some(stat) = stat else {
        return Ok(Some(describe_stat(None)));
    };
    let same = Image::of(&stat).is_some_and(|mut now| {
        now.tree.clone_from(&image.tree);
        now.ctime = image.ctime;
        if image.what == What::Directory {
            now.mode = (now.mode & !mask) | (image.mode & mask);
        }
        now == *image
    });
    if !same {
        return Ok(Some(describe_stat(Some(&stat))));
    }
    match &image.tree {
        Some(tree) if *tree != digest(dir, name)? => Ok(Some(
            "a directory in which something was changed".to_owned(),
        )),
        _ => Ok(None),
    }
}
