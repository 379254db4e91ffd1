//! Handles on keyed locks, and the proof that one is held.

use super::{Key, Slot, Use};
use crate::error::{Holder, LockError};
use crate::lock::wait::LockWait;
use crate::lock::who::Mark;
use crate::sync::MutexGuard;
use crate::sync::witness::Held;
use std::fmt;
use std::marker::PhantomData;

/// A lock that is kept in the table, held or not, for as long as the handle is.
pub struct KeyHandle<K: Key> {
    slot: Use<K>,
}

impl<K: Key> KeyHandle<K> {
    pub(super) fn on(slot: Use<K>) -> Self {
        Self { slot }
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &K {
        &self.slot.key
    }

    /// Takes the lock, as [`LockTable::lock`](super::LockTable::lock). The guard borrows the handle: nothing but the lock
    /// itself is touched.
    ///
    /// # Errors
    /// As [`LockTable::lock`](super::LockTable::lock).
    ///
    /// # Panics
    /// As [`LockTable::lock`](super::LockTable::lock).
    #[inline]
    #[track_caller]
    pub fn enter(
        &self,
        wait: LockWait,
        operation: &'static str,
    ) -> Result<Entered<'_, K>, LockError> {
        let (mark, held) = self.slot.take(wait, operation)?;
        Ok(Entered {
            slot: &self.slot,
            mark,
            held,
            here: PhantomData,
        })
    }

    /// Takes the lock, as [`LockTable::lock`](super::LockTable::lock). The guard may outlive the handle.
    ///
    /// # Errors
    /// As [`LockTable::lock`](super::LockTable::lock).
    ///
    /// # Panics
    /// As [`LockTable::lock`](super::LockTable::lock).
    #[inline]
    #[track_caller]
    pub fn lock(&self, wait: LockWait, operation: &'static str) -> Result<KeyGuard<K>, LockError> {
        KeyGuard::take(self.slot.clone(), wait, operation)
    }

    /// How many wait for the lock now, for tests of the order of the queue.
    #[doc(hidden)]
    #[cfg(debug_assertions)]
    #[must_use]
    pub fn queued(&self) -> usize {
        self.slot.gate.queued()
    }

    /// Who holds the lock now; see [`LockTable::holder`](super::LockTable::holder).
    #[must_use]
    pub fn holder(&self) -> Option<Holder> {
        self.slot.gate.seen().map(|seen| self.slot.named(seen))
    }
}

impl<K: Key> Clone for KeyHandle<K> {
    fn clone(&self) -> Self {
        Self {
            slot: self.slot.clone(),
        }
    }
}

impl<K: Key> fmt::Debug for KeyHandle<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyHandle({})", self.slot.key)
    }
}

/// A lock belongs to the thread that took it; others may look at the guard.
type OfThisThread = PhantomData<MutexGuard<'static, ()>>;

/// A held lock. Dropping it hands the lock to the first in the queue.
#[must_use = "the lock is released when this is dropped"]
pub struct KeyGuard<K: Key> {
    slot: Use<K>,
    mark: Mark,
    #[expect(dead_code, reason = "dropped after the lock is released")]
    held: Held,
    here: OfThisThread,
}

impl<K: Key> KeyGuard<K> {
    #[inline]
    #[track_caller]
    pub(super) fn take(
        slot: Use<K>,
        wait: LockWait,
        operation: &'static str,
    ) -> Result<Self, LockError> {
        let (mark, held) = slot.take(wait, operation)?;
        Ok(Self {
            slot,
            mark,
            held,
            here: PhantomData,
        })
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &K {
        &self.slot.key
    }

    /// Notes the time for those who ask since when the lock is held. An operation that will do I/O
    /// calls it once; taking a free lock does not read the clock by itself.
    pub fn stamp(&self) {
        self.slot.gate.stamp();
    }
}

impl<K: Key> Drop for KeyGuard<K> {
    #[inline]
    fn drop(&mut self) {
        self.slot.leave(self.mark);
    }
}

impl<K: Key> fmt::Debug for KeyGuard<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyGuard({})", self.slot.key)
    }
}

/// A held lock that borrows its [`KeyHandle`]. Dropping it hands the lock to the first in the queue.
#[must_use = "the lock is released when this is dropped"]
pub struct Entered<'a, K: Key> {
    slot: &'a Slot<K>,
    mark: Mark,
    #[expect(dead_code, reason = "dropped after the lock is released")]
    held: Held,
    here: OfThisThread,
}

impl<K: Key> Entered<'_, K> {
    /// The key.
    #[must_use]
    pub fn key(&self) -> &K {
        &self.slot.key
    }

    /// As [`KeyGuard::stamp`].
    pub fn stamp(&self) {
        self.slot.gate.stamp();
    }
}

impl<K: Key> Drop for Entered<'_, K> {
    #[inline]
    fn drop(&mut self) {
        self.slot.leave(self.mark);
    }
}

impl<K: Key> fmt::Debug for Entered<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entered({})", self.slot.key)
    }
}
