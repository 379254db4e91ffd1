//! Atomics whose every operation is a place to switch threads. All orderings are taken for the
//! strongest one.

pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
