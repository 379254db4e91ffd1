//! What the kernel says about one inode.

use super::faults;
use crate::sync::witness::about_to_block;
use rustix::fs::{AtFlags, FileType, StatxAttributes, StatxFlags};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// Seconds and nanoseconds since the Unix epoch.
pub(crate) type Time = (i64, u32);

/// The kind of an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    Char,
    /// A block device.
    Block,
}

impl FileKind {
    /// The word for people.
    #[must_use]
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Symlink => "symlink",
            Self::Fifo => "named pipe",
            Self::Socket => "socket",
            Self::Char => "character device",
            Self::Block => "block device",
        }
    }

    /// True for what can be copied: files, directories and links.
    #[must_use]
    pub(crate) fn is_ordinary(self) -> bool {
        matches!(self, Self::File | Self::Directory | Self::Symlink)
    }

    pub(super) fn of(kind: FileType) -> Option<Self> {
        Some(match kind {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Directory,
            FileType::Symlink => Self::Symlink,
            FileType::Fifo => Self::Fifo,
            FileType::Socket => Self::Socket,
            FileType::CharacterDevice => Self::Char,
            FileType::BlockDevice => Self::Block,
            FileType::Unknown => return None,
        })
    }
}

/// The state of one inode at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    /// The device it is on.
    pub(crate) dev: u64,
    /// Its number there.
    pub(crate) ino: u64,
    /// The mount it was reached through; 0 where the kernel does not say (before Linux 5.8).
    pub(crate) mount: u64,
    /// Its kind.
    pub(crate) kind: FileKind,
    /// Permission bits with set-id and sticky bits, without the kind.
    pub(crate) mode: u32,
    /// How many names it has.
    pub(crate) nlink: u32,
    /// Its size in bytes.
    pub(crate) size: u64,
    /// How many bytes are allocated for it.
    pub(crate) allocated: u64,
    /// Its owner.
    pub(crate) uid: u32,
    /// Its group.
    pub(crate) gid: u32,
    /// When its content changed.
    pub(crate) mtime: Time,
    /// When anything of it changed; only the kernel sets it.
    pub(crate) ctime: Time,
    /// True if it may not be changed at all (`chattr +i`).
    pub(crate) immutable: bool,
    /// True if it may only grow (`chattr +a`).
    pub(crate) append_only: bool,
}

impl Stat {
    /// Who it is: device and inode.
    #[must_use]
    pub(crate) fn id(&self) -> (u64, u64) {
        (self.dev, self.ino)
    }

    /// True if `other` was reached through the same mount (the same device, where mounts are
    /// unknown).
    #[must_use]
    pub(crate) fn same_mount(&self, other: &Self) -> bool {
        self.dev == other.dev && self.mount == other.mount
    }
}

/// The state of `name` in `dir`, or of `dir` itself if `name` is empty. Follows no link.
pub(super) fn statx(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<Stat> {
    about_to_block("fs.stat");
    let mut flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    if name.is_empty() {
        flags |= AtFlags::EMPTY_PATH;
    }
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
    let raw = rustix::fs::statx(dir, name, flags, wanted)?;
    let kind = FileKind::of(FileType::from_raw_mode(raw.stx_mode.into()))
        .ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, "an inode of unknown kind"))?;
    let has_mount = raw.stx_mask & StatxFlags::MNT_ID.bits() != 0;
    let dev = rustix::fs::makedev(raw.stx_dev_major, raw.stx_dev_minor);
    let ctime = (raw.stx_ctime.tv_sec, raw.stx_ctime.tv_nsec);
    Ok(Stat {
        dev,
        ino: raw.stx_ino,
        mount: if has_mount { raw.stx_mnt_id } else { 0 },
        kind,
        mode: u32::from(raw.stx_mode) & 0o7777,
        nlink: raw.stx_nlink,
        size: raw.stx_size,
        allocated: raw.stx_blocks.saturating_mul(512),
        uid: raw.stx_uid,
        gid: raw.stx_gid,
        mtime: (raw.stx_mtime.tv_sec, raw.stx_mtime.tv_nsec),
        ctime: faults::ctime((dev, raw.stx_ino), ctime),
        immutable: raw.stx_attributes.contains(StatxAttributes::IMMUTABLE),
        append_only: raw.stx_attributes.contains(StatxAttributes::APPEND),
    })
}

/// The state of an open file.
///
/// # Errors
/// What the kernel says.
pub(crate) fn stat_file(file: &File) -> io::Result<Stat> {
    statx(file.as_fd(), OsStr::new(""))
}
