//! Copying what the plan produced out of its reach.
//!
//! The plan's processes may hold its files open, so nothing of the view itself is ever committed:
//! each new or changed file becomes a new inode (sharing its blocks where the file system can). A
//! file that changes while it is copied is copied again; one that never stands still fails the
//! seal.

use super::apply::LENT;
use super::delta::refuse_special;
use super::exclude::Exclusions;
use super::ops::SET_ID;
use super::tree::{Go, Visit, Visitor, walk};
use crate::error::{Fault, ParticipantError};
use crate::fs::{self, CopyWish, Cursor, Dir, FileKind, Stat, Xattrs};
use crate::sandbox::{Outcome, Work};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

/// How often a file that changes while it is copied is copied again.
const TRIES: usize = 3;

/// Copies places of the view into slots and digests them.
#[derive(Debug)]
pub(super) struct Stager<'a> {
    /// The slots.
    pub(super) new: &'a Dir,
    /// Names that are left out.
    pub(super) exclusions: &'a Exclusions,
    /// Who listens.
    pub(super) work: &'a Work<'a>,
    /// Of everything that was staged.
    pub(super) hasher: blake3::Hasher,
    /// How many inodes were staged.
    pub(super) inodes: u64,
    /// How many bytes of content.
    pub(super) bytes: u64,
    /// Where the first name of an inode with several names was staged, below `new`.
    pub(super) links: HashMap<(u64, u64), PathBuf>,
}

/// Where something comes from and goes to.
#[derive(Debug, Clone, Copy)]
struct Way<'w> {
    from: &'w Dir,
    name: &'w OsStr,
    into: &'w Dir,
    to: &'w OsStr,
    /// Below `new`.
    staged: &'w [u8],
    /// Below the root, for messages.
    shown: &'w Path,
}

