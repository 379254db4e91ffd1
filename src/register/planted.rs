//! Faults that a test plants into a register, to show that it would notice them.

/// A fault of a register. A release build cannot plant any.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegisterFault {
    /// Who changes it does not look whether somebody else did.
    NoComparison,
    /// A promise binds nobody.
    NoPromise,
    /// Any number of threads load at once.
    NoTurn,
    /// Who read the row of the past puts it in all the same.
    OldRow,
}

/// The fault of a register, if it has one: nothing, in a release build.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Planted {
    #[cfg(debug_assertions)]
    pub(super) fault: Option<RegisterFault>,
}

impl Planted {
    #[cfg(debug_assertions)]
    pub(super) fn is(self, fault: RegisterFault) -> bool {
        self.fault == Some(fault)
    }

    #[cfg(not(debug_assertions))]
    #[inline(always)]
    pub(super) fn is(self, _fault: RegisterFault) -> bool {
        false
    }
}
