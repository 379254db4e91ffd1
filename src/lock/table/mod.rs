//! Keyed locks, made when first wanted and gone with their last user.
//!
//! # One lock per key, without growth
//! The map holds each slot *weakly*; guards, handles and waiters hold it strongly. So:
//! 1. A slot lives exactly as long as somebody uses it, whatever way the use ends: a release, a
//!    failed try, a wait that ran out, a panic.
//! 2. A look-up takes the mapped slot if it still lives, and else puts a new one in its place; both
//!    happen under the latch of the map shard. A dead slot cannot come back, and a living one is
//!    never replaced, so two living slots of one key cannot be.
//! 3. A dying slot removes its entry under the same latch, and only if the entry is still its own.
//! 4. Whoever uses a slot sees all that users of earlier slots of the key did: through the latch, if
//!    the dead one has removed its entry, and else through its count, which was released with each use.
//!
//! A map guard never leaves its function, and no slot is dropped while one is held.

use crate::error::{Holder, LockError};
use crate::lock::gate::{Gate, Refusal, Seen};
use crate::lock::noticed::{Sole, notice};
use crate::lock::planted::{LockFault, Planted};
use crate::lock::wait::LockWait;
use crate::lock::who::{self, Mark};
use crate::sync::atomic::{Ordering, fence};
use crate::sync::counted::{Arc as Counted, Weak};
use crate::sync::shards::{Entry, Shards};
use crate::sync::witness::{self, Held};
use crate::sync::{Rank, point, stage};
use std::fmt;
use std::hash::Hash;
use std::ops::Deref;
use std::sync::Arc;

mod guard;

pub use guard::{Entered, KeyGuard, KeyHandle};

/// What a lock table can be keyed by. The locks of one table are taken in the order of `Ord`.
pub trait Key: witness::Key + Hash + Send + Sync {}
impl<K: witness::Key + Hash + Send + Sync> Key for K {}

/// A lock for each key that somebody uses.
///
/// A lock excludes threads of this process, is handed over in the order of arrival, and is refused
/// to the thread that already holds it. The keys may come from outside: the map is hashed with a
/// random seed.
pub struct LockTable<K: Key> {
    shared: Arc<Shared<K>>,
}

struct Shared<K: Key> {
    rank: Rank,
    slots: Shards<K, Weak<Slot<K>>>,
    sole: Sole<K>,
    planted: Planted,
    #[cfg(test)]
    faults: tests::Faults,
}

/// One lock and the key it stands for.
struct Slot<K: Key> {
    gate: Gate,
    key: K,
    shared: Arc<Shared<K>>,
}

impl<K: Key> Drop for Slot<K> {
    fn drop(&mut self) {
        #[cfg(test)]
        self.shared.faults.dying();
        if self.shared.planted.is(LockFault::NoRemoval) || self.shared.is_removed_by_users() {
            return;
        }
        stage("slot.dying");
        self.remove();
    }
}

/// A use of a slot: what keeps it.
struct Use<K: Key>(Counted<Slot<K>>);

impl<K: Key> Deref for Use<K> {
    type Target = Slot<K>;
    #[inline]
    fn deref(&self) -> &Slot<K> {
        &self.0
    }
}

impl<K: Key> Clone for Use<K> {
    #[inline]
    fn clone(&self) -> Self {
        Self(Counted::clone(&self.0))
    }
}

impl<K: Key> Drop for Use<K> {
    #[inline]
    fn drop(&mut self) {
        if self.0.shared.is_removed_by_users() {
            let is_open = self.0.shared.planted.is(LockFault::OpenCount);
            if !is_open || Counted::strong_count(&self.0) == 1 {
                self.0.remove();
            }
        }
    }
}

/// Tells the witness of a shard of the map; nothing may be taken under it.
#[track_caller]
fn map_latch() -> Held {
    witness::enter(Rank::Core, None, "lock table")
}

impl<K: Key> Shared<K> {
    fn is_own(&self, mapped: &Weak<Slot<K>>, slot: *const Slot<K>) -> bool {
        if self.planted.is(LockFault::EarlyCount) && mapped.strong_count() != 1 {
            return false;
        }
        self.planted.is(LockFault::CarelessRemoval) || std::ptr::eq(mapped.as_ptr(), slot)
    }

    /// True if a fault has users remove the entry, and not the dying slot.
    #[inline]
    fn is_removed_by_users(&self) -> bool {
        self.planted.is(LockFault::OpenCount) || self.planted.is(LockFault::EarlyCount)
    }

    /// The slot of `key`, if it lives.
    #[inline]
    fn find(&self, key: &K) -> Option<Use<K>> {
        stage("slot.look-up");
        let _map = map_latch();
        self.slots
            .get(key)
            .and_then(|mapped| mapped.upgrade().map(Use))
    }

    /// The slot of `key`; made if there is none.
    #[inline]
    fn slot(self: &Arc<Self>, key: &K) -> Use<K> {
        self.find(key).unwrap_or_else(|| self.find_or_insert(key))
    }

