//! Faults that a test plants into a store of jobs, to show that it would notice them.

/// A fault of a store of jobs. A release build cannot plant any.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum JobFault {
    /// What a write stands on is looked at before its transaction, not in it.
    EarlyLook,
    /// Who watches is not told of a change.
    NoBell,
    /// Who watches listens for the bell after the look, not before.
    LateEar,
    /// A free lease is the end of its owner, without a second look.
    HastyVerdict,
}

/// The fault of a store, if it has one: nothing, in a release build.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Planted {
    #[cfg(debug_assertions)]
    pub(super) fault: Option<JobFault>,
}

impl Planted {
    #[cfg(debug_assertions)]
    pub(super) fn is(self, fault: JobFault) -> bool {
        self.fault == Some(fault)
    }

    #[cfg(not(debug_assertions))]
    #[inline(always)]
    pub(super) fn is(self, _fault: JobFault) -> bool {
        false
    }
}
