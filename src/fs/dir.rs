//! An open directory: getting at what is in it.

use super::attributes::set_file_mode;
use super::entries::Names;
use super::faults;
use super::open::{Moved, one_component, open_within};
use super::stat::{FileKind, Stat, statx};
use crate::sync::witness::about_to_block;
use rustix::fs::{CWD, Mode, OFlags, RawDir, SeekFrom};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
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
        about_to_block("fs.open");
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
        let file = self.regular(name, OFlags::RDWR, Mode::empty())?;
        faults::opened(&file);
        Ok(file)
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
        set_file_mode(&file, mode)?;
        Ok(file)
    }

    /// Makes the new file `name`, private as far as the umask allows; the caller sets its mode.
    pub(crate) fn create_private(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        let mode = Mode::RUSR | Mode::WUSR;
        let name = one_component(name)?;
        let file: File = faults::make((self.as_fd(), name), || {
            Ok(open_within(self.as_fd(), name, flags, mode)?.into())
        })?;
        faults::opened(&file);
        Ok(file)
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
        about_to_block("fs.list");
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
        about_to_block("fs.stat");
        let stat = rustix::fs::fstatvfs(&self.fd)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}
