//! Atomics that may answer with any value that their orderings allow.

pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