impl Stager<'_> {
    /// Copies `name` of `from` with everything below it into `slot`; `path` is where it is to be.
    /// Returns the mode it is to have there: a directory waits with [`LENT`] bits.
    pub(super) fn stage(
        &mut self,
        from: &Dir,
        name: &OsStr,
        (slot, path): (&str, &Path),
    ) -> Outcome<u32> {
        let failed = |error| ParticipantError::io("read the sandbox", path, error);
        let stat = from.stat_at(name).map_err(failed)?;
        let Some(stat) = stat else {
            return Err(changing(path));
        };
        let slot = OsStr::new(slot);
        let new = self.new;
        if stat.kind != FileKind::Directory {
            let way = Way {
                from,
                name,
                into: new,
                to: slot,
                staged: slot.as_bytes(),
                shown: path,
            };
            self.put(way, &stat)?;
            return Ok(stat.mode);
        }
        let top = from.child(name).map_err(failed)?;
        let xattrs = carried(&top, path)?;
        self.hash_head(&stat, b"", &xattrs);
        new.make_dir(slot, 0o700).map_err(staging(path))?;
        let into = new.child(slot).map_err(staging(path))?;
        let mut copier = Copier {
            into: Cursor::new(&into).map_err(staging(path))?,
            pending: Vec::new(),
            slot: slot.as_bytes().to_vec(),
            path,
            stager: self,
        };
        walk(top, &mut copier)?;
        finish(&into, &stat, &xattrs, stat.mode | LENT).map_err(staging(path))?;
        Ok(stat.mode)
    }

    fn put(&mut self, way: Way<'_>, stat: &Stat) -> Outcome<()> {
        refuse_special(way.shown, stat)?;
        self.inodes += 1;
        match stat.kind {
            FileKind::Symlink => self.symlink(way, stat),
            _ => self.file(way),
        }
    }

    fn symlink(&mut self, way: Way<'_>, stat: &Stat) -> Outcome<()> {
        let target = way
            .from
            .read_link(way.name)
            .map_err(|error| ParticipantError::io("read the sandbox", way.shown, error))?;
        self.hash_head(stat, way.staged, &Xattrs::default());
        self.hash_bytes(target.as_bytes());
        let made = way.into.make_symlink(&target, way.to).and_then(|()| {
            // Only a privileged process may give things away; others own what they make.
            drop(way.into.set_owner_at(way.to, stat.uid, stat.gid));
            way.into.set_mtime_at(way.to, stat.mtime)
        });
        made.map_err(staging(way.shown))
    }

    fn file(&mut self, way: Way<'_>) -> Outcome<()> {
        let failed = |error| ParticipantError::io("read the sandbox", way.shown, error);
        for _ in 0..TRIES {
            let source = way.from.read_file(way.name).map_err(failed)?;
            let before = fs::stat_file(&source).map_err(failed)?;
            if before.nlink > 1 && self.link(way, &before)? {
                return Ok(());
            }
            let xattrs = carried(&source, way.shown)?;
            let copy = self.copy(&source, way)?;
            let after = fs::stat_file(&source).map_err(failed)?;
            if (before.size, before.mtime, before.ctime) != (after.size, after.mtime, after.ctime) {
                way.into.remove_file(way.to).map_err(staging(way.shown))?;
                continue;
            }
            self.hash_head(&after, way.staged, &xattrs);
            self.hash_content(&copy).map_err(staging(way.shown))?;
            drop(fs::set_owner(&copy, after.uid, after.gid));
            fs::write_xattrs(&copy, &xattrs)
                .and_then(|()| fs::set_file_mode(&copy, after.mode & !SET_ID))
                .and_then(|()| fs::set_file_mtime(&copy, after.mtime))
                .map_err(staging(way.shown))?;
            self.bytes = self.bytes.saturating_add(after.size);
            return Ok(());
        }
        Err(changing(way.shown))
    }

    /// Makes another name of an inode that is staged already; false if it is not.
    fn link(&mut self, way: Way<'_>, stat: &Stat) -> Outcome<bool> {
        let here = PathBuf::from(OsString::from_vec(way.staged.to_vec()));
        let Some(first) = self.links.get(&stat.id()) else {
            self.links.insert(stat.id(), here);
            return Ok(false);
        };
        let (Some(parent), Some(name)) = (first.parent(), first.file_name()) else {
            return Ok(false);
        };
        if *first == here {
            return Ok(false);
        }
        let linked = self
            .new
            .beneath(parent)
            .and_then(|dir| dir.hard_link(name, way.into, way.to));
        linked.map_err(staging(way.shown))?;
        let first = first.as_os_str().as_bytes().to_vec();
        self.hash_head(stat, way.staged, &Xattrs::default());
        self.hash_bytes(&first);
        Ok(true)
    }

    fn copy(&mut self, source: &File, way: Way<'_>) -> Outcome<File> {
        let copy = way.into.create_private(way.to);
        let copy = copy.map_err(staging(way.shown))?;
        let (work, done) = (self.work, self.bytes);
        let mut stopped = None;
        let copied = fs::copy_file(source, &copy, CopyWish::CloneOrCopy, &mut |bytes| {
            work.step(done.saturating_add(bytes), 0, "bytes")
                .map_err(|error| {
                    stopped = Some(error);
                    io::Error::from(io::ErrorKind::Interrupted)
                })
        });
        match (stopped, copied) {
            (Some(error), _) => Err(error),
            (None, Err(error)) => Err(staging(way.shown)(error)),
            (None, Ok(_)) => Ok(copy),
        }
    }

    /// Digests what is equal for equal work: no inode, no owner, no time of change.
    fn hash_head(&mut self, stat: &Stat, path: &[u8], xattrs: &Xattrs) {
        self.hash_bytes(path);
        self.hash_bytes(stat.kind.word().as_bytes());
        let mode = if stat.kind == FileKind::File {
            stat.mode & !SET_ID
        } else {
            stat.mode
        };
        self.hasher.update(&mode.to_le_bytes());
        self.hasher.update(&stat.mtime.0.to_le_bytes());
        self.hasher.update(&stat.mtime.1.to_le_bytes());
        self.hasher.update(&xattrs.digest().unwrap_or_default());
    }

    fn hash_bytes(&mut self, bytes: &[u8]) {
        self.hasher.update(&(bytes.len() as u64).to_le_bytes());
        self.hasher.update(bytes);
    }

    fn hash_content(&mut self, file: &File) -> io::Result<()> {
        self.hasher.update(&fs::content_digest(file)?);
        Ok(())
    }
}

