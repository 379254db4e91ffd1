//! Modes, times and owners.

use super::dir::Dir;
use super::faults;
use super::open::{one_component, open_within};
use super::stat::{FileKind, Time, statx};
use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _};

impl Dir {
    /// Sets the permission bits of this directory.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn set_mode(&self, mode: u32) -> io::Result<()> {
        faults::attribute((self.as_fd(), OsStr::new("")), || {
            let mode = Mode::from_raw_mode(mode & 0o7777);
            Ok(rustix::fs::fchmod(self, mode)?)
        })
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
        faults::attribute((self.as_fd(), name), || {
            match rustix::fs::chmodat(CWD, by_number, mode, AtFlags::empty()) {
                Err(Errno::NOENT) => {
                    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
                    let fd = open_within(self.as_fd(), name, flags, Mode::empty())?;
                    Ok(rustix::fs::fchmod(fd, mode)?)
                }
                other => Ok(other?),
            }
        })
    }

    /// Gives `name`, also a link, to an owner and a group.
    ///
    /// # Errors
    /// EPERM for an unprivileged process, but for groups it belongs to.
    pub(crate) fn set_owner_at(&self, name: &OsStr, uid: u32, gid: u32) -> io::Result<()> {
        let name = one_component(name)?;
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        faults::attribute((self.as_fd(), name), || {
            let (uid, gid) = (Some(uid), Some(gid));
            Ok(rustix::fs::chownat(self, name, uid, gid, flags)?)
        })
    }

    /// Sets the modification time of this directory; the access time stays.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn set_mtime(&self, mtime: Time) -> io::Result<()> {
        faults::attribute((self.as_fd(), OsStr::new("")), || {
            Ok(rustix::fs::futimens(self, &stamps(mtime))?)
        })
    }

    /// Sets the modification time of `name`, also of a link; the access time stays.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn set_mtime_at(&self, name: &OsStr, mtime: Time) -> io::Result<()> {
        let name = one_component(name)?;
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        faults::attribute((self.as_fd(), name), || {
            Ok(rustix::fs::utimensat(self, name, &stamps(mtime), flags)?)
        })
    }
}

/// Sets the modification time of an open file; the access time stays.
///
/// # Errors
/// What the kernel says.
pub(crate) fn set_file_mtime(file: &File, mtime: Time) -> io::Result<()> {
    faults::attribute((file.as_fd(), OsStr::new("")), || {
        Ok(rustix::fs::futimens(file, &stamps(mtime))?)
    })
}

/// Sets the permission bits of an open file.
///
/// # Errors
/// What the kernel says.
pub(crate) fn set_file_mode(file: &File, mode: u32) -> io::Result<()> {
    faults::attribute((file.as_fd(), OsStr::new("")), || {
        let mode = Mode::from_raw_mode(mode & 0o7777);
        Ok(rustix::fs::fchmod(file, mode)?)
    })
}

/// Gives an open file or directory to an owner and a group.
///
/// # Errors
/// EPERM for an unprivileged process, but for groups it belongs to.
pub(crate) fn set_owner(of: impl AsFd, uid: u32, gid: u32) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    faults::attribute((of.as_fd(), OsStr::new("")), || {
        Ok(rustix::fs::fchown(&of, Some(uid), Some(gid))?)
    })
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
