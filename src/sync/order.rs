//! The declared lock order, as data.

/// The rank of a lock: outermost first. While a lock is held, only later ranks may be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Rank {
    /// The lock of one plan.
    Plan = 1,
    /// The lock of one resource.
    Resource = 2,
    /// The table of plans. Never held across input or output.
    Registry = 3,
    /// A latch under which nothing is taken. Never held across input or output.
    Leaf = 4,
}
