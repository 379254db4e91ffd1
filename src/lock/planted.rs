//! Faults that a test plants into the locks, to show that it would notice them.

/// A fault of a keyed lock. A release build cannot plant any.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LockFault {
    /// A dying slot removes the entry of its key, whosever it is.
    CarelessRemoval,
    /// A new slot goes into the table without a second look.
    LateInsert,
    /// A dying slot leaves its entry.
    NoRemoval,
    /// A waiter that gave up stays in the queue.
    GhostWaiter,
    /// The next in the queue becomes the holder, but nobody tells it.
    NoWakeUp,
    /// The lock is free for a moment while it is handed over.
    OpenHandOver,
    /// The lock goes to the one who came last.
    LastFirst,
    /// The lock is left free, and the first in the queue is only told to try again.
    Barging,
    /// A lease is taken on a file without a look whether it still has its name.
    TrustedName,
}

/// The fault of a lock, if it has one: nothing, in a release build.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Planted {
    #[cfg(debug_assertions)]
    fault: Option<LockFault>,
}

impl Planted {
    #[cfg(debug_assertions)]
    pub(super) fn new(fault: LockFault) -> Self {
        Self { fault: Some(fault) }
    }

    #[cfg(debug_assertions)]
    #[inline]
    pub(super) fn is(self, fault: LockFault) -> bool {
        self.fault == Some(fault)
    }

    #[cfg(not(debug_assertions))]
    #[inline(always)]
    pub(super) fn is(self, _fault: LockFault) -> bool {
        false
    }
}
