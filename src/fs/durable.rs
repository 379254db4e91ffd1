//! Making things last: flushes, durable small files, private directories.

use super::dir::Dir;
use super::faults;
use crate::sync::witness::about_to_block;
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
#[track_caller]
pub(crate) fn sync_all(file: impl AsFd) -> io::Result<()> {
    about_to_block("fs.sync");
    FLUSHES.fetch_add(1, Ordering::Relaxed);
    faults::flush(file.as_fd(), false, || Ok(rustix::fs::fsync(&file)?))
}

/// Makes the content of `file` durable.
///
/// # Errors
/// As [`sync_all`].
#[track_caller]
pub(crate) fn sync_data(file: impl AsFd) -> io::Result<()> {
    about_to_block("fs.sync");
    FLUSHES.fetch_add(1, Ordering::Relaxed);
    faults::flush(file.as_fd(), false, || Ok(rustix::fs::fdatasync(&file)?))
}

impl Dir {
    /// Makes the names in this directory durable.
    ///
    /// # Errors
    /// As [`sync_all`].
    #[track_caller]
    pub(crate) fn sync(&self) -> io::Result<()> {
        sync_all(self)
    }

    /// Makes everything on this directory's file system durable.
    ///
    /// # Errors
    /// As [`sync_all`].
    #[track_caller]
    pub(crate) fn sync_filesystem(&self) -> io::Result<()> {
        about_to_block("fs.sync");
        FLUSHES.fetch_add(1, Ordering::Relaxed);
        faults::flush(self.as_fd(), true, || Ok(rustix::fs::syncfs(self)?))
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
        if let Ok(file) = self.unnamed_file() {
            return Ok(file);
        }
        let (name, file) = self.temp_file(0o600)?;
        self.remove_file(&name)?;
        Ok(file)
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

/// Writes all of `bytes` to `file`, from where it is.
///
/// # Errors
/// What the kernel says; a part may be written then.
pub(crate) fn write_all(mut file: &File, bytes: &[u8]) -> io::Result<()> {
    let Some(room) = faults::write(file)? else {
        return file.write_all(bytes);
    };
    let room = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
    file.write_all(bytes.get(..room).unwrap_or_default())?;
    Err(Errno::NOSPC.into())
}

/// Makes `name` a file of mode 0600 with these `bytes`: after a crash it holds the old content or
/// the new, and the new once this has returned.
///
/// # Errors
/// What the kernel says; the old content is in place then, unless only the last flush failed.
pub(crate) fn write_durably(dir: &Dir, name: &OsStr, bytes: &[u8]) -> io::Result<()> {
    let (temp, file) = dir.temp_file(0o600)?;
    let written = write_all(&file, bytes)
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

/// Whether one flush of the whole file system is to replace many single ones at `dir`: a test
/// decides that, nobody else.
#[must_use]
pub(crate) fn flushes_whole(dir: &Dir) -> Option<bool> {
    faults::flushes_whole(dir.as_fd())
}

/// Right before the journal in the file `path` ends a transaction.
///
/// # Errors
/// Only a test's: the transaction is not ended then.
pub(crate) fn about_to_end_transaction(path: &Path) -> io::Result<()> {
    faults::journal(path)
}

/// The journal in the file `path` has ended a transaction, and it is flushed.
pub(crate) fn transaction_flushed(path: &Path) {
    faults::journal_flushed(path);
}

/// As [`boot_id`], for what is near `path`: a test may have started the machine anew for that.
#[must_use]
pub(crate) fn boot_id_near(path: &Path) -> String {
    faults::boot(path).unwrap_or_else(boot_id)
}

/// The kernel's name for the time since it was started; empty if it does not say.
#[must_use]
pub(crate) fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::testing::Scratch;
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_durable_file_is_replaced_as_a_whole() {
        let scratch = Scratch::new();
        let name = OsStr::new("state");
        let before = flushes();
        for content in [b"old".as_slice(), b"newer"] {
            write_durably(scratch.dir(), name, content).unwrap();
            assert_eq!(
                std::fs::read(scratch.path().join("state")).unwrap(),
                content
            );
        }
        assert!(flushes() >= before + 4, "file and directory, twice");
        assert_eq!(scratch.dir().entries().unwrap().len(), 1);
        assert_eq!(scratch.dir().stat_at(name).unwrap().unwrap().mode, 0o600);
    }

    #[test]
    fn a_durable_write_that_fails_leaves_nothing_behind() {
        let scratch = Scratch::new();
        scratch.put("taken/f", b"");
        assert!(write_durably(scratch.dir(), OsStr::new("taken"), b"x").is_err());
        assert!(write_durably(scratch.dir(), OsStr::new("a/b"), b"x").is_err());
        assert_eq!(scratch.dir().entries().unwrap().len(), 1);
    }

    #[test]
    fn private_directories_are_made_as_far_as_needed() {
        let scratch = Scratch::new();
        let path = scratch.path().join("a/b/c");
        for _ in 0..2 {
            let made = make_private_dirs(&path).unwrap();
            assert_eq!(made.stat().unwrap().mode, 0o700);
            assert_eq!(made.path(), path);
        }
        // One that only others can read is made private.
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        assert_eq!(
            make_private_dirs(&path).unwrap().stat().unwrap().mode,
            0o700
        );
    }

    #[test]
    fn a_directory_that_others_may_change_is_refused() {
        let scratch = Scratch::new();
        let path = scratch.path().join("open");
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).unwrap();
        let refused = make_private_dirs(&path).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
        let link = scratch.path().join("link");
        std::os::unix::fs::symlink("elsewhere", &link).unwrap();
        assert!(make_private_dirs(&link).is_err(), "a link is not followed");
        scratch.put("file", b"");
        assert!(make_private_dirs(&scratch.path().join("file/x")).is_err());
    }

    #[test]
    fn a_directory_of_somebody_else_is_refused() {
        let scratch = Scratch::new();
        let path = scratch.path().join("theirs");
        std::fs::create_dir(&path).unwrap();
        if std::os::unix::fs::chown(&path, Some(12_345), None).is_ok() {
            let refused = make_private_dirs(&path).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
        }
    }

    #[test]
    fn the_machine_is_asked_and_answers() {
        let scratch = Scratch::new();
        assert!(scratch.dir().free_bytes().unwrap() > 0);
        assert!(dirty_bytes().is_some());
        assert_eq!(boot_id(), boot_id());
        scratch.dir().probe_reflink().unwrap();
        scratch.dir().sync().unwrap();
        scratch.dir().sync_filesystem().unwrap();
        let file = scratch.dir().create_file(OsStr::new("f"), 0o600).unwrap();
        sync_data(&file).unwrap();
        assert_eq!(
            scratch.dir().entries().unwrap().len(),
            1,
            "no probe is left"
        );
    }
}
