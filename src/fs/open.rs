//! Opening by name without ever leaving the directory: `openat2`, and what replaces it where it is
//! missing.

use super::stat::statx;
use crate::sync::witness::about_to_block;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};
use std::sync::atomic::{AtomicBool, Ordering};

/// How often a look-up that raced with renames is tried again.
const STORM_TRIES: usize = 128;

/// Where this file system lies so near to another's renames that no look-up was certain.
#[derive(Debug, thiserror::Error)]
#[error("renames nearby made {STORM_TRIES} look-ups uncertain; try again")]
pub(crate) struct RenameStorm;

/// A directory is no longer where it was entered.
#[derive(Debug, thiserror::Error)]
#[error("the directory was moved while it was being walked")]
pub(crate) struct Moved;

/// True if the failed call may simply be made again: see [`RenameStorm`].
#[must_use]
pub(crate) fn is_rename_storm(error: &io::Error) -> bool {
    matches!(error.get_ref(), Some(inner) if inner.is::<RenameStorm>())
}

/// True if a walk ended because of [`Moved`].
#[must_use]
pub(crate) fn is_moved(error: &io::Error) -> bool {
    matches!(error.get_ref(), Some(inner) if inner.is::<Moved>())
}

/// Set once `openat2` has turned out to be missing (old kernel) or forbidden (seccomp).
static MISSING: AtomicBool = AtomicBool::new(false);

const WITHIN: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_XDEV);

/// Refuses everything that is not exactly one component.
pub(super) fn one_component(name: &OsStr) -> io::Result<&OsStr> {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes == b"." || bytes == b".." || bytes.contains(&b'/') {
        return Err(Errno::INVAL.into());
    }
    Ok(name)
}

/// Opens `path` inside `dir`: no `..`, no link in any place, no other mount.
///
/// # Errors
/// What the kernel says: ELOOP for a link, EXDEV for a mount or a way out; a [`RenameStorm`] after
/// 128 uncertain look-ups.
pub(super) fn open_within(
    dir: BorrowedFd<'_>,
    path: &OsStr,
    flags: OFlags,
    mode: Mode,
) -> io::Result<OwnedFd> {
    about_to_block("fs.open");
    let mut flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    if !flags.contains(OFlags::PATH) {
        flags |= OFlags::NOCTTY;
    }
    if !is_missing() {
        match by_openat2(dir, path, flags, mode) {
            Err(Errno::NOSYS) => MISSING.store(true, Ordering::Relaxed),
            Err(Errno::PERM) if is_forbidden(dir) => MISSING.store(true, Ordering::Relaxed),
            Err(Errno::AGAIN) => {
                return Err(io::Error::new(io::ErrorKind::WouldBlock, RenameStorm));
            }
            other => return Ok(other?),
        }
    }
    by_component(dir, path, flags, mode)
}

fn by_openat2(
    dir: BorrowedFd<'_>,
    path: &OsStr,
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    let mut last = Errno::AGAIN;
    for _ in 0..STORM_TRIES {
        match rustix::fs::openat2(dir, path, flags, mode, WITHIN) {
            Err(error @ (Errno::AGAIN | Errno::INTR)) => last = error,
            other => return other,
        }
    }
    Err(last)
}

/// Tells a seccomp filter, which refuses `openat2` always, from a file that may not be opened.
fn is_forbidden(dir: BorrowedFd<'_>) -> bool {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    matches!(
        rustix::fs::openat2(dir, c".", flags, Mode::empty(), WITHIN),
        Err(Errno::PERM)
    )
}