/// The attributes of an inode of the view, which may not have capabilities.
fn carried(of: impl std::os::fd::AsFd, path: &Path) -> Outcome<Xattrs> {
    let xattrs = fs::read_xattrs(of)
        .map_err(|error| ParticipantError::io("read the sandbox", path, error))?;
    if xattrs.has_capability {
        return Err(ParticipantError::new(
            Fault::Refused,
            "a plan cannot give a file capabilities",
        )
        .at(path));
    }
    Ok(xattrs)
}

/// Copies what is below a new directory, in step with a walk through it.
struct Copier<'s, 'a, 'p> {
    stager: &'s mut Stager<'a>,
    into: Cursor,
    pending: Vec<(Stat, Xattrs)>,
    slot: Vec<u8>,
    path: &'p Path,
}

impl Visitor for Copier<'_, '_, '_> {
    fn entry(&mut self, visit: &Visit<'_>) -> Outcome<Go> {
        if self.stager.exclusions.excludes(visit.name) {
            return Ok(Go::Past);
        }
        let inodes = self.stager.inodes;
        self.stager.work.step(inodes, 0, "entries")?;
        let is_dir = visit.stat.kind == FileKind::Directory;
        if !is_dir {
            // The paths of a deep tree are put together only for what needs them.
            let mut staged = self.slot.clone();
            staged.push(b'/');
            staged.extend_from_slice(visit.path);
            let shown = self.path.join(OsStr::from_bytes(visit.path));
            let way = Way {
                from: visit.dir,
                name: visit.name,
                into: self.into.dir(),
                to: visit.name,
                staged: &staged,
                shown: &shown,
            };
            self.stager.put(way, visit.stat)?;
            return Ok(Go::Into);
        }
        let failed = |error| ParticipantError::io("read the sandbox", visit.name, error);
        let source = visit.dir.child(visit.name).map_err(failed)?;
        let xattrs = carried(&source, Path::new(visit.name))?;
        self.stager.inodes += 1;
        self.stager
            .hash_head(visit.stat, visit.name.as_bytes(), &xattrs);
        self.into
            .dir()
            .make_dir(visit.name, 0o700)
            .and_then(|()| self.into.enter(visit.name))
            .map_err(staging(Path::new(visit.name)))?;
        self.pending.push((*visit.stat, xattrs));
        Ok(Go::Into)
    }

    fn leave(&mut self) -> Outcome<()> {
        let failed = staging(Path::new(""));
        let left = self.into.leave().map_err(failed)?;
        self.stager.hash_bytes(b"..");
        let Some((stat, xattrs)) = self.pending.pop() else {
            return Ok(());
        };
        finish(&left, &stat, &xattrs, stat.mode).map_err(staging(self.path))
    }
}

/// Gives a filled directory what it is to have; the time last, because the rest moves it.
fn finish(dir: &Dir, stat: &Stat, xattrs: &Xattrs, mode: u32) -> io::Result<()> {
    drop(fs::set_owner(dir, stat.uid, stat.gid));
    fs::write_xattrs(dir, xattrs)?;
    dir.set_mode(mode)?;
    dir.set_mtime(stat.mtime)
}

fn staging(path: &Path) -> impl Fn(io::Error) -> ParticipantError {
    move |error| ParticipantError::io("stage the change", path, error)
}

fn changing(path: &Path) -> ParticipantError {
    ParticipantError::new(
        Fault::Interrupted,
        "it was being written while it was sealed; wait for the plan's processes to end",
    )
    .at(path)
}
