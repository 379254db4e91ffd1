//! Making, moving and removing names.

use super::dir::Dir;
use super::faults;
use super::open::one_component;
use super::stat::{FileKind, statx};
use crate::sync::witness::about_to_block;
use rustix::fs::{AtFlags, Mode, RenameFlags};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStringExt as _;

impl Dir {
    /// Makes the new directory `name` with exactly `mode`, whatever the umask.
    ///
    /// # Errors
    /// EEXIST if the name is taken.
    pub(crate) fn make_dir(&self, name: &OsStr, mode: u32) -> io::Result<()> {
        about_to_block("fs.make");
        let name = one_component(name)?;
        let mode = mode & 0o7777;
        faults::make((self.as_fd(), name), || {
            Ok(rustix::fs::mkdirat(
                self,
                name,
                Mode::from_raw_mode(mode & 0o700),
            )?)
        })?;
        if statx(self.as_fd(), name)?.mode == mode {
            return Ok(());
        }
        self.set_mode_at(name, mode)
    }

    /// Makes the new link `name` with these very bytes as its target.
    ///
    /// # Errors
    /// EEXIST if the name is taken.
    pub(crate) fn make_symlink(&self, target: &OsStr, name: &OsStr) -> io::Result<()> {
        about_to_block("fs.make");
        let name = one_component(name)?;
        faults::make((self.as_fd(), name), || {
            Ok(rustix::fs::symlinkat(target, self, name)?)
        })
    }

    /// The exact bytes of the target of the link `name`.
    ///
    /// # Errors
    /// EINVAL if it is no link.
    pub(crate) fn read_link(&self, name: &OsStr) -> io::Result<OsString> {
        about_to_block("fs.read");
        let target = rustix::fs::readlinkat(self, one_component(name)?, Vec::new())?;
        Ok(OsString::from_vec(target.into_bytes()))
    }

    /// Gives the inode `name` a second name. A link gets a second name itself.
    ///
    /// # Errors
    /// EEXIST if `to_name` is taken; EMLINK, EPERM or EXDEV where it cannot be.
    pub(crate) fn hard_link(&self, name: &OsStr, to: &Self, to_name: &OsStr) -> io::Result<()> {
        let (name, to_name) = (one_component(name)?, one_component(to_name)?);
        faults::make((to.as_fd(), to_name), || {
            Ok(rustix::fs::linkat(
                self,
                name,
                to,
                to_name,
                AtFlags::empty(),
            )?)
        })
    }

    /// Moves `name`, replacing nothing.
    ///
    /// # Errors
    /// EEXIST if `to_name` is taken, EXDEV on another file system.
    pub(crate) fn rename_new(&self, name: &OsStr, to: &Self, to_name: &OsStr) -> io::Result<()> {
        self.rename(name, to, to_name, RenameFlags::NOREPLACE)
    }

    /// Swaps two names, of any kinds.
    ///
    /// # Errors
    /// ENOENT if either is absent, EXDEV on another file system.
    pub(crate) fn exchange(&self, name: &OsStr, to: &Self, to_name: &OsStr) -> io::Result<()> {
        self.rename(name, to, to_name, RenameFlags::EXCHANGE)
    }

