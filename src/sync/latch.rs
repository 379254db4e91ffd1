//! Latches with a rank.
#![expect(
    clippy::disallowed_types,
    reason = "this is the one place that wraps the latches of parking_lot"
)]

use super::order::Rank;
use super::witness::{self, Held, Tag};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

/// A mutual exclusion latch with a [`Rank`]. A panic under it does not poison it.
pub struct Mutex<T> {
    tag: Tag,
    inner: parking_lot::Mutex<T>,
}

impl<T> Mutex<T> {
    /// A free latch named `name` around `value`.
    pub const fn new(rank: Rank, name: &'static str, value: T) -> Self {
        Self {
            tag: Tag::new(rank, name),
            inner: parking_lot::Mutex::new(value),
        }
    }

    /// Waits for the latch and takes it.
    ///
    /// # Panics
    /// In a debug build, if the lock order does not allow it here.
    #[track_caller]
    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        let held = self.tag.enter();
        MutexGuard {
            inner: self.inner.lock(),
            held,
        }
    }

    /// Takes the latch if it is free.
    ///
    /// # Panics
    /// In a debug build, if the lock order does not allow it here.
    #[track_caller]
    #[inline]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let held = self.tag.enter();
        let inner = self.inner.try_lock()?;
        Some(MutexGuard { inner, held })
    }

    /// Takes the value out.
    pub fn into_inner(self) -> T {
        self.inner.into_inner()
    }

    /// The value, while nobody else can reach the latch.
    pub fn get_mut(&mut self) -> &mut T {
        self.inner.get_mut()
    }
}

impl<T: fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// A held [`Mutex`]; dropping it releases the latch, and then the witness forgets it.
#[must_use = "the latch is released when this is dropped"]
pub struct MutexGuard<'a, T> {
    inner: parking_lot::MutexGuard<'a, T>,
    #[expect(dead_code, reason = "dropped after the latch is released")]
    held: Held,
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

impl<T: fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::fmt(self, f)
    }
}

/// A reader-writer latch with a [`Rank`]. A panic under it does not poison it.
pub struct RwLock<T> {
    tag: Tag,
    inner: parking_lot::RwLock<T>,
}

impl<T> RwLock<T> {
    /// A free latch named `name` around `value`.
    pub const fn new(rank: Rank, name: &'static str, value: T) -> Self {
        Self {
            tag: Tag::new(rank, name),
            inner: parking_lot::RwLock::new(value),
        }
    }

    /// Waits until nobody writes, and takes the latch for reading. A second read by the same thread
    /// is refused like any other lock of the same rank: a writer in between would stop both.
    ///
    /// # Panics
    /// In a debug build, if the lock order does not allow it here.
    #[track_caller]
    #[inline]
    pub fn read(&self) -> ReadGuard<'_, T> {
        let held = self.tag.enter();
        ReadGuard {
            inner: self.inner.read(),
            held,
        }
    }

    /// Waits until nobody reads or writes, and takes the latch for writing.
    ///
    /// # Panics
    /// In a debug build, if the lock order does not allow it here.
    #[track_caller]
    #[inline]
    pub fn write(&self) -> WriteGuard<'_, T> {
        let held = self.tag.enter();
        WriteGuard {
            inner: self.inner.write(),
            held,
        }
    }

    /// Takes the value out.
    pub fn into_inner(self) -> T {
        self.inner.into_inner()
    }
}

impl<T: fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// An [`RwLock`] held for reading.
#[must_use = "the latch is released when this is dropped"]
pub struct ReadGuard<'a, T> {
    inner: parking_lot::RwLockReadGuard<'a, T>,
    #[expect(dead_code, reason = "dropped after the latch is released")]
    held: Held,
}

impl<T> Deref for ReadGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T: fmt::Debug> fmt::Debug for ReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::fmt(self, f)
    }
}

/// An [`RwLock`] held for writing.
#[must_use = "the latch is released when this is dropped"]
pub struct WriteGuard<'a, T> {
    inner: parking_lot::RwLockWriteGuard<'a, T>,
    #[expect(dead_code, reason = "dropped after the latch is released")]
    held: Held,
}

impl<T> Deref for WriteGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> DerefMut for WriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

impl<T: fmt::Debug> fmt::Debug for WriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::fmt(self, f)
    }
}

/// A condition to wait for under a [`Mutex`].
#[derive(Debug, Default)]
pub struct Condvar(parking_lot::Condvar);

impl Condvar {
    /// A condition that nobody waits for.
    #[must_use]
    pub const fn new() -> Self {
        Self(parking_lot::Condvar::new())
    }

    /// Lets the latch go, waits to be notified, and takes it again. May wake for no reason.
    ///
    /// # Panics
    /// In a debug build, if the thread holds another latch that must not be held while it blocks.
    #[track_caller]
    pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        witness::about_to_wait();
        self.0.wait(&mut guard.inner);
    }

    /// As [`Condvar::wait`], for `longest` at the most. True if that ran out.
    ///
    /// # Panics
    /// In a debug build, if the thread holds another latch that must not be held while it blocks.
    #[track_caller]
    pub fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, longest: Duration) -> bool {
        witness::about_to_wait();
        self.0.wait_for(&mut guard.inner, longest).timed_out()
    }

    /// Wakes one waiter, if there is one.
    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    /// Wakes all waiters.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}
