//! What the system would let us do, and what encloses a directory.

use super::dir::Dir;
use super::stat::{Stat, statx};
use rustix::fs::{Access, AtFlags, Mode, OFlags};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

/// A directory that encloses another one.
#[derive(Debug)]
pub(crate) struct Ancestor {
    /// Who it is: device and inode.
    pub(crate) id: (u64, u64),
    /// It, open for `flock`; `None` if we may not read it.
    pub(crate) file: Option<File>,
}

impl Dir {
    /// Asks whether names in this directory may be changed by this process as it is now
    /// (effective ids).
    ///
    /// # Errors
    /// EACCES or EROFS if not.
    pub(crate) fn may_change_names(&self) -> io::Result<()> {
        let wanted = Access::WRITE_OK | Access::EXEC_OK;
        Ok(rustix::fs::accessat(self, c".", wanted, AtFlags::EACCESS)?)
    }

    /// All directories that enclose this one, nearest first, found by walking `..`.
    ///
    /// # Errors
    /// EACCES if one of them may not be searched.
    pub(crate) fn ancestors(&self) -> io::Result<Vec<Ancestor>> {
        let mut found = Vec::new();
        let mut here = self.stat()?;
        let mut above: Option<OwnedFd> = None;
        loop {
            let from = above.as_ref().map_or(self.as_fd(), OwnedFd::as_fd);
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let parent = rustix::fs::openat(from, c"..", flags, Mode::empty())?;
            let stat = statx(parent.as_fd(), OsStr::new(""))?;
            if is_top(&here, &stat) {
                return Ok(found);
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let file = match rustix::fs::openat(&parent, c".", flags, Mode::empty()) {
                Err(rustix::io::Errno::ACCESS) => None,
                other => Some(File::from(other?)),
            };
            found.push(Ancestor {
                id: stat.id(),
                file,
            });
            here = stat;
            above = Some(parent);
        }
    }
}

/// True if `..` of a directory is that directory.
fn is_top(here: &Stat, above: &Stat) -> bool {
    here.id() == above.id() && here.same_mount(above)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ancestors_end_at_the_top_and_begin_with_the_parent() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(temp.path().join("a/b")).unwrap();
        let dir = Dir::open(&temp.path().join("a/b")).unwrap();
        let found = dir.ancestors().unwrap();
        let parent = Dir::open(&temp.path().join("a")).unwrap();
        assert_eq!(found[0].id, parent.stat().unwrap().id());
        let top = Dir::open(std::path::Path::new("/")).unwrap();
        assert_eq!(found.last().unwrap().id, top.stat().unwrap().id());
        assert!(top.ancestors().unwrap().is_empty());
        dir.may_change_names().unwrap();
    }
}
