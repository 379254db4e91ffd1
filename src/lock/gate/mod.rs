//! One lock: a word that names its holder, and a queue for those who wait.
//!
//! The word is 0 when the gate is free, else the [`Mark`] of the holder, with the lowest bit set if
//! the holder must look at the queue when it leaves. Taking a free gate and leaving one that nobody
//! looked at are one compare-and-swap each, and nothing else.
//!
//! # Invariants
//! 1. Only the holder changes a word that names it to 0 or to another holder.
//! 2. It does so without the latch only while the lowest bit is clear; the bit is set only under the
//!    latch, and a word with the bit is taken away only under the latch.
//! 3. So under the latch, once the bit is set, the holder stays; and if anybody is queued, the bit
//!    is set and the word is not 0.
//! 4. A holder that leaves while others are queued makes the first of them the holder itself. The
//!    gate is never free in between, so nobody overtakes the queue: who waits, waits for those
//!    ahead of it and for the present holder, however fast others come back. A debug build notices
//!    who does ([`Turns`]). A try queues never and overtakes nobody either: it takes what is free.

use super::noticed::{Ticket, Turns, notice};
use super::planted::{LockFault, Planted};
use super::wait::{LockWait, millis};
use super::who::Mark;
use crate::clock::{Stopwatch, now_unix_ms};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Condvar, Mutex, MutexGuard, Rank};
use std::collections::VecDeque;
use std::sync::Arc;

/// The lowest bit: the holder must take the latch to leave.
const LOOK: u64 = 1;

/// Rounds of spinning before a thread queues, each twice as long as the one before. About a
/// microsecond in all: enough to meet the end of a short section, nothing beside a long one. An
/// explorer of schedules needs one round to see all that spinning can do.
const SPIN_ROUNDS: u32 = if cfg!(any(shuttle, loom)) { 1 } else { 6 };

/// What a debug build says if it notices that.
const OVERTAKEN: &str = "overtaken: somebody who queued before still waits for the lock";

#[derive(Debug)]
pub(super) struct Gate {
    word: AtomicU64,
    /// Present only while somebody looks or waits.
    crowd: Mutex<Option<Box<Crowd>>>,
    turns: Turns,
    planted: Planted,
}

#[derive(Debug, Default)]
struct Crowd {
    /// When the present holder took the gate, or was first seen to hold it.
    since_unix_ms: u64,
    queue: VecDeque<Arc<Waiter>>,
}

#[derive(Debug)]
struct Waiter {
    mark: Mark,
    ticket: Ticket,
    /// Set under the latch by the holder that leaves.
    is_holder: AtomicBool,
    turn: Condvar,
}

/// Who holds a gate, and since when at the latest (milliseconds since the Unix epoch).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) mark: Mark,
    pub(super) since_unix_ms: u64,
}

/// Why a gate was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// This thread holds it already, doing what the mark says.
    Reentrant(Mark),
    /// Somebody holds it.
    Busy(Seen),
    /// Somebody still holds it after so many milliseconds.
    TimedOut(Option<Seen>, u64),
}

impl Gate {
    /// A free gate.
    pub(super) fn new(planted: Planted) -> Self {
        Self {
            word: AtomicU64::new(0),
            crowd: Mutex::new(Rank::Core, "wait queue", None),
            turns: Turns::default(),
            planted,
        }
    }

    /// Takes the gate for `mark`.
    #[inline]
    pub(super) fn take(&self, mark: Mark, wait: LockWait) -> Result<(), Refusal> {
        if self.grab(mark) {
            return Ok(());
        }
        self.take_slowly(mark, wait)
    }

    /// Leaves the gate to the first in the queue, or free. The caller holds it as `mark`.
    #[inline]
    pub(super) fn leave(&self, mark: Mark) {
        let leaving = self.or_weak(LockFault::WeakLeave, Ordering::Release);
        let left = self
            .word
            .compare_exchange(mark.word(), 0, leaving, Ordering::Relaxed);
        if left.is_err() {
            self.leave_slowly();
        }
    }

    /// Who holds the gate now.
    pub(super) fn seen(&self) -> Option<Seen> {
        let mut crowd = self.crowd.lock();
        self.look(&mut crowd)
    }

    /// Notes that the present holder holds the gate since now. The caller holds it.
    pub(super) fn stamp(&self) {
        let mut crowd = self.crowd.lock();
        self.word.fetch_or(LOOK, Ordering::Relaxed);
        crowd.get_or_insert_default().since_unix_ms = now_unix_ms();
    }

    /// How many wait in the queue.
    #[cfg(any(test, debug_assertions))]
    pub(super) fn queued(&self) -> usize {
        let crowd = self.crowd.lock();
        crowd.as_ref().map_or(0, |crowd| crowd.queue.len())
    }

    #[inline]
    fn grab(&self, mark: Mark) -> bool {
        let ahead = self.turns.first();
        let taken = self.swap_in(mark);
        if taken && self.turns.is_first(ahead) {
            self.leave(mark);
            notice(OVERTAKEN);
        }
        taken
    }

    #[inline]
    fn swap_in(&self, mark: Mark) -> bool {
        let taking = self.or_weak(LockFault::WeakTake, Ordering::Acquire);
        self.word
            .compare_exchange(0, mark.word(), taking, Ordering::Relaxed)
            .is_ok()
    }

    /// The ordering `ordering`, unless `fault` weakens it.
    #[inline]
    fn or_weak(&self, fault: LockFault, ordering: Ordering) -> Ordering {
        if self.planted.is(fault) {
            return Ordering::Relaxed;
        }
        ordering
    }

