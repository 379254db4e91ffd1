//! What every call asks before it changes something.

use super::plan::{self, Plan};
use super::{Id, Spot};
use crate::fs::stat::Time;
use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The path that the kernel has for a descriptor.
fn path_of(fd: BorrowedFd<'_>) -> Option<PathBuf> {
    let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let path = rustix::fs::readlinkat(CWD, link, Vec::new()).ok()?;
    Some(PathBuf::from(OsStr::from_bytes(path.to_bytes())))
}

/// The plan of faults for what is below `fd`, and the path of it.
fn plan_of(fd: BorrowedFd<'_>) -> Option<(Arc<Plan>, PathBuf)> {
    if !plan::any() {
        return None;
    }
    let path = path_of(fd)?;
    Some((plan::covering(&path)?, path))
}

/// A call that gives a name to an inode.
pub(in crate::fs) fn make<T>(at: Spot<'_>, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let Some((plan, path)) = plan_of(at.0) else {
        return call();
    };
    plan.pass("make", || path.join(at.1))?;
    let before = plan.trace(|trace| trace.see(&[at]));
    let made = call()?;
    if let Some(before) = before {
        plan.trace(|trace| trace.named(&[at], &before));
    }
    Ok(made)
}

/// A call that moves a name.
pub(in crate::fs) fn rename(
    from: Spot<'_>,
    to: Spot<'_>,
    flags: RenameFlags,
    call: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    let Some((plan, path)) = plan_of(from.0).or_else(|| plan_of(to.0)) else {
        return call();
    };
    plan.pass("rename", || path.join(from.1))?;
    let before = plan.trace(|trace| {
        if flags.is_empty() {
            trace.keep(to);
        }
        trace.see(&[from, to])
    });
    call()?;
    if let Some(before) = before {
        plan.trace(|trace| trace.named(&[from, to], &before));
    }
    Ok(())
}

/// A call that removes a name. While it is recorded, the inode is buried instead.
pub(in crate::fs) fn remove(
    at: Spot<'_>,
    is_empty: impl FnOnce() -> io::Result<bool>,
    call: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    let Some((plan, path)) = plan_of(at.0) else {
        return call();
    };
    plan.pass("remove", || path.join(at.1))?;
    if !plan.records() {
        return call();
    }
    if !is_empty()? {
        return Err(Errno::NOTEMPTY.into());
    }
    let buried = plan.trace(|trace| {
        let before = trace.see(&[at]);
        trace.bury(at)?;
        trace.named(&[at], &before);
        Ok(())
    });
    buried.unwrap_or(Ok(()))
}

/// A call that sets an attribute of the inode at `at`; the empty name is the descriptor itself.
pub(in crate::fs) fn attribute<T>(
    at: Spot<'_>,
    call: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    let Some((plan, path)) = plan_of(at.0) else {
        return call();
    };
    plan.pass("attribute", || path.join(at.1))?;
    plan.trace(|trace| trace.before_attribute(at));
    let done = call()?;
    plan.trace(|trace| trace.attribute(at));
    Ok(done)
}

/// Right before content is written to `file`: how many bytes of it reach the file before it is
/// full, if not all do.
pub(in crate::fs) fn write(file: impl AsFd) -> io::Result<Option<u64>> {
    let Some((plan, path)) = plan_of(file.as_fd()) else {
        return Ok(None);
    };
    let short = plan.pass("write", || path)?;
    plan.trace(|trace| trace.dirty((file.as_fd(), OsStr::new(""))));
    Ok(short)
}

/// A file was made, or opened to be written to.
pub(in crate::fs) fn opened(file: impl AsFd) {
    if let Some((plan, _)) = plan_of(file.as_fd()) {
        plan.trace(|trace| trace.dirty((file.as_fd(), OsStr::new(""))));
    }
}

/// A call that flushes one inode, or with `whole` its file system.
pub(in crate::fs) fn flush(
    fd: BorrowedFd<'_>,
    whole: bool,
    call: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    let Some((plan, path)) = plan_of(fd) else {
        return call();
    };
    plan.pass("flush", || path.clone())?;
    let until = plan.trace(|trace| trace.len());
    call()?;
    if let Some(until) = until.filter(|_| !plan.forgets(&path)) {
        plan.trace(|trace| trace.flushed(fd, until, whole));
    }
    Ok(())
}

/// Whether many flushes become one of the whole file system, if a test decides that.
#[must_use]
pub(in crate::fs) fn flushes_whole(fd: BorrowedFd<'_>) -> Option<bool> {
    plan_of(fd)?.0.flushes_whole()
}

/// The name of the time since the machine was started, if a test has started it anew.
#[must_use]
pub(in crate::fs) fn boot(near: &Path) -> Option<String> {
    if plan::any() {
        plan::covering(near)?.boot()
    } else {
        None
    }
}

/// When the inode `id`, which says it was changed at `ctime`, was changed before it was put to
/// where a power cut left it.
#[must_use]
pub(in crate::fs) fn ctime(id: Id, ctime: Time) -> Time {
    if plan::any() {
        plan::shown(id, ctime)
    } else {
        ctime
    }
}

/// Right before the journal in the file `path` ends a transaction.
pub(in crate::fs) fn journal(path: &Path) -> io::Result<()> {
    if plan::any()
        && let Some(plan) = plan::covering(path)
    {
        plan.pass("journal", || path.to_owned())?;
    }
    Ok(())
}

/// The journal in the file `path` has ended a transaction and flushed it.
pub(in crate::fs) fn journal_flushed(path: &Path) {
    if plan::any()
        && let Some(plan) = plan::covering(path)
    {
        plan.journal_flushed();
    }
}
