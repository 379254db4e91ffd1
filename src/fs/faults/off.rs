//! A release build knows no faults: every call is made as it is.

use super::{Id, Spot};
use crate::fs::stat::Time;
use rustix::fs::RenameFlags;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

/// Makes the call.
#[inline(always)]
pub(in crate::fs) fn make<T>(_at: Spot<'_>, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    call()
}

/// Makes the call.
#[inline(always)]
pub(in crate::fs) fn rename(
    _from: Spot<'_>,
    _to: Spot<'_>,
    _flags: RenameFlags,
    call: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    call()
}

/// Makes the call.
#[inline(always)]
pub(in crate::fs) fn remove(
    _at: Spot<'_>,
    _is_empty: impl FnOnce() -> io::Result<bool>,
    call: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    call()
}

/// Makes the call.
#[inline(always)]
pub(in crate::fs) fn attribute<T>(
    _at: Spot<'_>,
    call: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    call()
}

/// All bytes reach the file.
#[inline(always)]
#[expect(
    clippy::unnecessary_wraps,
    reason = "a build with faults can fail here"
)]
pub(in crate::fs) fn write(_file: impl AsFd) -> io::Result<Option<u64>> {
    Ok(None)
}

/// Nothing.
#[inline(always)]
pub(in crate::fs) fn opened(_file: impl AsFd) {}

/// Makes the call.
#[inline(always)]
pub(in crate::fs) fn flush(
    _fd: BorrowedFd<'_>,
    _whole: bool,
    call: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    call()
}

/// Nobody decides that.
#[inline(always)]
pub(in crate::fs) fn flushes_whole(_fd: BorrowedFd<'_>) -> Option<bool> {
    None
}

/// No test starts the machine anew.
#[inline(always)]
pub(in crate::fs) fn boot(_near: &Path) -> Option<String> {
    None
}

/// What the kernel says.
#[inline(always)]
pub(in crate::fs) fn ctime(_id: Id, ctime: Time) -> Time {
    ctime
}

/// Nothing.
#[inline(always)]
#[expect(
    clippy::unnecessary_wraps,
    reason = "a build with faults can fail here"
)]
pub(in crate::fs) fn journal(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// Nothing.
#[inline(always)]
pub(in crate::fs) fn journal_flushed(_path: &Path) {}
