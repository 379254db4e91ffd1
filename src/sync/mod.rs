//! The only door to latches and threads.
#![expect(clippy::disallowed_types, reason = "this is the door")]

pub mod order;
pub mod witness;

pub use order::Rank;
pub use parking_lot::{MutexGuard, RwLockReadGuard, RwLockWriteGuard};

/// A mutual exclusion latch with a rank.
#[derive(Debug)]
pub struct Mutex<T> {
    inner: parking_lot::Mutex<T>,
}

impl<T> Mutex<T> {
    /// A latch of this rank.
    pub fn new(_rank: Rank, _name: &'static str, value: T) -> Self {
        Self {
            inner: parking_lot::Mutex::new(value),
        }
    }

    /// Takes the latch.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.inner.lock()
    }
}

/// A reader-writer latch with a rank.
#[derive(Debug)]
pub struct RwLock<T> {
    inner: parking_lot::RwLock<T>,
}

impl<T> RwLock<T> {
    /// A latch of this rank.
    pub fn new(_rank: Rank, _name: &'static str, value: T) -> Self {
        Self {
            inner: parking_lot::RwLock::new(value),
        }
    }

    /// Takes the latch to read.
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        self.inner.read()
    }

    /// Takes the latch to write.
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.inner.write()
    }
}

/// Threads.
pub mod thread {
    use std::io;
    pub use std::thread::{JoinHandle, current, scope};

    /// Starts a named thread.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn spawn<F, T>(name: &str, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        std::thread::Builder::new().name(name.to_owned()).spawn(f)
    }
}

/// Channels.
pub mod channel {
    pub use crossbeam::channel::*;
}
