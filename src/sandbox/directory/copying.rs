//! Copying single things into a view.

use super::manifest::{Entry, Extra, Signature};
use super::view::{Links, Maker};
use crate::clock;
use crate::error::Fault;
use crate::fs::{self, CopyMethod, CopyWish, Stat};
use crate::sandbox::Outcome;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;

/// Largest file whose content is digested when it is copied, in bytes. It was just read, so that
/// costs little; with the digest, a change of status alone (a flag set and cleared, a link made) is
/// told from a change of content.
const DIGEST_MAX_BYTES: u64 = 16 << 20;

/// Set-user-id and set-group-id.
const SET_ID: u32 = 0o6000;

impl Maker<'_> {
    /// Copies a link byte by byte. False if it changed meanwhile.
    pub(super) fn symlink(&mut self, entry: &mut Entry, stat: &Stat) -> io::Result<bool> {
        let (from, into) = (self.from.dir(), self.into.dir());
        let read = from.read_link(entry.name());
        if from.stat_at(entry.name())?.map(|now| now.id()) != Some(stat.id()) {
            return Ok(false);
        }
        let target = read?;
        into.make_symlink(&target, entry.name())?;
        let made = into.stat_at(entry.name())?;
        let foreign = made.is_some_and(|made| (made.uid, made.gid) != (stat.uid, stat.gid));
        if foreign {
            let given = into.set_owner_at(entry.name(), stat.uid, stat.gid);
            self.strangers += u64::from(refused(given)?);
        }
        into.set_mtime_at(entry.name(), stat.mtime)?;
        let Some(made) = into.stat_at(entry.name())? else {
            return Err(io::ErrorKind::NotFound.into());
        };
        entry.view = Signature::of(&made);
        entry.extra = Some(Box::new(Extra {
            link_target: Some(Box::from(target.as_bytes())),
            ..Extra::default()
        }));
        Ok(true)
    }

    /// Copies a regular file, or links it to a copy made before. False if it changed meanwhile.
    pub(super) fn file(&mut self, entry: &mut Entry, stat: &Stat) -> Outcome<bool> {
        if stat.nlink > 1 && self.link(entry, stat) {
            return Ok(true);
        }
        let seen_unix_ms = clock::now_unix_ms();
        let src = match self.from.dir().read_file(entry.name()) {
            Ok(src) => src,
            Err(error) => {
                let now = self.from.dir().stat_at(entry.name());
                let now = now.map_err(|e| self.failed_at(entry, e))?;
                // Gone or replaced since it was looked at.
                if now.map(|now| now.id()) != Some(stat.id()) {
                    return Ok(false);
                }
                return Err(self.failed_at(entry, error));
            }
        };
        let dst = self.into.dir().create_private(entry.name());
        let dst = dst.map_err(|e| self.failed_at(entry, e))?;
        self.content(entry, &src, &dst, stat)?;
        let after = fs::stat_file(&src).map_err(|e| self.failed_at(entry, e))?;
        if Signature::of(&after) != entry.base {
            let removed = self.into.dir().remove_file(entry.name());
            removed.map_err(|e| self.failed_at(entry, e))?;
            return Ok(false);
        }
        let dressed = self.dress(entry, &src, &dst, seen_unix_ms);
        dressed.map_err(|e| self.failed_at(entry, e))?;
        if stat.nlink > 1 {
            let first = u32::try_from(self.manifest.entries().len()).unwrap_or(u32::MAX);
            let others = Vec::new();
            self.links.insert(stat.id(), Links { first, others });
        }
        Ok(true)
    }

    /// Makes a second name of an inode that was copied before. False if that is not possible.
    fn link(&mut self, entry: &mut Entry, stat: &Stat) -> bool {
        let index = u32::try_from(self.manifest.entries().len()).unwrap_or(u32::MAX);
        let Some(links) = self.links.get_mut(&stat.id()) else {
            return false;
        };
        let Some(first) = self.manifest.get(links.first) else {
            return false;
        };
        let linked = || -> io::Result<Option<Stat>> {
            if first.base != entry.base {
                return Ok(None);
            }
            let into = self.into.dir();
            if first.parent == entry.parent {
                into.hard_link(first.name(), into, entry.name())?;
            } else {
                let dir = self
                    .view_root
                    .beneath(&self.manifest.path_of(first.parent))?;
                dir.hard_link(first.name(), into, entry.name())?;
            }
            into.stat_at(entry.name())
        };
        if let Ok(Some(made)) = linked() {
            entry.view = Signature::of(&made);
            entry.extra.clone_from(&first.extra);
            links.others.push(index);
            return true;
        }
        self.note(entry, "a hard link that is a file of its own in the view");
        false
    }

    /// After the last link was made, all names of an inode have the signature of the last.
    pub(super) fn settle_links(&mut self) {
        for links in self.links.values() {
            let last = links
                .others
                .last()
                .and_then(|last| self.manifest.get(*last));
            let Some(view) = last.map(|last| last.view) else {
                continue;
            };
            for index in links.others.iter().chain([&links.first]) {
                if let Some(entry) = self.manifest.entries.get_mut(*index as usize) {
                    entry.view = view;
                }
            }
        }
    }

    fn content(&mut self, entry: &Entry, src: &File, dst: &File, stat: &Stat) -> Outcome<()> {
        if stat.size == 0 {
            return Ok(());
        }
        let done = self.manifest.entries().len() as u64;
        let mut stopped = None;
        let copied = fs::copy_file(src, dst, self.wish, &mut |_| {
            self.work.step(done, 0, "entries").map_err(|error| {
                stopped = Some(error);
                io::ErrorKind::Interrupted.into()
            })
        });
        if let Some(stopped) = stopped {
            return Err(stopped);
        }
        match copied {
            Ok(CopyMethod::Cloned) => self.cloned = true,
            // Asked once: the next files need not try.
            Ok(_) if !self.cloned => self.wish = CopyWish::Copy,
            Ok(_) => {}
            Err(error) if self.wish == CopyWish::Clone => {
                let mut error = self.failed_at(entry, error);
                error.fault = match error.fault {
                    Fault::Io => Fault::Unsupported,
                    other => other,
                };
                "share the blocks of a file, as a pinned reflink view needs"
                    .clone_into(&mut error.message);
                return Err(error);
            }
            Err(error) => return Err(self.failed_at(entry, error)),
        }
        Ok(())
    }

    /// Gives the copy of a file its attributes, owner, mode and time, and looks at it.
    fn dress(
        &mut self,
        entry: &mut Entry,
        src: &File,
        dst: &File,
        seen_unix_ms: u64,
    ) -> io::Result<()> {
        let xattrs = fs::read_xattrs(src)?;
        if xattrs.has_capability {
            self.note(entry, "its file capability is not in the view");
        }
        if !xattrs.carried.is_empty() {
            fs::write_xattrs(dst, &xattrs)?;
        }
        let base = entry.base;
        if base.mode & SET_ID != 0 {
            self.note(entry, "its set-id bits are not in the view");
        }
        let finish = || {
            fs::set_file_mode(dst, base.mode & !SET_ID)?;
            fs::set_file_mtime(dst, base.mtime)?;
            fs::stat_file(dst)
        };
        let mut made = finish()?;
        if (made.uid, made.gid) != (base.uid, base.gid) {
            if refused(fs::set_owner(dst, base.uid, base.gid))? {
                self.strangers += 1;
            }
            made = finish()?;
        }
        entry.view = Signature::of(&made);
        let racy = base.is_racy(seen_unix_ms);
        let extra = Extra {
            link_target: None,
            xattr_digest: xattrs.digest(),
            content_digest: (racy || base.size <= DIGEST_MAX_BYTES)
                .then(|| fs::content_digest(dst))
                .transpose()?,
            racy,
        };
        entry.extra = (extra != Extra::default()).then(|| Box::new(extra));
        Ok(())
    }

    /// Leaves the directory `index` in both trees and gives the copy its attributes, owner, mode
    /// and time.
    pub(super) fn finish(&mut self, index: u32) -> Outcome<()> {
        let finished = self.finish_directory(index);
        finished.map_err(|error| {
            let path = self.manifest.path_of(index);
            self.failed("copy the attributes of a directory", path, error)
        })
    }

    fn finish_directory(&mut self, index: u32) -> io::Result<()> {
        let (from, into) = if index == 0 {
            (self.from.dir().dup()?, self.into.dir().dup()?)
        } else {
            (self.from.leave()?, self.into.leave()?)
        };
        let xattrs = fs::read_xattrs(&from)?;
        let Some(entry) = self.manifest.entries.get_mut(index as usize) else {
            return Ok(());
        };
        if !xattrs.carried.is_empty() {
            fs::write_xattrs(&into, &xattrs)?;
        }
        let base = entry.base;
        let made = into.stat()?;
        if (made.uid, made.gid) != (base.uid, base.gid)
            && refused(fs::set_owner(&into, base.uid, base.gid))?
        {
            self.strangers += 1;
        }
        into.set_mode(base.mode)?;
        into.set_mtime(base.mtime)?;
        entry.view = Signature::of(&into.stat()?);
        entry.extra = xattrs.digest().map(|digest| {
            Box::new(Extra {
                xattr_digest: Some(digest),
                ..Extra::default()
            })
        });
        Ok(())
    }
}

/// True if the change of owner was refused, as it is to all but the privileged.
fn refused(given: io::Result<()>) -> io::Result<bool> {
    match given {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(true),
        other => other.map(|()| false),
    }
}
