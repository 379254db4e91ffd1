//! The same doors, for a run of the keyed locks under loom (`--cfg loom`).
//!
//! loom runs a body in every schedule, and at each atomic with every value that the orderings of memory
//! allow. It knows neither weak references, nor this map, nor time: those are made here from what it
//! knows. The order of latches is not watched: the witness is blind, it would see one thread.

pub(crate) mod atomic;
pub(crate) mod counted;
mod latch;
pub(crate) mod shards;
pub mod thread;

pub use latch::{Condvar, Mutex, MutexGuard};