/// The same by one `openat` for each component: a link is refused by the kernel, another mount is
/// seen afterwards.
fn by_component(
    dir: BorrowedFd<'_>,
    path: &OsStr,
    flags: OFlags,
    mode: Mode,
) -> io::Result<OwnedFd> {
    let here = statx(dir, OsStr::new(""))?;
    let step = |at: BorrowedFd<'_>, name: &OsStr, flags: OFlags, mode: Mode| {
        let opened = loop {
            match rustix::fs::openat(at, name, flags, mode) {
                Err(Errno::INTR) => {}
                other => break other?,
            }
        };
        if statx(opened.as_fd(), OsStr::new(""))?.same_mount(&here) {
            Ok(opened)
        } else {
            Err(io::Error::from(Errno::XDEV))
        }
    };
    let through = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at: Option<OwnedFd> = None;
    let mut names = Path::new(path).components().peekable();
    while let Some(component) = names.next() {
        let name = match component {
            Component::Normal(name) => name,
            Component::CurDir => OsStr::new("."),
            _ => return Err(Errno::XDEV.into()),
        };
        let from = at.as_ref().map_or(dir, |at| at.as_fd());
        if names.peek().is_none() {
            return step(from, name, flags, mode);
        }
        at = Some(step(from, name, through, Mode::empty())?);
    }
    Err(Errno::NOENT.into())
}

#[cfg(not(test))]
fn is_missing() -> bool {
    MISSING.load(Ordering::Relaxed)
}

#[cfg(test)]
fn is_missing() -> bool {
    MISSING.load(Ordering::Relaxed) || tests::PRETEND_MISSING.with(std::cell::Cell::get)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::cell::Cell;

    thread_local! {
        pub(super) static PRETEND_MISSING: Cell<bool> = const { Cell::new(false) };
    }

    /// Runs `body` twice in this thread: with `openat2`, and as if the kernel had none.
    pub(in crate::fs) fn with_and_without_openat2(body: impl Fn()) {
        body();
        PRETEND_MISSING.with(|flag| flag.set(true));
        body();
        PRETEND_MISSING.with(|flag| flag.set(false));
    }

    fn refusal(dir: &std::fs::File, path: &str) -> Option<i32> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        open_within(dir.as_fd(), OsStr::new(path), flags, Mode::empty())
            .err()
            .and_then(|error| error.raw_os_error())
    }

    #[test]
    fn ways_out_are_refused() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir(temp.path().join("d")).unwrap();
        std::fs::File::create(temp.path().join("d/f")).unwrap();
        std::os::unix::fs::symlink("d", temp.path().join("to-d")).unwrap();
        std::os::unix::fs::symlink("to-self", temp.path().join("to-self")).unwrap();
        let dir = std::fs::File::open(temp.path()).unwrap();
        with_and_without_openat2(|| {
            assert_eq!(refusal(&dir, "d/f"), None);
            assert!(refusal(&dir, "to-d").is_some(), "a link is not opened");
            assert!(refusal(&dir, "to-d/f").is_some(), "nor gone through");
            assert!(refusal(&dir, "to-self").is_some());
            assert_eq!(refusal(&dir, "../x"), Some(Errno::XDEV.raw_os_error()));
            assert_eq!(refusal(&dir, "/etc"), Some(Errno::XDEV.raw_os_error()));
            assert_eq!(refusal(&dir, "absent"), Some(Errno::NOENT.raw_os_error()));
        });
    }

    #[test]
    fn a_storm_of_renames_is_told_from_other_failures() {
        let storm = io::Error::new(io::ErrorKind::WouldBlock, RenameStorm);
        assert!(is_rename_storm(&storm) && !is_moved(&storm));
        assert!(!is_rename_storm(&io::ErrorKind::WouldBlock.into()));
    }

    #[test]
    fn another_mount_is_refused() {
        let root = std::fs::File::open("/").unwrap();
        with_and_without_openat2(|| {
            assert_eq!(refusal(&root, "proc"), Some(Errno::XDEV.raw_os_error()));
        });
    }

    #[test]
    fn only_one_component_is_a_name() {
        for bad in ["", ".", "..", "a/b", "/"] {
            assert!(one_component(OsStr::new(bad)).is_err(), "{bad:?}");
        }
        for good in ["a", "...", "-rf", "a b", "\n"] {
            assert!(one_component(OsStr::new(good)).is_ok(), "{good:?}");
        }
    }
}
