//! Every schedule with few preemptions, one after the other, depth first.
//!
//! Other than the scheduler that shuttle brings, it also goes through the choices of the explorer (does
//! a wait run out?), and it is told how often a thread may be interrupted that could go on: the whole
//! tree of a commit has no end that anybody will see.

use shuttle::scheduler::{Schedule, Scheduler, Task, TaskId};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A point of the present schedule at which something else could be done.
#[derive(Debug)]
struct Fork {
    ways: Vec<usize>,
    taken: usize,
}

#[derive(Debug)]
pub(crate) struct Exhaustive {
    most_preemptions: usize,
    cap: usize,
    ran: usize,
    forks: Vec<Fork>,
    /// How many forks of the present schedule were passed.
    passed: usize,
    preemptions: usize,
    exhausted: Arc<AtomicBool>,
}

impl Exhaustive {
    /// At most `cap` schedules; `exhausted` tells whether there are no others.
    pub(crate) fn new(most_preemptions: usize, cap: usize, exhausted: Arc<AtomicBool>) -> Self {
        Self {
            most_preemptions,
            cap,
            ran: 0,
            forks: Vec::new(),
            passed: 0,
            preemptions: 0,
            exhausted,
        }
    }

    /// Leaves the last fork that has another way on that way; false if there is none.
    fn turn_back(&mut self) -> bool {
        while let Some(fork) = self.forks.last_mut() {
            fork.taken += 1;
            if fork.taken < fork.ways.len() {
                return true;
            }
            self.forks.pop();
        }
        false
    }

    fn choose(&mut self, ways: Vec<usize>) -> usize {
        if let [only] = ways[..] {
            return only;
        }
        if self.passed == self.forks.len() {
            self.forks.push(Fork { ways, taken: 0 });
        } else {
            let before = &self.forks[self.passed].ways;
            assert_eq!(*before, ways, "the body is not deterministic");
        }
        let fork = &self.forks[self.passed];
        self.passed += 1;
        fork.ways[fork.taken]
    }
}

impl Scheduler for Exhaustive {
    fn new_execution(&mut self) -> Option<Schedule> {
        if self.ran > 0 && !self.turn_back() {
            self.exhausted.store(true, Ordering::Relaxed);
            return None;
        }
        if self.ran == self.cap {
            return None;
        }
        self.ran += 1;
        self.passed = 0;
        self.preemptions = 0;
        Some(Schedule::new(0))
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        let mut ways: Vec<usize> = runnable.iter().map(|task| task.id().into()).collect();
        let goes_on = current
            .map(usize::from)
            .filter(|current| !is_yielding && ways.contains(current));
        if let Some(current) = goes_on {
            // Going on comes first, so that the early schedules are the simple ones.
            ways.retain(|way| *way != current);
            ways.insert(0, current);
            if self.most_preemptions == self.preemptions {
                ways.truncate(1);
            }
        }
        let chosen = self.choose(ways);
        if goes_on.is_some_and(|current| current != chosen) {
            self.preemptions += 1;
        }
        Some(TaskId::from(chosen))
    }

    fn next_u64(&mut self) -> u64 {
        u64::from(self.choose(vec![0, 1]) == 1)
    }
}
