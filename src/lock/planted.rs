//! Faults that a test plants into the locks, to show that it would notice them.

/// A fault of a keyed lock. A release build cannot plant any.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LockFault {
    /// A dying slot removes the entry of its key, whosever it is.
    CarelessRemoval,
    /// A dying slot looks under the latch whose entry it is, and removes it under the next one.
    OpenRemoval,
    /// A new slot goes into the table without a second look: what counts is the look before the latch.
    LateInsert,
    /// A new slot that replaces a dead one sees nothing of what that one protected.
    WeakInsert,
    /// The entry is removed by the user who counts no other, before the latch.
    OpenCount,
    /// The entry is removed by the user who counts no other under the latch, and is itself counted
    /// until after it.
    EarlyCount,
    /// A dying slot leaves its entry.
    NoRemoval,
    /// A waiter that gave up stays in the queue.
    GhostWaiter,
    /// A thread sees the holder under the latch, and queues under the next one.
    LateQueue,
    /// Leaving publishes nothing to who comes next.
    WeakLeave,
    /// Taking sees nothing of who was there before.
    WeakTake,
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

/// The fault of a lock, if it has one: nothing, in a release build that is no test.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Planted {
    #[cfg(any(test, debug_assertions))]
    fault: Option<LockFault>,
}

impl Planted {
    #[cfg(any(test, debug_assertions))]
    pub(super) fn new(fault: LockFault) -> Self {
        Self { fault: Some(fault) }
    }

    #[inline]
    pub(super) fn is(self, fault: LockFault) -> bool {
        #[cfg(any(test, debug_assertions))]
        let planted = self.fault;
        #[cfg(not(any(test, debug_assertions)))]
        let planted = None;
        planted == Some(fault)
    }
}