    /// Moves `name`, replacing a file of that name.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn rename_over(&self, name: &OsStr, to: &Self, to_name: &OsStr) -> io::Result<()> {
        self.rename(name, to, to_name, RenameFlags::empty())
    }

    fn rename(
        &self,
        name: &OsStr,
        to: &Self,
        to_name: &OsStr,
        flags: RenameFlags,
    ) -> io::Result<()> {
        about_to_block("fs.rename");
        let (name, to_name) = (one_component(name)?, one_component(to_name)?);
        let (from, into) = ((self.as_fd(), name), (to.as_fd(), to_name));
        faults::rename(from, into, flags, || {
            Ok(rustix::fs::renameat_with(self, name, to, to_name, flags)?)
        })
    }

    /// Removes the name of anything but a directory.
    ///
    /// # Errors
    /// EISDIR for a directory.
    pub(crate) fn remove_file(&self, name: &OsStr) -> io::Result<()> {
        about_to_block("fs.remove");
        let name = one_component(name)?;
        let is_file = || match statx(self.as_fd(), name)?.kind {
            FileKind::Directory => Err(Errno::ISDIR.into()),
            _ => Ok(true),
        };
        faults::remove((self.as_fd(), name), is_file, || {
            Ok(rustix::fs::unlinkat(self, name, AtFlags::empty())?)
        })
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// ENOTEMPTY, ENOTDIR.
    pub(crate) fn remove_dir(&self, name: &OsStr) -> io::Result<()> {
        about_to_block("fs.remove");
        let name = one_component(name)?;
        let is_empty = || Ok(self.child_quiet(name)?.entries()?.is_empty());
        faults::remove((self.as_fd(), name), is_empty, || {
            Ok(rustix::fs::unlinkat(self, name, AtFlags::REMOVEDIR)?)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::open::tests::with_and_without_openat2;
    use super::super::testing::Scratch;
    use super::*;
    use std::os::unix::ffi::OsStrExt as _;
    use std::path::Path;

    fn name(text: &str) -> &OsStr {
        OsStr::new(text)
    }

    #[test]
    fn names_are_bytes() {
        let scratch = Scratch::new();
        let odd = OsStr::from_bytes(b"\xff\n\x1b -x");
        drop(scratch.dir().create_file(odd, 0o600).unwrap());
        scratch.dir().make_symlink(odd, name("l")).unwrap();
        assert_eq!(scratch.dir().entries().unwrap().sorted(), [name("l"), odd]);
        assert_eq!(scratch.dir().read_link(name("l")).unwrap(), odd);
        let error = scratch.dir().read_file(OsStr::from_bytes(b"a\0b"));
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert!(scratch.dir().stat_at(name("..")).is_err());
        assert_eq!(scratch.dir().stat_at(name("absent")).unwrap(), None);
    }

    #[test]
    fn only_regular_files_are_opened() {
        let scratch = Scratch::new();
        let sub = scratch.sub("d");
        scratch.put("f", b"x");
        sub.make_symlink(name("../f"), name("l")).unwrap();
        rustix::fs::mkfifoat(&sub, "p", Mode::RUSR | Mode::WUSR).unwrap();
        with_and_without_openat2(|| {
            assert!(scratch.dir().read_file(name("f")).is_ok());
            assert!(scratch.dir().write_file(name("f")).is_ok());
            for bad in ["d", "absent", "d/l"] {
                assert!(scratch.dir().read_file(name(bad)).is_err(), "{bad}");
            }
            for bad in ["l", "p"] {
                assert!(sub.read_file(name(bad)).is_err(), "{bad}");
                assert!(sub.write_file(name(bad)).is_err(), "{bad}");
                assert!(sub.open_or_create(name(bad), 0o600).is_err(), "{bad}");
                assert!(sub.child(name(bad)).is_err(), "{bad}");
            }
        });
        let made = sub.open_or_create(name("new"), 0o640).unwrap();
        let again = sub.open_or_create(name("new"), 0o600).unwrap();
        let [made, again] = [made, again].map(|file| super::super::stat_file(&file).unwrap());
        assert_eq!((made.id(), made.mode), (again.id(), 0o640));
    }

    #[test]
    fn a_rename_replaces_nothing_unless_told_to() {
        let scratch = Scratch::new();
        scratch.put("a", b"a");
        scratch.put("d/b", b"b");
        let (dir, sub) = (scratch.dir(), scratch.dir().child(name("d")).unwrap());
        let taken = dir.rename_new(name("a"), &sub, name("b")).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
        dir.exchange(name("a"), &sub, name("b")).unwrap();
        assert_eq!(std::fs::read(scratch.path().join("d/b")).unwrap(), b"a");
        assert!(dir.exchange(name("a"), &sub, name("absent")).is_err());
        dir.rename_new(name("a"), &sub, name("c")).unwrap();
        sub.rename_over(name("c"), &sub, name("b")).unwrap();
        assert_eq!(std::fs::read(scratch.path().join("d/b")).unwrap(), b"b");
        assert!(dir.rename_new(name("d"), dir, name("../d")).is_err());
        sub.remove_file(name("b")).unwrap();
        assert!(dir.remove_file(name("d")).is_err());
        dir.remove_dir(name("d")).unwrap();
    }

    #[test]
    fn modes_and_times_are_exact_and_links_have_their_own() {
        let scratch = Scratch::new();
        let dir = scratch.dir();
        dir.make_dir(name("d"), 0o1731).unwrap();
        assert_eq!(dir.stat_at(name("d")).unwrap().unwrap().mode, 0o1731);
        drop(dir.create_file(name("f"), 0o4751).unwrap());
        assert_eq!(dir.stat_at(name("f")).unwrap().unwrap().mode, 0o4751);
        dir.set_mode_at(name("f"), 0).unwrap();
        assert_eq!(dir.stat_at(name("f")).unwrap().unwrap().mode, 0);
        dir.make_symlink(name("f"), name("l")).unwrap();
        assert!(dir.set_mode_at(name("l"), 0o777).is_err());
        dir.set_mtime_at(name("l"), (-7, 999_999_999)).unwrap();
        assert_eq!(
            dir.stat_at(name("l")).unwrap().unwrap().mtime,
            (-7, 999_999_999)
        );
        assert_ne!(dir.stat_at(name("f")).unwrap().unwrap().mtime.0, -7);
        dir.set_mtime((5, 6)).unwrap();
        assert_eq!(dir.stat().unwrap().mtime, (5, 6));
    }

    #[test]
    fn a_path_may_be_longer_than_the_kernel_takes() {
        let scratch = Scratch::new();
        super::super::testing::make_deep(scratch.dir(), 6_000);
        let path = vec!["d"; 6_000].join("/");
        with_and_without_openat2(|| {
            let deep = scratch.dir().beneath(Path::new(&path)).unwrap();
            assert!(deep.entries().unwrap().is_empty());
        });
        let same = scratch.dir().beneath(Path::new("")).unwrap();
        assert_eq!(same.stat().unwrap(), scratch.dir().stat().unwrap());
        for bad in ["..", "d/../d", "/d"] {
            assert!(scratch.dir().beneath(Path::new(bad)).is_err(), "{bad}");
        }
    }
}
