//! The only door to latches, channels and threads.
//!
//! Every latch has a [`Rank`], and a debug build checks every acquisition against the declared
//! [order]. A program that embeds this crate declares its own locks with [`order::Order`], or notes
//! them with [`witness::enter`], and has them checked together with ours: at each acquisition by the
//! [witness], over whole runs by the [analysis], and where it wants to in types, by [level].

pub mod analysis;
mod host;
mod latch;
pub mod level;
pub mod order;
mod swap;
pub mod witness;

pub use latch::{Condvar, Mutex, MutexGuard, ReadGuard, RwLock, WriteGuard};
pub use order::Rank;
pub(crate) use swap::{Loaded, Swap};

/// Threads.
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
pub mod channel {
    pub use crossbeam::channel::{
        Receiver, RecvError, RecvTimeoutError, SendError, Sender, TryRecvError, TrySendError,
        bounded, select, unbounded,
    };
}
