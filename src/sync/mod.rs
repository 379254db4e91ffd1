//! The only door to latches, channels and threads.
//!
//! Every latch has a [`Rank`], and a debug build checks every acquisition against the declared
//! [order]. A program that embeds this crate declares its own locks with [`order::Order`], or notes
//! them with [`witness::enter`], and has them checked together with ours: at each acquisition by the
//! [witness], over whole runs by the [analysis], and where it wants to in types, by [level].
//!
//! Under `--cfg shuttle` the same names are those of a schedule explorer, and under `--cfg loom`, for
//! the keyed locks alone, those of a checker of memory orderings: see `docs/testing.md`.

pub mod analysis;
#[cfg(shuttle)]
mod explored;
mod host;
#[cfg_attr(
    any(shuttle, loom),
    expect(
        dead_code,
        unreachable_pub,
        reason = "a schedule explorer brings latches of its own"
    )
)]
mod latch;
pub mod level;
#[cfg(loom)]
mod loomed;
pub mod order;
#[cfg(all(debug_assertions, not(any(shuttle, loom))))]
mod staged;
#[cfg(not(loom))]
mod swap;
pub mod witness;

#[cfg(shuttle)]
pub use explored::{Condvar, Mutex, MutexGuard, ReadGuard, RwLock, WriteGuard, channel, thread};
#[cfg(not(any(shuttle, loom)))]
pub use latch::{Condvar, Mutex, MutexGuard, ReadGuard, RwLock, WriteGuard};
#[cfg(loom)]
pub use loomed::{Condvar, Mutex, MutexGuard, thread};
pub use order::Rank;
#[cfg(not(loom))]
pub(crate) use swap::{Loaded, Swap};

#[cfg(shuttle)]
pub(crate) use explored::atomic;
#[cfg(loom)]
pub(crate) use loomed::{atomic, counted, shards};
/// Atomics.
#[cfg(not(any(shuttle, loom)))]
pub(crate) use std::sync::atomic;

/// Counted references whose count decides something.
#[cfg(not(loom))]
pub(crate) mod counted {
    pub(crate) use std::sync::{Arc, Weak};
}

/// A map of which each part has a latch of its own.
#[cfg(not(loom))]
pub(crate) mod shards {
    pub(crate) use dashmap::DashMap as Shards;
    pub(crate) use dashmap::mapref::entry::Entry;
}

/// Values of which every thread has its own.
#[cfg(loom)]
pub(crate) use loomed::thread::locals as thread_local;
#[cfg(shuttle)]
pub(crate) use shuttle::thread_local;
#[cfg(not(any(shuttle, loom)))]
pub(crate) use std::thread_local;

/// For tables that only name things and live as long as the process: a schedule explorer neither
/// switches threads at these latches nor resets what is under them.
pub(crate) mod global {
    pub(crate) use super::latch::Mutex;
}

/// For what watches the locks themselves: neither an explorer nor the witness sees it.
#[cfg(all(debug_assertions, not(loom)))]
pub(crate) mod unseen {
    #[expect(
        clippy::disallowed_types,
        reason = "what watches the locks cannot be one of them"
    )]
    pub(crate) use parking_lot::Mutex;
}

/// A place where another thread may come in although no latch of this crate is there. A schedule
/// explorer switches threads here; otherwise it is nothing.
#[doc(hidden)]
#[cfg(not(shuttle))]
#[inline(always)]
pub fn point() {}
#[doc(hidden)]
#[cfg(shuttle)]
pub use explored::{point, stage};

/// A [`point`] with a name, at which a debug build lets a test stop the thread that comes by: so that
/// real threads, too, can be brought into a schedule. Nothing in a release build.
#[doc(hidden)]
#[cfg(not(shuttle))]
#[inline]
pub fn stage(name: &str) {
    #[cfg(all(debug_assertions, not(loom)))]
    staged::arrive(name);
    #[cfg(any(loom, not(debug_assertions)))]
    let _: &str = name;
}
#[doc(hidden)]
#[cfg(all(debug_assertions, not(any(shuttle, loom))))]
pub use staged::on_stage;

/// Threads.
#[cfg(not(any(shuttle, loom)))]
pub mod thread {
    use std::io;
    pub use std::thread::{JoinHandle, Scope, ScopedJoinHandle, current, scope, sleep};

    /// Starts a thread named `name`.
    ///
    /// # Errors
    /// What the operating system said if it has no thread to give.
    pub fn spawn<T, F>(name: &str, body: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(body)
    }
}

/// Channels between threads.
#[cfg(not(any(shuttle, loom)))]
pub mod channel {
    pub use crossbeam::channel::{
        Receiver, RecvError, RecvTimeoutError, SendError, Sender, TryRecvError, TrySendError,
        bounded, select, unbounded,
    };
}
