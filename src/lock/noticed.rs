//! What a debug build notices of the locks by itself, in every test and in every schedule: two holders
//! of one key, and a thread that overtakes those who queue. In a release build, and for the checker of
//! memory orderings, which looks at the lock itself, it is empty and costs nothing.
//!
//! What is noted here is no place at which an explorer switches threads, and decides nothing: a lock
//! does the same without it.

#[cfg(any(loom, not(debug_assertions)))]
pub(super) use blind::{Sole, Ticket, Turns};
#[cfg(all(debug_assertions, not(loom)))]
pub(super) use noting::{Sole, Ticket, Turns};

/// Stops the program, unless it is being stopped already: `what` happened.
#[cold]
pub(super) fn notice(what: &str) {
    assert!(std::thread::panicking(), "{what}");
}

#[cfg(all(debug_assertions, not(loom)))]
#[expect(
    clippy::disallowed_types,
    reason = "what watches the locks cannot be one of them"
)]
mod noting {
    use crate::sync::unseen::Mutex;
    use std::collections::BTreeSet;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// A place in the order of arrival; the first one is 1, and 0 is nobody's.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    pub(in crate::lock) struct Ticket(u64);

    /// Who waits at a gate, noted beside its queue: whatever the queue does, this is the order of
    /// arrival. Everything but a look happens under the latch of the gate.
    #[derive(Debug, Default)]
    pub(in crate::lock) struct Turns {
        waiting: Mutex<BTreeSet<Ticket>>,
        last: AtomicU64,
        first: AtomicU64,
    }

    impl Turns {
        /// Who has waited longest.
        pub(in crate::lock) fn first(&self) -> Ticket {
            Ticket(self.first.load(Ordering::SeqCst))
        }

        /// True if `ticket` still has waited longest: it did all the time since, for no ticket is given
        /// twice.
        pub(in crate::lock) fn is_first(&self, ticket: Ticket) -> bool {
            ticket != Ticket(0) && self.first() == ticket
        }

        /// Somebody queues.
        pub(in crate::lock) fn come(&self) -> Ticket {
            let ticket = Ticket(self.last.fetch_add(1, Ordering::SeqCst) + 1);
            self.change(|waiting| waiting.insert(ticket));
            ticket
        }

        /// Somebody is made the holder, or gives up. True if somebody who came before still waits.
        pub(in crate::lock) fn go(&self, ticket: Ticket) -> bool {
            self.change(|waiting| waiting.remove(&ticket));
            self.first() < ticket && self.first() != Ticket(0)
        }

        fn change(&self, change: impl FnOnce(&mut BTreeSet<Ticket>) -> bool) {
            let mut waiting = self.waiting.lock();
            change(&mut waiting);
            let first = waiting.first().map_or(0, |ticket| ticket.0);
            self.first.store(first, Ordering::SeqCst);
        }
    }

    /// The keys of a table that are held now, whichever slot they are held through.
    #[derive(Debug)]
    pub(in crate::lock) struct Sole<K>(Mutex<BTreeSet<K>>);

    impl<K> Default for Sole<K> {
        fn default() -> Self {
            Self(Mutex::default())
        }
    }

    impl<K: Ord + Clone> Sole<K> {
        /// Somebody holds `key`; false if somebody else does, too.
        pub(in crate::lock) fn enter(&self, key: &K) -> bool {
            self.0.lock().insert(key.clone())
        }

        /// The holder of `key` is about to leave.
        pub(in crate::lock) fn leave(&self, key: &K) {
            self.0.lock().remove(key);
        }
    }
}

#[cfg(any(loom, not(debug_assertions)))]
#[expect(
    clippy::unused_self,
    clippy::inline_always,
    reason = "the same calls as in a debug build, of which nothing is left"
)]
mod blind {
    use std::marker::PhantomData;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(in crate::lock) struct Ticket;

    #[derive(Debug, Default)]
    pub(in crate::lock) struct Turns;

    impl Turns {
        #[inline(always)]
        pub(in crate::lock) fn first(&self) -> Ticket {
            Ticket
        }

        #[inline(always)]
        pub(in crate::lock) fn is_first(&self, _ticket: Ticket) -> bool {
            false
        }

        #[inline(always)]
        pub(in crate::lock) fn come(&self) -> Ticket {
            Ticket
        }

        #[inline(always)]
        pub(in crate::lock) fn go(&self, _ticket: Ticket) -> bool {
            false
        }
    }

    #[derive(Debug)]
    pub(in crate::lock) struct Sole<K>(PhantomData<fn() -> K>);

    impl<K> Default for Sole<K> {
        fn default() -> Self {
            Self(PhantomData)
        }
    }

    impl<K> Sole<K> {
        #[inline(always)]
        pub(in crate::lock) fn enter(&self, _key: &K) -> bool {
            true
        }

        #[inline(always)]
        pub(in crate::lock) fn leave(&self, _key: &K) {}
    }
}

#[cfg(all(test, debug_assertions, not(any(shuttle, loom))))]
mod tests {
    use super::*;

    #[test]
    fn who_is_made_the_holder_before_one_that_came_earlier_passes_it() {
        let turns = Turns::default();
        let nobody = turns.first();
        let (early, middle, late) = (turns.come(), turns.come(), turns.come());
        assert!(turns.is_first(early) && !turns.is_first(middle) && !turns.is_first(nobody));
        assert!(turns.go(middle), "early still waits");
        assert!(!turns.go(early), "it was the first");
        assert!(!turns.is_first(early) && turns.is_first(late));
        assert!(!turns.go(late));
        assert_eq!(turns.first(), nobody);
        assert!(!turns.is_first(nobody), "nobody waits");
        assert!(!turns.is_first(late), "nobody waits");
    }

    #[test]
    fn a_key_is_held_once_and_free_when_its_holder_has_left() {
        let sole = Sole::default();
        assert!(sole.enter(&1) && sole.enter(&2) && !sole.enter(&1));
        sole.leave(&1);
        assert!(sole.enter(&1) && !sole.enter(&2));
    }
}
