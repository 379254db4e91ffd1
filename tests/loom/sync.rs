//! The names of `crate::sync` that the gate uses, over loom.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

pub(crate) mod atomic {
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
}

pub(crate) fn point() {
    loom::thread::yield_now();
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Rank {
    Core,
}

#[derive(Debug)]
pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(_rank: Rank, _name: &'static str, value: T) -> Self {
        Self(loom::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard {
            inner: Some(self.0.lock().unwrap()),
            latch: &self.0,
        }
    }
}

pub(crate) struct MutexGuard<'a, T> {
    inner: Option<loom::sync::MutexGuard<'a, T>>,
    latch: &'a loom::sync::Mutex<T>,
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.inner.as_deref().unwrap()
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.inner.as_deref_mut().unwrap()
    }
}

#[derive(Debug)]
pub(crate) struct Condvar(loom::sync::Condvar);

impl Condvar {
    pub(crate) fn new() -> Self {
        Self(loom::sync::Condvar::new())
    }

    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        let inner = guard.inner.take().unwrap();
        guard.inner = Some(self.0.wait(inner).unwrap());
    }

    /// Others come in, and the time has run out.
    pub(crate) fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, _longest: Duration) -> bool {
        drop(guard.inner.take());
        guard.inner = Some(guard.latch.lock().unwrap());
        true
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }
}
