//! References that are counted step by step, as those of the standard library are.

use loom::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::Arc;

/// What is counted, and what its end does.
pub(crate) trait Ends: Sized {
    fn end(this: &Arc<Counted<Self>>);
}

#[derive(Debug)]
pub(crate) struct Counted<T> {
    strong: AtomicUsize,
    pub(crate) value: T,
}

/// A reference that keeps the value alive.
#[derive(Debug)]
pub(crate) struct Strong<T: Ends>(Arc<Counted<T>>);

/// One that does not. The memory itself stays: only the count is the model's.
#[derive(Debug, Clone)]
pub(crate) struct Weak<T>(Arc<Counted<T>>);

impl<T: Ends> Strong<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Arc::new(Counted {
            strong: AtomicUsize::new(1),
            value,
        }))
    }

    pub(crate) fn downgrade(&self) -> Weak<T> {
        Weak(Arc::clone(&self.0))
    }

    pub(crate) fn value(&self) -> &T {
        &self.0.value
    }
}

impl<T: Ends> Weak<T> {
    /// Never from nothing to one.
    pub(crate) fn upgrade(&self) -> Option<Strong<T>> {
        let add = |count| (count != 0).then(|| count + 1);
        let added = self
            .0
            .strong
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, add);
        added.is_ok().then(|| Strong(Arc::clone(&self.0)))
    }

    pub(crate) fn is(&self, other: &Arc<Counted<T>>) -> bool {
        Arc::ptr_eq(&self.0, other)
    }
}

impl<T: Ends> Drop for Strong<T> {
    fn drop(&mut self) {
        if self.0.strong.fetch_sub(1, Ordering::Release) == 1 {
            fence(Ordering::Acquire);
            T::end(&self.0);
        }
    }
}
