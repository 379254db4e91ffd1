//! Making things last: flushes, durable small files, private directories.

use super::dir::Dir;
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// How names of unfinished files begin; a file of that name is nobody's after a crash.
pub(crate) const TEMP_PREFIX: &str = ".planbox-tmp-";

static FLUSHES: AtomicU64 = AtomicU64::new(0);
static TEMPS: AtomicU64 = AtomicU64::new(0);

/// How many flushes (`fsync`, `fdatasync`, `syncfs`) this process has asked for.
#[must_use]
pub(crate) fn flushes() -> u64 {
    FLUSHES.load(Ordering::Relaxed)
}

/// Makes the content and the attributes of `file` durable.
///
/// # Errors
/// What the kernel says. The call is never repeated: what failed may be lost already.
pub(crate) fn sync_all(file: impl AsFd) -> io::Result<()> {
    FLUSHES.fetch_add(1, Ordering::Relaxed);
    Ok(rustix::fs::fsync(file)?)
}

/// Makes the content of `file` durable.
///
/// # Errors
/// As [`sync_all`].
pub(crate) fn sync_data(file: impl AsFd) -> io::Result<()> {
    FLUSHES.fetch_add(1, Ordering::Relaxed);
    Ok(rustix::fs::fdatasync(file)?)
}

impl Dir {
    /// Makes the names in this directory durable.
    ///
    /// # Errors
    /// As [`sync_all`].
    pub(crate) fn sync(&self) -> io::Result<()> {
        sync_all(self)
    }

    /// Makes everything on this directory's file system durable.
    ///
    /// # Errors
    /// As [`sync_all`].
    pub(crate) fn sync_filesystem(&self) -> io::Result<()> {
        FLUSHES.fetch_add(1, Ordering::Relaxed);
        Ok(rustix::fs::syncfs(self)?)
    }

    /// Finds out by doing it whether files here can share their blocks with a copy.
    ///
    /// # Errors
    /// What the kernel says about making files here.
    pub(crate) fn probe_reflink(&self) -> io::Result<bool> {
        let from = self.scratch_file()?;
        (&from).write_all(&[1; 4096])?;
        let to = self.scratch_file()?;
        Ok(rustix::fs::ioctl_ficlone(&to, &from).is_ok())
    }

    /// A file that has no name any more, or never had one.
    fn scratch_file(&self) -> io::Result<File> {
        match self.unnamed_file() {
            Ok(file) => Ok(file),
            Err(_) => {
                let (name, file) = self.temp_file(0o600)?;
                self.remove_file(&name)?;
                Ok(file)
            }
        }
    }

    /// Makes a new file whose name begins with [`TEMP_PREFIX`].
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn temp_file(&self, mode: u32) -> io::Result<(OsString, File)> {
        loop {
            let count = TEMPS.fetch_add(1, Ordering::Relaxed);
            let name = OsString::from(format!("{TEMP_PREFIX}{}-{count}", std::process::id()));
            match self.create_file(&name, mode) {
                // Left by a process that had our number before.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => return other.map(|file| (name, file)),
            }
        }
    }
}

/// Makes `name` a file of mode 0600 with these `bytes`: after a crash it holds the old content or
/// the new, and the new once this has returned.
///
/// # Errors
/// What the kernel says; the old content is in place then, unless only the last flush failed.
pub(crate) fn write_durably(dir: &Dir, name: &OsStr, bytes: &[u8]) -> io::Result<()> {
    let (temp, mut file) = dir.temp_file(0o600)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| sync_all(&file))
        .and_then(|()| dir.rename_over(&temp, dir, name));
    if let Err(error) = written {
        // The first error is the one to report; the file is swept by its prefix if this fails too.
        drop(dir.remove_file(&temp));
        return Err(error);
    }
    dir.sync()
}

/// Opens the directory at `path`, making it and what leads to it where missing; new ones, and the
/// last in any case, have mode 0700.
///
/// # Errors
/// `PermissionDenied` if the last one belongs to somebody else or others may write to it; ENOTDIR
/// if it is a link.
pub(crate) fn make_private_dirs(path: &Path) -> io::Result<Dir> {
    let mut missing: Vec<&OsStr> = Vec::new();
    let mut at = path;
    let mut dir = loop {
        let shown = if at.as_os_str().is_empty() {
            Path::new(".")
        } else {
            at
        };
        match open_existing(shown, missing.is_empty()) {
            Ok(dir) => break dir,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let (Some(parent), Some(name)) = (at.parent(), at.file_name()) else {
            return Err(Errno::INVAL.into());
        };
        missing.push(name);
        at = parent;
    };
    while let Some(name) = missing.pop() {
        match dir.make_dir(name, 0o700) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => {
                other?;
                dir.sync()?;
            }
        }
        dir = dir.child(name)?;
    }
    let stat = dir.stat()?;
    if stat.uid != rustix::process::geteuid().as_raw() || stat.mode & 0o022 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "the directory must belong to this user, and nobody else may write to it",
        ));
    }
    if stat.mode != 0o700 {
        dir.set_mode(0o700)?;
    }
    Ok(dir)
}

/// Opens a directory of the caller's own path; links are refused only for the `last` component.
fn open_existing(path: &Path, last: bool) -> io::Result<Dir> {
    if last {
        return Dir::open(path);
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(rustix::fs::CWD, path, flags, rustix::fs::Mode::empty())?;
    Ok(Dir::from_fd(fd, path))
}

/// Bytes that the kernel has yet to write, of all processes; `None` if it does not say.
#[must_use]
pub(crate) fn dirty_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Dirty:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The kernel's name for the time since it was started; empty if it does not say.
#[must_use]
pub(crate) fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}
