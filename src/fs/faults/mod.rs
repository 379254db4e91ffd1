//! A file system that fails and loses power, for tests: nothing at all in a release build.
//!
//! Every call of this door that changes something asks here first. A test registers a directory
//! ([`Faults::below`]); what happens below it is subject to the faults of that test, whichever
//! thread does it, and nothing else in the process is. Whose a call is, the descriptor tells: the
//! kernel knows the path it was opened by.
//!
//! A *recording* keeps what is needed to undo each call (`trace`). After a power cut the calls
//! that nobody flushed are undone in place, as far as the [`Loss`] says (`crash`): in place and
//! not in a copy, because the records of a plan name inodes.

#[cfg(debug_assertions)]
mod crash;
#[cfg(debug_assertions)]
mod doors;
#[cfg(not(debug_assertions))]
mod off;
#[cfg(debug_assertions)]
mod plan;
#[cfg(debug_assertions)]
mod trace;

#[cfg(debug_assertions)]
pub use crash::Loss;
#[cfg(debug_assertions)]
pub use plan::{Faults, Wrong};

#[cfg(debug_assertions)]
pub(super) use doors::{
    attribute, boot, ctime, flush, flushes_whole, journal, journal_flushed, make, opened, remove,
    rename, write,
};
#[cfg(not(debug_assertions))]
pub(super) use off::{
    attribute, boot, ctime, flush, flushes_whole, journal, journal_flushed, make, opened, remove,
    rename, write,
};

use std::ffi::OsStr;
use std::os::fd::BorrowedFd;

/// Who an inode is: device and number.
type Id = (u64, u64);

/// One name in an open directory.
type Spot<'a> = (BorrowedFd<'a>, &'a OsStr);
