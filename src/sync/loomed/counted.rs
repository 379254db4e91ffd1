//! Counted references, strong and weak, whose count is loom's.
//!
//! A reference of the standard library keeps the value and drops it. Beside it stands the count of the
//! strong ones, in an atomic of loom, with the steps and the orderings of the standard library: who
//! may still come, and who was the last, is decided there. Between a step on that count and the same
//! step on the real one loom switches no thread, so the two agree.

use loom::alloc::Track;
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicUsize, Ordering, fence};
use std::fmt;
use std::ops::Deref;
use std::sync;

struct Count {
    strong: AtomicUsize,
    /// Read by who uses the value, written by who ends it: loom checks that all of the one comes
    /// before the other.
    life: UnsafeCell<()>,
    /// Makes loom report a value that is never dropped.
    _kept: Track<()>,
}

impl Count {
    fn up(&self) -> Option<usize> {
        let more = |count: usize| (count != 0).then(|| count + 1);
        let raised = self
            .strong
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, more);
        raised.ok()
    }
}

/// A reference that keeps the value alive.
pub(crate) struct Arc<T> {
    /// Absent only in the drop.
    value: Option<sync::Arc<T>>,
    count: sync::Arc<Count>,
}

/// A reference that does not.
pub(crate) struct Weak<T> {
    value: sync::Weak<T>,
    count: sync::Arc<Count>,
}

impl<T> Arc<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            value: Some(sync::Arc::new(value)),
            count: sync::Arc::new(Count {
                strong: AtomicUsize::new(1),
                life: UnsafeCell::new(()),
                _kept: Track::new(()),
            }),
        }
    }

    pub(crate) fn downgrade(this: &Self) -> Weak<T> {
        Weak {
            value: this
                .value
                .as_ref()
                .map_or_else(sync::Weak::new, sync::Arc::downgrade),
            count: sync::Arc::clone(&this.count),
        }
    }

    pub(crate) fn strong_count(this: &Self) -> usize {
        this.count.strong.load(Ordering::Relaxed)
    }
}

impl<T> Deref for Arc<T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.count.life.with(|_life| ());
        self.value
            .as_deref()
            .unwrap_or_else(|| unreachable!("nobody uses what is dropped"))
    }
}

impl<T> Clone for Arc<T> {
    fn clone(&self) -> Self {
        self.count.strong.fetch_add(1, Ordering::Relaxed);
        Self {
            value: self.value.clone(),
            count: sync::Arc::clone(&self.count),
        }
    }
}

impl<T> Drop for Arc<T> {
    fn drop(&mut self) {
        if self.count.strong.fetch_sub(1, Ordering::Release) == 1 {
            fence(Ordering::Acquire);
            self.count.life.with_mut(|_life| ());
        }
        drop(self.value.take());
    }
}

impl<T> Weak<T> {
    pub(crate) fn upgrade(&self) -> Option<Arc<T>> {
        self.count.up()?;
        let value = self.value.upgrade();
        assert!(value.is_some(), "the counts differ");
        Some(Arc {
            value,
            count: sync::Arc::clone(&self.count),
        })
    }

    pub(crate) fn strong_count(&self) -> usize {
        self.count.strong.load(Ordering::Relaxed)
    }

    pub(crate) fn as_ptr(&self) -> *const T {
        self.value.as_ptr()
    }
}

impl<T: fmt::Debug> fmt::Debug for Arc<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::fmt(self, f)
    }
}

impl<T> fmt::Debug for Weak<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(Weak)")
    }
}
