//! Settling in the background: one thread that exists only while there is something to settle.

use super::SandboxManager;
use crate::id::PlanId;
use crate::lock::{KeyHandle, LockWait};
use crate::plan::Taking;
use crate::sync::{Condvar, Mutex, Rank, thread};
use std::collections::VecDeque;

/// The plans that are applied but not yet settled.
#[derive(Debug)]
pub(super) struct Settler {
    queue: Mutex<Queue>,
    idle: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<KeyHandle<PlanId>>,
    /// A thread is at work.
    running: bool,
}

impl Settler {
    pub(super) fn new() -> Self {
        Self {
            queue: Mutex::new(Rank::Leaf, "settler", Queue::default()),
            idle: Condvar::new(),
        }
    }

    /// Has the plan settled soon. If no thread can be had, recovery will do it.
    pub(super) fn push(&self, manager: &SandboxManager, slot: &KeyHandle<PlanId>) {
        let mut queue = self.queue.lock();
        queue.waiting.push_back(slot.clone());
        if queue.running {
            return;
        }
        queue.running = true;
        drop(queue);
        let worker = manager.clone();
        let spawned = thread::spawn("planbox-settle", move || work_off(&worker));
        if let Err(error) = spawned {
            tracing::warn!(%error, "no thread to settle with; it is left to recover");
            let mut queue = self.queue.lock();
            queue.waiting.clear();
            queue.running = false;
            self.idle.notify_all();
        }
    }

    pub(super) fn wait_until_idle(&self) {
        let mut queue = self.queue.lock();
        while queue.running {
            self.idle.wait(&mut queue);
        }
    }

    pub(super) fn len(&self) -> usize {
        let queue = self.queue.lock();
        queue.waiting.len() + usize::from(queue.running)
    }

    /// From now on a thread is at work, for a test that is that thread.
    #[cfg(test)]
    pub(super) fn set_running(&self) {
        self.queue.lock().running = true;
    }

    /// The next plan to settle; without one, the thread has ended as far as anybody can tell.
    pub(super) fn next(&self) -> Option<KeyHandle<PlanId>> {
        let mut queue = self.queue.lock();
        let next = queue.waiting.pop_front();
        if next.is_none() {
            queue.running = false;
            self.idle.notify_all();
        }
        next
    }
}

/// A plan may be forgotten and begin anew before its turn comes: the taking tells which life it has,
/// and a plan that is open is not settled.
fn work_off(manager: &SandboxManager) {
    while let Some(slot) = manager.inner.settler.next() {
        let taking = Taking {
            wait: LockWait::Block,
            operation: "settle",
            create: false,
        };
        match manager.checkout(&slot, taking) {
            Ok(mut checkout) => drop(checkout.settle_now()),
            Err(error) => {
                tracing::warn!(plan.id = %slot.key(), %error, "settling is left to recover");
            }
        }
    }
}
