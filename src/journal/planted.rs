//! Faults that a test plants into the writer, to show that it would notice them.

/// A fault of the writer that works for all who wait. A release build cannot plant any.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum JournalFault {
    /// Who is done leaves those who wait alone.
    NoHandOver,
    /// Who panicked keeps the turn.
    PanicKeepsTurn,
    /// A failed flush is forgotten.
    NoPoison,
    /// Who comes while somebody writes writes as well.
    TwoWriters,
    /// What was queued last is written first.
    LastFirst,
    /// Closing does not wait for whoever writes.
    HastyClose,
}

/// The fault of a writer, if it has one: nothing, in a release build.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Planted {
    #[cfg(debug_assertions)]
    pub(super) fault: Option<JournalFault>,
}

impl Planted {
    #[cfg(debug_assertions)]
    pub(super) fn is(self, fault: JournalFault) -> bool {
        self.fault == Some(fault)
    }

    #[cfg(not(debug_assertions))]
    #[inline(always)]
    pub(super) fn is(self, _fault: JournalFault) -> bool {
        false
    }
}
