//! Locks with names: between threads ([`LockTable`]) and between processes ([`Lease`],
//! [`FileLock`]).
//!
//! Nothing here knows what a plan is; an executor may use it alone.
//!
//! ```
//! use planbox::lock::{LockTable, LockWait};
//! use planbox::sync::Rank;
//!
//! let plans = LockTable::new(Rank::Plan);
//! let key = "plan-7".to_owned();
//! let guard = plans.lock(&key, LockWait::Block, "commit")?;
//! assert_eq!(plans.holder(&key).map(|holder| holder.operation), Some("commit".to_owned()));
//! drop(guard);
//! assert!(plans.is_empty());
//! # Ok::<(), planbox::error::LockError>(())
//! ```
//!
//! # Who holds it, and since when
//! A lock between threads stores its holder in the word that is the lock, so that naming it costs
//! nothing until somebody asks. The clock is not part of that word: reading it would cost twice as
//! much as the lock. It is read when a thread is kept waiting or asks, and by
//! [`KeyGuard::stamp`], which an operation that does I/O calls once.

mod gate;
mod lease;
mod noticed;
mod planted;
mod table;
mod wait;
mod who;

use crate::error::Holder;

pub use lease::{FileLock, Lease};
#[doc(hidden)]
pub use planted::LockFault;
pub use table::{Entered, Key, KeyGuard, KeyHandle, LockTable};
pub use wait::LockWait;
pub(crate) use wait::{Polled, poll};

/// This thread as the holder of `key`, doing `operation` since now: what a [`Lease`] is taken as.
#[must_use]
pub fn identify_holder(key: &str, operation: &'static str) -> Holder {
    who::mark(operation).holder(key.to_owned(), crate::clock::now_unix_ms())
}
