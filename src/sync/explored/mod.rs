//! The same doors, for a run that explores schedules (`--cfg shuttle`).
//!
//! Threads are then coroutines of one thread of the operating system, and only shuttle says which of
//! them goes on: at every latch, condition, channel and atomic of this crate, and at every
//! [`point`]. The order of latches is watched as ever.

pub(crate) mod atomic;
pub mod channel;
mod latch;
pub mod thread;

pub use latch::{Condvar, Mutex, MutexGuard, ReadGuard, RwLock, WriteGuard};

/// Another thread may come in here.
pub fn point() {
    if !std::thread::panicking() {
        // It does not sleep: time does not pass here.
        shuttle::thread::sleep(std::time::Duration::ZERO);
    }
}

/// The same: the explorer does not need the name.
pub fn stage(_name: &str) {
    point();
}

/// A choice that the explorer makes.
fn either() -> bool {
    use shuttle::rand::RngCore as _;
    shuttle::rand::thread_rng().next_u64() & 1 == 1
}
