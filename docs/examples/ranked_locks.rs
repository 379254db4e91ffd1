//! A small executor with two locks of its own, in one order with those of planbox.
//!
//! `cargo run --example ranked_locks` runs three jobs. The test below runs them with the witness on
//! and judges what it saw. `cargo run --example ranked_locks -- inverted` takes the two locks in the
//! wrong order: a debug build stops there, or, with `PLANBOX_LOCK_WITNESS=record`, goes on and leaves
//! it to `planbox locks --check`. See `docs/lock-analysis.md`.

use planbox::sync::order::{Class, Order, Rank};
use planbox::sync::{Mutex, RwLock};
use planbox::{PlanId, SandboxManager, Value, VersionRegister};
use std::collections::{BTreeMap, VecDeque};
use std::error::Error;

/// Outermost first. Declared as a constant, so that an order that cannot be right does not compile.
const ORDER: Order = Order::new(&[
    Class::around("workers", "who works on which job"),
    Class::latch("queue", "jobs that wait for a worker"),
]);
const WORKERS: Rank = ORDER.rank("workers");
const QUEUE: Rank = ORDER.rank("queue");

/// What a job changes: how often it ran.
type Runs = VersionRegister<u64>;

/// Runs jobs, each of which commits what it did.
#[derive(Debug)]
pub(crate) struct Executor {
    manager: SandboxManager,
    runs: Runs,
    workers: RwLock<BTreeMap<u32, String>>,
    queue: Mutex<VecDeque<String>>,
}

impl Executor {
    /// An executor without jobs.
    pub(crate) fn new() -> Self {
        Self {
            manager: SandboxManager::in_memory(),
            runs: VersionRegister::new("none", 0),
            workers: RwLock::new(WORKERS, "workers", BTreeMap::new()),
            queue: Mutex::new(QUEUE, "queue", VecDeque::new()),
        }
    }

    /// Adds a job. The queue's latch is held for the push and for nothing else.
    pub(crate) fn submit(&self, job: &str) {
        self.queue.lock().push_back(job.to_owned());
    }

    /// Has `worker` take the next job and run it. False if there was none.
    ///
    /// # Errors
    /// What the manager says.
    pub(crate) fn work(&self, worker: u32) -> Result<bool, Box<dyn Error>> {
        // Workers, then queue: as declared.
        let mut workers = self.workers.write();
        let Some(job) = self.queue.lock().pop_front() else {
            return Ok(false);
        };
        workers.insert(worker, job.clone());
        // A lock of the class `around` may be held around calls into planbox.
        let plan = PlanId::new(&job)?;
        let sandbox = self.manager.open_sandbox(&plan, Value::of(&self.runs))?;
        let runs = sandbox.get()?.value().copied().unwrap_or(0) + 1;
        sandbox.set(job, runs)?;
        self.manager.commit_all(&plan)?;
        workers.remove(&worker);
        Ok(true)
    }

    /// How many jobs wait, and for how many workers: in the wrong order, on purpose.
    pub(crate) fn count_inverted(&self) -> (usize, usize) {
        let queue = self.queue.lock();
        (queue.len(), self.workers.read().len())
    }

    /// How many jobs ran.
    #[must_use]
    pub(crate) fn runs(&self) -> u64 {
        self.runs.snapshot().value().copied().unwrap_or(0)
    }
}

/// Runs three jobs; `inverted` plants the error.
///
/// # Errors
/// What the manager says.
pub(crate) fn run(inverted: bool) -> Result<u64, Box<dyn Error>> {
    let executor = Executor::new();
    for job in ["one", "two", "three"] {
        executor.submit(job);
    }
    while executor.work(1)? {}
    if inverted {
        executor.count_inverted();
    }
    Ok(executor.runs())
}

fn main() -> Result<(), Box<dyn Error>> {
    let inverted = std::env::args()
        .nth(1)
        .is_some_and(|word| word == "inverted");
    let runs = run(inverted)?;
    assert_eq!(runs, 3);
    Ok(())
}

// The witness of a release build sees nothing.
#[cfg(all(test, debug_assertions))]
mod tests {
    use planbox::sync::witness;

    #[test]
    fn the_locks_are_taken_in_the_declared_order() {
        assert_eq!(super::run(false).unwrap(), 3);
        let dump = witness::dump();
        let findings = dump.check();
        assert!(findings.is_empty(), "{findings:#?}");
        // A test that saw nothing shows nothing.
        let seen = dump.nestings.iter();
        let mut seen = seen.map(|edge| (&*edge.held.rank, &*edge.taken.rank));
        assert!(seen.any(|edge| edge == ("workers", "queue")));
    }
}