    #[cold]
    fn find_or_insert(self: &Arc<Self>, key: &K) -> Use<K> {
        // Made before the shard is latched, and if it is not wanted, dropped after: its drop
        // latches the shard itself.
        let new = Use(Counted::new(Slot {
            gate: Gate::new(self.planted),
            key: key.clone(),
            shared: Arc::clone(self),
        }));
        let name = key.clone();
        stage("slot.insert");
        let map = map_latch();
        if self.planted.is(LockFault::LateInsert) {
            self.slots.insert(name, Counted::downgrade(&new.0));
            return new;
        }
        let found = match self.slots.entry(name) {
            Entry::Occupied(mut mapped) => {
                let living = mapped.get().upgrade();
                if living.is_none() {
                    // The dead slot has not been here since: seeing that it is dead has to be seeing
                    // all that its users did before, and a failed upgrade orders nothing.
                    if !self.planted.is(LockFault::WeakInsert) {
                        fence(Ordering::Acquire);
                    }
                    mapped.insert(Counted::downgrade(&new.0));
                }
                living
            }
            Entry::Vacant(place) => {
                place.insert(Counted::downgrade(&new.0));
                None
            }
        };
        drop(map);
        found.map_or(new, Use)
    }
}

impl<K: Key> Slot<K> {
    /// Takes the entry of the key away, if it is the one of this slot.
    fn remove(&self) {
        let shared = &self.shared;
        let this: *const Self = self;
        let map = map_latch();
        if shared.planted.is(LockFault::OpenRemoval) {
            let mapped = shared.slots.get(&self.key);
            let is_own = mapped.is_some_and(|mapped| shared.is_own(&mapped, this));
            drop(map);
            point();
            if !is_own {
                return;
            }
            shared.slots.remove_if(&self.key, |_, _| true);
        } else {
            shared
                .slots
                .remove_if(&self.key, |_, mapped| shared.is_own(mapped, this));
        }
    }

    #[inline]
    #[track_caller]
    fn take(&self, wait: LockWait, operation: &'static str) -> Result<(Mark, Held), LockError> {
        // Noted before the wait, so that an inversion is caught and not waited for.
        let rank = self.shared.rank;
        let held = witness::enter_keyed(rank, &self.key, rank.row().name);
        let mark = who::mark(operation);
        match self.gate.take(mark, wait) {
            Ok(()) => {
                if !self.shared.sole.enter(&self.key) {
                    self.gate.leave(mark);
                    notice("two holders of one key at the same time");
                }
                Ok((mark, held))
            }
            Err(refusal) => Err(self.error(refusal)),
        }
    }

    /// Lets the lock go, which is held as `mark`.
    #[inline]
    fn leave(&self, mark: Mark) {
        self.shared.sole.leave(&self.key);
        self.gate.leave(mark);
    }

    #[cold]
    fn error(&self, refusal: Refusal) -> LockError {
        let key = self.key.to_string();
        match refusal {
            Refusal::Reentrant(mark) => LockError::Reentrant {
                key,
                operation: mark.operation().to_owned(),
            },
            Refusal::Busy(seen) => LockError::Busy {
                key,
                holder: Some(Box::new(self.named(seen))),
            },
            Refusal::TimedOut(seen, waited_ms) => LockError::TimedOut {
                key,
                waited_ms,
                holder: seen.map(|seen| Box::new(self.named(seen))),
            },
        }
    }

    fn named(&self, seen: Seen) -> Holder {
        seen.mark.holder(self.key.to_string(), seen.since_unix_ms)
    }
}

impl<K: Key> LockTable<K> {
    /// An empty table whose locks have the rank `rank`.
    #[must_use]
    pub fn new(rank: Rank) -> Self {
        Self::planted(rank, Planted::default())
    }

    /// A table with a fault in it, for a negative control: a test that must notice.
    #[doc(hidden)]
    #[cfg(debug_assertions)]
    #[must_use]
    pub fn with_fault(rank: Rank, fault: LockFault) -> Self {
        Self::planted(rank, Planted::new(fault))
    }

    fn planted(rank: Rank, planted: Planted) -> Self {
        Self {
            shared: Arc::new(Shared {
                rank,
                slots: Shards::new(),
                sole: Sole::default(),
                planted,
                #[cfg(test)]
                faults: tests::Faults::default(),
            }),
        }
    }

    /// Takes the lock of `key` for `operation`, waiting as long as `wait` says.
    ///
    /// # Errors
    /// [`LockError::Busy`] or [`LockError::TimedOut`], which name the holder;
    /// [`LockError::Reentrant`] if this thread holds it already.
    ///
    /// # Panics
    /// In a debug build, if the lock order does not allow it here.
    #[inline]
    #[track_caller]
    pub fn lock(
        &self,
        key: &K,
        wait: LockWait,
        operation: &'static str,
    ) -> Result<KeyGuard<K>, LockError> {
        KeyGuard::take(self.shared.slot(key), wait, operation)
    }

    /// A handle on the lock of `key`, which takes it without a look-up.
    #[must_use]
    pub fn handle(&self, key: &K) -> KeyHandle<K> {
        KeyHandle::on(self.shared.slot(key))
    }

    /// Who holds the lock of `key` now. Takes nothing but short latches.
    ///
    /// `since_unix_ms` is exact if the holder waited for the lock or [stamped](KeyGuard::stamp) it;
    /// else it is when the holder was first seen to hold it.
    #[must_use]
    pub fn holder(&self, key: &K) -> Option<Holder> {
        let slot = self.shared.find(key)?;
        slot.gate.seen().map(|seen| slot.named(seen))
    }

    /// How many keys have a lock now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.slots.len()
    }

    /// True if no key has a lock now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shared.slots.is_empty()
    }
}

impl<K: Key> fmt::Debug for LockTable<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockTable")
            .field("rank", &self.shared.rank)
            .field("locks", &self.len())
            .finish()
    }
}

#[cfg(test)]
mod tests;
