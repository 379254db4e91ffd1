//! Latches over those of loom. What is documented at the latches of production holds here, with one
//! addition: a wait with a limit runs out, unless it is made to end first.

use crate::sync::order::Rank;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::PoisonError;
use std::time::Duration;

/// A mutual exclusion latch. A panic under it does not poison it.
pub struct Mutex<T> {
    inner: loom::sync::Mutex<T>,
}

impl<T> Mutex<T> {
    /// A free latch around `value`.
    pub fn new(_rank: Rank, _name: &'static str, value: T) -> Self {
        Self {
            inner: loom::sync::Mutex::new(value),
        }
    }

    /// Waits for the latch and takes it.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard {
            inner: Some(take(&self.inner)),
            latch: &self.inner,
        }
    }
}

fn take<T>(latch: &loom::sync::Mutex<T>) -> loom::sync::MutexGuard<'_, T> {
    latch.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// A held [`Mutex`]; dropping it releases the latch.
#[must_use = "the latch is released when this is dropped"]
pub struct MutexGuard<'a, T> {
    /// Absent only inside a wait.
    inner: Option<loom::sync::MutexGuard<'a, T>>,
    latch: &'a loom::sync::Mutex<T>,
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

/// A condition to wait for under a [`Mutex`].
#[derive(Debug, Default)]
pub struct Condvar(loom::sync::Condvar);

impl Condvar {
    /// A condition that nobody waits for.
    #[must_use]
    pub fn new() -> Self {
        Self(loom::sync::Condvar::new())
    }

    /// Lets the latch go, waits to be notified, and takes it again.
    pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        if let Some(inner) = guard.inner.take() {
            let inner = self.0.wait(inner);
            guard.inner = Some(inner.unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Lets the latch go, so that others may come in, as many as loom likes, and takes it again: the
    /// time ran out. A limit that never comes never runs out.
    pub fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, longest: Duration) -> bool {
        if longest == Duration::MAX {
            self.wait(guard);
            return false;
        }
        drop(guard.inner.take());
        guard.inner = Some(take(guard.latch));
        true
    }

    /// Wakes one waiter, if there is one.
    pub fn notify_one(&self) {
        self.0.notify_one();
    }
}
