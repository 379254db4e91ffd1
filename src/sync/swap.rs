//! A pointer that is read without waiting while it is replaced.
//!
//! The only file that names arc-swap. A schedule explorer runs one thread at a time, so it needs no
//! cell of its own: it may switch threads before each access.

use arc_swap::{ArcSwap, Guard};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// A shared value that is replaced as a whole. No latch, and so no rank: a reader writes down which
/// pointer it uses, a writer exchanges the pointer and settles what readers wrote down.
pub(crate) struct Swap<T> {
    inner: ArcSwap<T>,
}

impl<T> Swap<T> {
    /// A cell that holds `value`.
    pub(crate) fn new(value: Arc<T>) -> Self {
        Self {
            inner: ArcSwap::new(value),
        }
    }

    /// What it holds now. Wait-free for all a program can do in its life-time, lock-free always.
    #[inline]
    pub(crate) fn load(&self) -> Loaded<T> {
        super::point();
        Loaded {
            inner: self.inner.load(),
        }
    }

    /// Puts `value` in and gives out what was there, so that the caller decides where it is dropped.
    #[must_use = "the caller says where the old value is dropped"]
    pub(crate) fn replace(&self, value: Arc<T>) -> Arc<T> {
        super::point();
        self.inner.swap(value)
    }
}

impl<T: fmt::Debug> fmt::Debug for Swap<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Swap").field(&*self.load()).finish()
    }
}

/// What a [`Swap`] held when it was looked at. It keeps that alive, for as long as it lives.
pub(crate) struct Loaded<T> {
    inner: Guard<Arc<T>>,
}

impl<T> Loaded<T> {
    /// A value that came from elsewhere.
    pub(crate) fn of(value: Arc<T>) -> Self {
        Self {
            inner: Guard::from_inner(value),
        }
    }

    /// A share of its own, for somebody who keeps it beyond the request.
    pub(crate) fn share(&self) -> Arc<T> {
        Arc::clone(&self.inner)
    }
}

impl<T> Deref for Loaded<T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        &self.inner
    }
}
