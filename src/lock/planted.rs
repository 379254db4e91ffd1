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

    #[inline]
    pub(super) fn is(self, fault: LockFault) -> bool {
        #[cfg(debug_assertions)]
        let planted = self.fault;
        #[cfg(not(debug_assertions))]
        let planted = None;
        planted == Some(fault)
    }
}