    #[cold]
    fn take_slowly(&self, mark: Mark, wait: LockWait) -> Result<(), Refusal> {
        // Only this thread could make this thread the holder, so the answer cannot change later.
        if let Some(holder) = Mark::in_word(self.word.load(Ordering::Relaxed))
            && holder.same_thread(mark)
        {
            return Err(Refusal::Reentrant(holder));
        }
        if wait != LockWait::Try && self.spin(mark) {
            return Ok(());
        }
        let mut crowd = self.crowd.lock();
        let seen = loop {
            match self.look(&mut crowd) {
                Some(seen) => break seen,
                None if self.grab(mark) => return Ok(()),
                None => {}
            }
        };
        if self.planted.is(LockFault::LateQueue) {
            // Nobody is in the queue for the holder to see.
            drop(crowd);
            crate::sync::point();
            crowd = self.crowd.lock();
        }
        match wait {
            LockWait::Try => Err(Refusal::Busy(seen)),
            LockWait::Block | LockWait::For(_) => self.queue(mark, wait, crowd),
        }
    }

    /// Waits a moment for the end of a short section. Gives up at once if others are queued.
    fn spin(&self, mark: Mark) -> bool {
        for round in 0..SPIN_ROUNDS {
            let word = self.word.load(Ordering::Relaxed);
            if word & LOOK != 0 {
                return false;
            }
            if word == 0 && self.grab(mark) {
                return true;
            }
            for _ in 0..1_u32 << round {
                std::hint::spin_loop();
            }
        }
        false
    }

    /// Who holds the gate now; from here on it leaves through the latch, which is held here.
    fn look(&self, crowd: &mut MutexGuard<'_, Option<Box<Crowd>>>) -> Option<Seen> {
        let seen = self
            .word
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
                (word != 0).then_some(word | LOOK)
            });
        let mark = Mark::in_word(seen.ok()?)?;
        let crowd = crowd.get_or_insert_default();
        if crowd.since_unix_ms == 0 {
            crowd.since_unix_ms = now_unix_ms();
        }
        Some(Seen {
            mark,
            since_unix_ms: crowd.since_unix_ms,
        })
    }

    /// Waits in the queue to be made the holder. The gate is held, by somebody who will look.
    fn queue(
        &self,
        mark: Mark,
        wait: LockWait,
        mut crowd: MutexGuard<'_, Option<Box<Crowd>>>,
    ) -> Result<(), Refusal> {
        let watch = Stopwatch::start();
        let deadline = wait.deadline();
        let waiter = Arc::new(Waiter {
            mark,
            ticket: self.turns.come(),
            is_holder: AtomicBool::new(false),
            turn: Condvar::new(),
        });
        let queue = &mut crowd.get_or_insert_default().queue;
        queue.push_back(Arc::clone(&waiter));
        loop {
            let timed_out = if let Some(deadline) = deadline {
                waiter.turn.wait_for(&mut crowd, deadline.remaining()) && deadline.is_over()
            } else {
                waiter.turn.wait(&mut crowd);
                false
            };
            if waiter.is_holder.load(Ordering::Relaxed) || self.barges(&waiter, &mut crowd) {
                return Ok(());
            }
            if timed_out {
                break;
            }
        }
        self.turns.go(waiter.ticket);
        if let Some(crowd) = crowd.as_mut()
            && !self.planted.is(LockFault::GhostWaiter)
        {
            crowd.queue.retain(|other| !Arc::ptr_eq(other, &waiter));
        }
        let waited_ms = millis(watch.elapsed());
        // Invariant 3: somebody holds the gate, and is named here.
        Err(Refusal::TimedOut(self.look(&mut crowd), waited_ms))
    }

    /// The waiter takes a gate that was left free, if that fault is planted.
    fn barges(&self, waiter: &Arc<Waiter>, crowd: &mut Option<Box<Crowd>>) -> bool {
        if !self.planted.is(LockFault::Barging) || !self.swap_in(waiter.mark) {
            return false;
        }
        self.turns.go(waiter.ticket);
        if let Some(crowd) = crowd {
            crowd.queue.retain(|other| !Arc::ptr_eq(other, waiter));
        }
        true
    }

    #[cold]
    fn leave_slowly(&self) {
        let mut crowd = self.crowd.lock();
        let next = crowd.as_mut().and_then(|crowd| {
            if self.planted.is(LockFault::LastFirst) {
                return crowd.queue.pop_back();
            }
            crowd.queue.pop_front()
        });
        let Some(next) = next else {
            *crowd = None;
            self.word.store(0, Ordering::Release);
            return;
        };
        if let Some(crowd) = crowd.as_mut() {
            crowd.since_unix_ms = now_unix_ms();
            if self.planted.is(LockFault::Barging) {
                crowd.queue.push_front(Arc::clone(&next));
                self.word.store(0, Ordering::Release);
                next.turn.notify_one();
                return;
            }
        }
        let passes = self.turns.go(next.ticket);
        next.is_holder.store(true, Ordering::Relaxed);
        if self.planted.is(LockFault::OpenHandOver) {
            // Free for a moment: whoever comes now is in as well.
            self.word.store(0, Ordering::Release);
            drop(crowd);
            crate::sync::stage("gate.open");
            crowd = self.crowd.lock();
        }
        self.word.store(next.mark.word() | LOOK, Ordering::Release);
        if !self.planted.is(LockFault::NoWakeUp) {
            next.turn.notify_one();
        }
        drop(crowd);
        if passes {
            notice(OVERTAKEN);
        }
    }
}

#[cfg(test)]
#[cfg(not(any(shuttle, loom)))]
mod tests;
