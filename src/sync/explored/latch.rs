//! Latches with a rank, over those of shuttle. What is documented at the latches of production holds
//! here, with one addition: a wait with a limit runs out when the explorer chooses.

use super::{either, point};
use crate::sync::order::Rank;
use crate::sync::witness::{self, Held, Tag};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::PoisonError;
use std::time::Duration;

/// A mutual exclusion latch with a [`Rank`]. A panic under it does not poison it.
pub struct Mutex<T> {
    tag: Tag,
    inner: shuttle::sync::Mutex<T>,
}

impl<T> Mutex<T> {
    /// A free latch named `name` around `value`.
    pub const fn new(rank: Rank, name: &'static str, value: T) -> Self {
        Self {
            tag: Tag::new(rank, name),
            inner: shuttle::sync::Mutex::new(value),
        }
    }

    /// Waits for the latch and takes it.
    ///
    /// # Panics
    /// In a debug build, if the lock order does not allow it here.
    #[track_caller]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        let held = self.tag.enter();
        MutexGuard {
            inner: Some(take(&self.inner)),
            latch: &self.inner,
            held,
        }
    }

    /// Takes the latch if it is free.
    ///
    /// # Panics
    /// In a debug build, if the lock order does not allow it here.
    #[track_caller]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        use std::sync::TryLockError::{Poisoned, WouldBlock};
        let held = self.tag.enter();
        let inner = match self.inner.try_lock() {
            Ok(inner) => inner,
            Err(Poisoned(inner)) => inner.into_inner(),
            Err(WouldBlock) => return None,
        };
        Some(MutexGuard {
            inner: Some(inner),
            latch: &self.inner,
            held,
        })
    }

    /// Takes the value out.
    pub fn into_inner(self) -> T {
        let inner = self.inner.into_inner();
        inner.unwrap_or_else(PoisonError::into_inner)
    }

    /// The value, while nobody else can reach the latch.
    pub fn get_mut(&mut self) -> &mut T {
        let inner = self.inner.get_mut();
        inner.unwrap_or_else(PoisonError::into_inner)
    }
}

fn take<T>(latch: &shuttle::sync::Mutex<T>) -> shuttle::sync::MutexGuard<'_, T> {
    latch.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// A held [`Mutex`]; dropping it releases the latch, and then the witness forgets it.
#[must_use = "the latch is released when this is dropped"]
pub struct MutexGuard<'a, T> {
    /// Absent only inside a wait.
    inner: Option<shuttle::sync::MutexGuard<'a, T>>,
    latch: &'a shuttle::sync::Mutex<T>,
    #[expect(dead_code, reason = "dropped after the latch is released")]
    held: Held,
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.inner
            .as_deref()
            .unwrap_or_else(|| unreachable!("nobody looks during a wait"))
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.inner
            .as_deref_mut()
            .unwrap_or_else(|| unreachable!("nobody looks during a wait"))
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
    inner: shuttle::sync::RwLock<T>,
}

impl<T> RwLock<T> {
    /// A free latch named `name` around `value`.
    pub const fn new(rank: Rank, name: &'static str, value: T) -> Self {
        Self {
            tag: Tag::new(rank, name),
            inner: shuttle::sync::RwLock::new(value),
        }
    }

    /// Waits until nobody writes, and takes the latch for reading.
    ///
    /// # Panics
    /// In a debug build, if the lock order does not allow it here.
    #[track_caller]
    pub fn read(&self) -> ReadGuard<'_, T> {
        let held = self.tag.enter();
        let inner = self.inner.read();
        ReadGuard {
            inner: inner.unwrap_or_else(PoisonError::into_inner),
            held,
        }
    }

    /// Waits until nobody reads or writes, and takes the latch for writing.
    ///
    /// # Panics
    /// In a debug build, if the lock order does not allow it here.
    #[track_caller]
    pub fn write(&self) -> WriteGuard<'_, T> {
        let held = self.tag.enter();
        let inner = self.inner.write();
        WriteGuard {
            inner: inner.unwrap_or_else(PoisonError::into_inner),
            held,
        }
    }

    /// Takes the value out.
    pub fn into_inner(self) -> T {
        let inner = self.inner.into_inner();
        inner.unwrap_or_else(PoisonError::into_inner)
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
    inner: shuttle::sync::RwLockReadGuard<'a, T>,
    #[expect(dead_code, reason = "dropped after the latch is released")]
    held: Held,
}

impl<T> Deref for ReadGuard<'_, T> {
    type Target = T;
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
    inner: shuttle::sync::RwLockWriteGuard<'a, T>,
    #[expect(dead_code, reason = "dropped after the latch is released")]
    held: Held,
}

impl<T> Deref for WriteGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> DerefMut for WriteGuard<'_, T> {
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
pub struct Condvar(shuttle::sync::Condvar);

impl Condvar {
    /// A condition that nobody waits for.
    #[must_use]
    pub const fn new() -> Self {
        Self(shuttle::sync::Condvar::new())
    }

    /// Lets the latch go, waits to be notified, and takes it again.
    ///
    /// # Panics
    /// In a debug build, if the thread holds another latch that must not be held while it blocks.
    #[track_caller]
    pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        witness::about_to_wait();
        if let Some(inner) = guard.inner.take() {
            let inner = self.0.wait(inner);
            guard.inner = Some(inner.unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// As [`Condvar::wait`], unless the explorer chooses that the time runs out: then others may come
    /// in, as many as it likes, and the answer is true. A limit that never comes never runs out.
    ///
    /// # Panics
    /// In a debug build, if the thread holds another latch that must not be held while it blocks.
    #[track_caller]
    pub fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, longest: Duration) -> bool {
        if longest == Duration::MAX || !either() {
            self.wait(guard);
            return false;
        }
        witness::about_to_wait();
        drop(guard.inner.take());
        point();
        guard.inner = Some(take(guard.latch));
        true
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
