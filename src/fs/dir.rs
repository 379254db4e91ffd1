//! An open directory, and what can be done to the names in it.

use super::entries::Names;
use super::open::{Moved, one_component, open_within};
use super::stat::{FileKind, Stat, Time, statx};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RawDir, RenameFlags, SeekFrom, Timespec, Timestamps};
use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::sync::Arc;

const READ_DIR: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

/// Longest relative path given to the kernel in one piece.
const CHUNK_BYTES: usize = 2048;

/// Bytes of directory entries read at a time; the kernel's own unit is about this.
const ENTRY_BUFFER: usize = 32 * 1024;

/// An open directory.
///
/// Cheap to pass by reference; it holds one descriptor until it is dropped.
#[derive(Debug)]
pub(crate) struct Dir {
    fd: OwnedFd,
    path: Arc<Path>,
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Dir {
    /// Opens the caller's own `path`. Its last component may not be a link; what comes before is
    /// resolved as the system does.
    ///
    /// # Errors
    /// What the kernel says: ENOTDIR for a file or a link.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = READ_DIR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        Ok(Self {
            fd,
            path: Arc::from(path),
        })
    }

    pub(super) fn from_fd(fd: OwnedFd, path: &Path) -> Self {
        Self {
            fd,
            path: Arc::from(path),
        }
    }

    /// The path it was opened by, for messages only. A directory of a [`Cursor`](super::Cursor)
    /// shows the path of the walk's root.
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A second handle on the same open directory.
    ///
    /// # Errors
    /// EMFILE or ENFILE.
    pub(crate) fn dup(&self) -> io::Result<Self> {
        Ok(Self {
            fd: self.fd.try_clone()?,
            path: Arc::clone(&self.path),
        })
    }

    /// A fresh open file description of this directory, for example to `flock` it.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn as_file(&self) -> io::Result<File> {
        let flags = READ_DIR | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.fd, c".", flags, Mode::empty())?.into())
    }

    /// Opens the directory `name` in this one: no link, no other mount.
    ///
    /// # Errors
    /// ENOTDIR or ELOOP for a link, EXDEV for a mount point, EINVAL for more than one component.
    pub(crate) fn child(&self, name: &OsStr) -> io::Result<Self> {
        let mut child = self.child_quiet(name)?;
        child.path = Arc::from(self.path.join(name));
        Ok(child)
    }

    /// As [`child`](Self::child), but the path for messages stays that of this directory, so that
    /// a deep walk does not cost the square of its depth.
    pub(super) fn child_quiet(&self, name: &OsStr) -> io::Result<Self> {
        let name = one_component(name)?;
        Ok(Self {
            fd: open_within(self.as_fd(), name, READ_DIR, Mode::empty())?,
            path: Arc::clone(&self.path),
        })
    }

    /// Opens the directory at `path` below this one, of any length; the empty path is this
    /// directory itself.
    ///
    /// # Errors
    /// As [`child`](Self::child); EXDEV for `..` or an absolute path.
    pub(crate) fn beneath(&self, path: &Path) -> io::Result<Self> {
        let mut at: Option<OwnedFd> = None;
        let mut chunk = OsString::new();
        for component in path.components() {
            let std::path::Component::Normal(name) = component else {
                return Err(Errno::XDEV.into());
            };
            if !chunk.is_empty() && chunk.len() + 1 + name.len() > CHUNK_BYTES {
                let from = at.as_ref().map_or(self.as_fd(), AsFd::as_fd);
                at = Some(open_within(from, &chunk, READ_DIR, Mode::empty())?);
                chunk.clear();
            }
            if !chunk.is_empty() {
                chunk.push("/");
            }
            chunk.push(name);
        }
        let from = at.as_ref().map_or(self.as_fd(), AsFd::as_fd);
        let last = if chunk.is_empty() {
            OsStr::new(".")
        } else {
            &chunk
        };
        Ok(Self {
            fd: open_within(from, last, READ_DIR, Mode::empty())?,
            path: Arc::from(self.path.join(path)),
        })
    }

    /// Opens the directory that holds this one and checks that it is the `expected` (device,
    /// inode).
    ///
    /// # Errors
    /// [`Moved`] if it is another one.
    pub(crate) fn parent_checked(&self, expected: (u64, u64)) -> io::Result<Self> {
        let flags = READ_DIR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let parent = Self {
            fd: rustix::fs::openat(&self.fd, c"..", flags, Mode::empty())?,
            path: Arc::clone(&self.path),
        };
        if parent.stat()?.id() == expected {
            Ok(parent)
        } else {
            Err(io::Error::new(io::ErrorKind::NotFound, Moved))
        }
    }

    /// The state of this directory.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn stat(&self) -> io::Result<Stat> {
        statx(self.as_fd(), OsStr::new(""))
    }

    /// The state of `name`, `None` if it is absent. A link is described, not followed.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn stat_at(&self, name: &OsStr) -> io::Result<Option<Stat>> {
        match statx(self.as_fd(), one_component(name)?) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }

    /// Opens the regular file `name` for reading.
    ///
    /// # Errors
    /// ELOOP for a link, `InvalidInput` for anything else that is no regular file; it never waits
    /// for a pipe.
    pub(crate) fn read_file(&self, name: &OsStr) -> io::Result<File> {
        self.regular(name, OFlags::RDONLY, Mode::empty())
    }

    /// Opens the regular file `name` for reading and writing.
    ///
    /// # Errors
    /// As [`read_file`](Self::read_file).
    pub(crate) fn write_file(&self, name: &OsStr) -> io::Result<File> {
        self.regular(name, OFlags::RDWR, Mode::empty())
    }

    /// Opens the regular file `name` for reading and writing; makes it with exactly `mode` if it
    /// is absent.
    ///
    /// # Errors
    /// As [`read_file`](Self::read_file).
    pub(crate) fn open_or_create(&self, name: &OsStr, mode: u32) -> io::Result<File> {
        for _ in 0..16 {
            match self.create_file(name, mode) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => return other,
            }
            match self.write_file(name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => return other,
            }
        }
        Err(io::Error::from(io::ErrorKind::WouldBlock))
    }

    /// Makes the new file `name` with exactly `mode`, whatever the umask, open for reading and
    /// writing.
    ///
    /// # Errors
    /// EEXIST if the name is taken.
    pub(crate) fn create_file(&self, name: &OsStr, mode: u32) -> io::Result<File> {
        let file = self.create_private(name)?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode & 0o7777))?;
        Ok(file)
    }

    /// Makes the new file `name`, private as far as the umask allows; the caller sets its mode.
    pub(crate) fn create_private(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        let mode = Mode::RUSR | Mode::WUSR;
        Ok(open_within(self.as_fd(), one_component(name)?, flags, mode)?.into())
    }

    /// Makes a file without a name on this directory's file system, if that is possible there.
    ///
    /// # Errors
    /// EOPNOTSUPP, EISDIR or ENOENT where it is not.
    pub(crate) fn unnamed_file(&self) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        Ok(rustix::fs::openat(&self.fd, c".", flags, mode)?.into())
    }

    fn regular(&self, name: &OsStr, flags: OFlags, mode: Mode) -> io::Result<File> {
        let flags = flags | OFlags::NONBLOCK;
        let fd = open_within(self.as_fd(), one_component(name)?, flags, mode)?;
        if statx(fd.as_fd(), OsStr::new(""))?.kind == FileKind::File {
            Ok(fd.into())
        } else {
            Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a regular file",
            ))
        }
    }

    /// Makes the new directory `name` with exactly `mode`, whatever the umask.
    ///
    /// # Errors
    /// EEXIST if the name is taken.
    pub(crate) fn make_dir(&self, name: &OsStr, mode: u32) -> io::Result<()> {
        let name = one_component(name)?;
        let mode = mode & 0o7777;
        rustix::fs::mkdirat(&self.fd, name, Mode::from_raw_mode(mode & 0o700))?;
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
        Ok(rustix::fs::symlinkat(
            target,
            &self.fd,
            one_component(name)?,
        )?)
    }

    /// The exact bytes of the target of the link `name`.
    ///
    /// # Errors
    /// EINVAL if it is no link.
    pub(crate) fn read_link(&self, name: &OsStr) -> io::Result<OsString> {
        let target = rustix::fs::readlinkat(&self.fd, one_component(name)?, Vec::new())?;
        Ok(OsString::from_vec(target.into_bytes()))
    }

    /// Gives the inode `name` a second name. A link gets a second name itself.
    ///
    /// # Errors
    /// EEXIST if `to_name` is taken; EMLINK, EPERM or EXDEV where it cannot be.
    pub(crate) fn hard_link(&self, name: &OsStr, to: &Self, to_name: &OsStr) -> io::Result<()> {
        let (name, to_name) = (one_component(name)?, one_component(to_name)?);
        Ok(rustix::fs::linkat(
            &self.fd,
            name,
            &to.fd,
            to_name,
            AtFlags::empty(),
        )?)
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
        let (name, to_name) = (one_component(name)?, one_component(to_name)?);
        Ok(rustix::fs::renameat_with(
            &self.fd, name, &to.fd, to_name, flags,
        )?)
    }

    /// Removes the name of anything but a directory.
    ///
    /// # Errors
    /// EISDIR for a directory.
    pub(crate) fn remove_file(&self, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(
            &self.fd,
            one_component(name)?,
            AtFlags::empty(),
        )?)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// ENOTEMPTY, ENOTDIR.
    pub(crate) fn remove_dir(&self, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(
            &self.fd,
            one_component(name)?,
            AtFlags::REMOVEDIR,
        )?)
    }

    /// Sets the permission bits of this directory.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn set_mode(&self, mode: u32) -> io::Result<()> {
        Ok(rustix::fs::fchmod(
            &self.fd,
            Mode::from_raw_mode(mode & 0o7777),
        )?)
    }

    /// Sets the permission bits of the file or directory `name`, even if it may not be opened.
    ///
    /// # Errors
    /// EOPNOTSUPP for a link: links have no mode.
    pub(crate) fn set_mode_at(&self, name: &OsStr, mode: u32) -> io::Result<()> {
        let mode = Mode::from_raw_mode(mode & 0o7777);
        let name = one_component(name)?;
        let fd = open_within(self.as_fd(), name, OFlags::PATH, Mode::empty())?;
        if statx(fd.as_fd(), OsStr::new(""))?.kind == FileKind::Symlink {
            return Err(Errno::OPNOTSUPP.into());
        }
        // A descriptor that grants nothing has to be named through /proc.
        let by_number = format!("/proc/self/fd/{}", fd.as_raw_fd());
        match rustix::fs::chmodat(CWD, by_number, mode, AtFlags::empty()) {
            Err(Errno::NOENT) => {
                let flags = OFlags::RDONLY | OFlags::NONBLOCK;
                let fd = open_within(self.as_fd(), name, flags, Mode::empty())?;
                Ok(rustix::fs::fchmod(fd, mode)?)
            }
            other => Ok(other?),
        }
    }

    /// Gives `name`, also a link, to an owner and a group.
    ///
    /// # Errors
    /// EPERM for an unprivileged process, but for groups it belongs to.
    pub(crate) fn set_owner_at(&self, name: &OsStr, uid: u32, gid: u32) -> io::Result<()> {
        let name = one_component(name)?;
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        Ok(rustix::fs::chownat(
            &self.fd,
            name,
            Some(uid),
            Some(gid),
            flags,
        )?)
    }

    /// Sets the modification time of this directory; the access time stays.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn set_mtime(&self, mtime: Time) -> io::Result<()> {
        Ok(rustix::fs::futimens(&self.fd, &stamps(mtime))?)
    }

    /// Sets the modification time of `name`, also of a link; the access time stays.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn set_mtime_at(&self, name: &OsStr, mtime: Time) -> io::Result<()> {
        let name = one_component(name)?;
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        Ok(rustix::fs::utimensat(
            &self.fd,
            name,
            &stamps(mtime),
            flags,
        )?)
    }

    /// All names in this directory but `.` and `..`.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn entries(&self) -> io::Result<Names> {
        let mut names = Names::default();
        self.for_each_entry(&mut |name, kind| {
            names.push(name.as_encoded_bytes(), kind);
            Ok(())
        })?;
        Ok(names)
    }

    /// Calls `visit` for each name but `.` and `..`, without holding them all.
    ///
    /// # Errors
    /// What the kernel or `visit` says.
    pub(crate) fn for_each_entry(
        &self,
        visit: &mut dyn FnMut(&OsStr, Option<FileKind>) -> io::Result<()>,
    ) -> io::Result<()> {
        use std::os::unix::ffi::OsStrExt as _;
        let fresh = self.as_file()?;
        rustix::fs::seek(&fresh, SeekFrom::Start(0))?;
        let mut buffer = Vec::with_capacity(ENTRY_BUFFER);
        let mut raw = RawDir::new(&fresh, buffer.spare_capacity_mut());
        while let Some(entry) = raw.next() {
            let entry = match entry {
                Err(Errno::INTR) => continue,
                other => other?,
            };
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                visit(OsStr::from_bytes(name), FileKind::of(entry.file_type()))?;
            }
        }
        Ok(())
    }

    /// Bytes that an unprivileged writer may still use on this file system.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn free_bytes(&self) -> io::Result<u64> {
        let stat = rustix::fs::fstatvfs(&self.fd)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// Sets the modification time of an open file; the access time stays.
///
/// # Errors
/// What the kernel says.
pub(crate) fn set_file_mtime(file: &File, mtime: Time) -> io::Result<()> {
    Ok(rustix::fs::futimens(file, &stamps(mtime))?)
}

/// Sets the permission bits of an open file.
///
/// # Errors
/// What the kernel says.
pub(crate) fn set_file_mode(file: &File, mode: u32) -> io::Result<()> {
    Ok(rustix::fs::fchmod(
        file,
        Mode::from_raw_mode(mode & 0o7777),
    )?)
}

/// Gives an open file or directory to an owner and a group.
///
/// # Errors
/// EPERM for an unprivileged process, but for groups it belongs to.
pub(crate) fn set_owner(of: impl AsFd, uid: u32, gid: u32) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    Ok(rustix::fs::fchown(of, Some(uid), Some(gid))?)
}

fn stamps(mtime: Time) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: rustix::fs::UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: mtime.0,
            tv_nsec: mtime.1.into(),
        },
    }
}
