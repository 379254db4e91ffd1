//! The stress: 64 threads over 10,000 plans, mixed operations, faults and panics on the way.
//!
//! `cargo test --test stress -- --nocapture` runs for `PLANBOX_STRESS_SECONDS` (10 if unset); hours
//! are as good. `PLANBOX_STRESS_SEED` repeats the drawing of operations and faults, though not the
//! schedule. Afterwards every cell is compared with the receipts: nothing lost, nothing twice,
//! nothing in part; the tables, the threads and the descriptors are back where they were. The same
//! run without the plan lock, for a short time, must not pass: that is the control.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a program that prints a table and stops at the first surprise"
)]

mod ledger;

use ledger::{Cell, CellKind, Ledger, Random};
use planbox::error::CommitError;
use planbox::{
    CommitOptions, CommitOutcome, Explain as _, GcOptions, LockWait, PlanId, PlanState,
    SandboxManager, Stats,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Threads that work at once.
const THREADS: u64 = 64;

/// Plans at once. Each has three cells of its own; the slot 0 is left to the slow plan.
const SLOTS: u64 = 10_000;

/// Cells that any plan may add, so that plans meet.
const SHARED: u64 = 16;

/// One call of a participant in so many fails.
const FAULTS: u64 = 40;

/// What became of the operations.
#[derive(Debug, Default)]
struct Tally {
    committed: AtomicU64,
    repeated: AtomicU64,
    rolled_back: AtomicU64,
    conflicts: AtomicU64,
    refused: AtomicU64,
    doubts: AtomicU64,
    looked: AtomicU64,
}

struct Stress {
    manager: SandboxManager,
    ledger: Arc<Ledger>,
    /// Which life each slot is in: the plan of a slot is named after both.
    lives: Vec<AtomicU64>,
    /// How often each cell was added to, by the receipts.
    receipts: Vec<AtomicU64>,
    tally: Tally,
    stop: AtomicBool,
}

fn main() {
    let seconds = number("PLANBOX_STRESS_SECONDS").unwrap_or(10);
    let seed = number("PLANBOX_STRESS_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("stress: {THREADS} threads, {SLOTS} plans, {seconds} s, seed {seed}");
    let before = (entries("fd"), entries("task"));
    let stress = Stress::new(seed, false);
    stress.run(seed, Duration::from_secs(seconds));
    let plans = stress.end();
    stress.check();
    stress.print(plans);
    drop(stress);
    let after = (entries("fd"), entries("task"));
    println!("| descriptors, threads | {before:?} -> {after:?} |");
    assert_eq!(before, after, "descriptors and threads are back");
    control(seed);
    println!("stress: passed, seed {seed}");
}

/// The same without the plan lock: something must be noticed.
fn control(seed: u64) {
    std::panic::set_hook(Box::new(|_| ()));
    let noticed = catch_unwind(AssertUnwindSafe(|| {
        let stress = Stress::new(seed, true);
        stress.run(seed, Duration::from_secs(2));
        stress.end();
        stress.check();
    }));
    drop(std::panic::take_hook());
    let Err(noticed) = noticed else {
        panic!("the control passed: the stress shows nothing, seed {seed}");
    };
    let text = noticed
        .downcast_ref::<String>()
        .map_or("a manager's own assertion", String::as_str);
    println!("| control without the plan lock | noticed: {text} |");
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is no number")),
    )
}

/// How many entries `/proc/self/WHAT` has.
fn entries(what: &str) -> usize {
    std::fs::read_dir(format!("/proc/self/{what}"))
        .unwrap()
        .count()
}

impl Stress {
    fn new(seed: u64, without_lock: bool) -> Self {
        let cells = usize::try_from(SLOTS * 3 + SHARED).unwrap();
        let ledger = Ledger::new(
            (cells, cells - usize::try_from(SHARED).unwrap()),
            seed,
            FAULTS,
        );
        let kind = Arc::new(CellKind(Arc::clone(&ledger)));
        let builder = SandboxManager::builder().kind(kind);
        let builder = if without_lock {
            builder.without(|without| {
                without.plan_lock = true;
                without.fencing = true;
            })
        } else {
            builder
        };
        Self {
            manager: builder.in_memory(),
            ledger,
            lives: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            receipts: (0..cells).map(|_| AtomicU64::new(0)).collect(),
            tally: Tally::default(),
            stop: AtomicBool::new(false),
        }
    }

    fn run(&self, seed: u64, time: Duration) {
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                scope.spawn(move || self.work(Random(seed ^ (thread << 32))));
            }
            let begin = Instant::now();
            self.watch(time / 2);
            self.slow_commit(time.saturating_sub(begin.elapsed()));
            self.stop.store(true, Ordering::Release);
        });
    }

    /// One plan commits slowly while all others go on; their number says that they did.
    fn slow_commit(&self, time: Duration) {
        self.ledger.slow.store(true, Ordering::Release);
        let plan = PlanId::new("slow").unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while let Err(error) = self.manager.open_sandbox(&plan, Cell::new(&self.ledger, 0))
                {
                    assert!(is_planted(&error), "{error}");
                }
                while let Err(error) = self.manager.commit_all(&plan) {
                    self.after(&plan, &error);
                }
                self.receipts[0].fetch_add(1, Ordering::Relaxed);
            });
            let before = self.tally.committed.load(Ordering::Relaxed);
            self.watch(time);
            let others = self.tally.committed.load(Ordering::Relaxed) - before;
            println!("| committed beside a slow commit | {others} |");
            assert!(others > 0, "other plans do not wait for a slow commit");
            self.ledger.slow.store(false, Ordering::Release);
        });
    }

    /// Takes and lets go the lock of a plan of its own for `time`, and prints how long that took.
    fn watch(&self, time: Duration) {
        let plan = PlanId::new("quick").unwrap();
        let begin = Instant::now();
        let mut waits = Vec::new();
        while begin.elapsed() < time {
            let start = Instant::now();
            drop(self.manager.hold(&plan, "watch").unwrap());
            waits.push(start.elapsed());
            std::thread::yield_now();
        }
        waits.sort();
        let at = |percent: usize| waits[(waits.len() * percent / 100).min(waits.len() - 1)];
        let label = if self.ledger.slow.load(Ordering::Acquire) {
            "beside a slow commit"
        } else {
            "without one"
        };
        println!(
            "| plan lock taken and let go, {label} | {} times, p50 {:?}, p99 {:?} |",
            waits.len(),
            at(50),
            at(99)
        );
    }

    fn work(&self, mut random: Random) {
        while !self.stop.load(Ordering::Acquire) {
            // Half of the operations meet on a few plans, the rest are spread over all.
            let slot = match random.below(2) {
                0 => 1 + random.below(32),
                _ => 1 + random.below(SLOTS - 1),
            };
            let plan = self.plan(slot);
            match random.below(1_000) {
                0 => drop(self.manager.gc(&GcOptions::default()).unwrap()),
                1..400 => self.open(&plan, slot, &mut random),
                400..800 => self.commit(&plan, slot, random.below(3)),
                800..900 => self.roll_back(&plan, slot),
                _ => self.look(&plan),
            }
        }
    }

    fn plan(&self, slot: u64) -> PlanId {
        let life = self.lives[usize::try_from(slot).unwrap()].load(Ordering::Acquire);
        PlanId::new(format!("{slot}-{life}")).unwrap()
    }

    fn open(&self, plan: &PlanId, slot: u64, random: &mut Random) {
        let own = (0..3).map(|index| slot * 3 + index);
        let shared = (random.below(50) == 0).then(|| SLOTS * 3 + random.below(SHARED));
        for cell in own.chain(shared) {
            let cell = Cell::new(&self.ledger, usize::try_from(cell).unwrap());
            let Err(error) = self.manager.open_sandbox(plan, cell) else {
                continue;
            };
            let ended = error.code() == "wrong-state" || error.needs_recovery();
            assert!(ended || is_planted(&error), "{error}");
            self.tally.refused.fetch_add(1, Ordering::Relaxed);
            return;
        }
    }

    fn commit(&self, plan: &PlanId, slot: u64, how: u64) {
        // A plan that has only some of its cells would be uneven by itself.
        let there = self.manager.sandboxes(plan).unwrap_or_default();
        let has = |name: &str| {
            let mut open = there.iter().filter(|one| one.trouble.is_none());
            open.any(|one| one.name.as_str() == name)
        };
        let whole = (0..3).all(|index| has(&format!("cell-{}", slot * 3 + index)));
        if !whole {
            return;
        }
        let wait = [
            LockWait::Try,
            LockWait::Block,
            LockWait::For(Duration::from_millis(2)),
        ];
        let options = CommitOptions::default().wait(wait[usize::try_from(how).unwrap()]);
        match self.manager.commit_all_with(plan, &options) {
            Ok(receipt) if receipt.is_repeat() => {
                self.tally.repeated.fetch_add(1, Ordering::Relaxed);
            }
            Ok(_) => {
                self.tally.committed.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => self.after(plan, &error),
        }
        self.next_life(plan, slot);
    }

    /// What a caller does after a commit that failed.
    fn after(&self, plan: &PlanId, error: &CommitError) {
        let counted = match error.code() {
            "conflict" => {
                // Whether or not somebody else was quicker: the work is given up.
                drop(self.manager.rollback_all(plan));
                &self.tally.conflicts
            }
            "in-doubt" => {
                while self
                    .manager
                    .recover_plan(plan)
                    .is_err_and(|error| is_planted(&error))
                {}
                &self.tally.doubts
            }
            _ => &self.tally.refused,
        };
        counted.fetch_add(1, Ordering::Relaxed);
    }

    fn roll_back(&self, plan: &PlanId, slot: u64) {
        if self.manager.rollback_all(plan).is_ok() {
            self.tally.rolled_back.fetch_add(1, Ordering::Relaxed);
        }
        self.next_life(plan, slot);
    }

    fn look(&self, plan: &PlanId) {
        let looked = self.manager.status(plan).is_ok() && self.manager.diff(plan).is_ok();
        self.tally
            .looked
            .fetch_add(u64::from(looked), Ordering::Relaxed);
    }

    /// Gives the slot a new plan if this one has ended, and counts what its receipt says: once,
    /// whoever comes first.
    fn next_life(&self, plan: &PlanId, slot: u64) {
        let Ok(status) = self.manager.status(plan) else {
            return;
        };
        let ended = status.state.is_committed() || status.state == PlanState::Aborted;
        let (_, life) = plan.as_str().split_once('-').unwrap();
        let life: u64 = life.parse().unwrap();
        let lives = &self.lives[usize::try_from(slot).unwrap()];
        let next = || lives.compare_exchange(life, life + 1, Ordering::AcqRel, Ordering::Acquire);
        if ended && next().is_ok() {
            self.count(plan);
        }
    }

    fn count(&self, plan: &PlanId) {
        let Some(receipt) = self.manager.receipt(plan).unwrap() else {
            return;
        };
        assert_eq!(receipt.outcome(), CommitOutcome::Committed);
        for resource in receipt.resources() {
            let cell: usize = resource.target.parse().unwrap();
            assert!(resource.applied, "every cell changes");
            self.receipts[cell].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Ends every plan: those that are open are given up. Returns how many plans there were.
    fn end(&self) -> usize {
        self.ledger.heal();
        self.manager.recover().unwrap();
        let plans = self.manager.plans().unwrap();
        for status in &plans {
            if let Some((slot, _)) = status.plan.as_str().split_once('-') {
                if status.state == PlanState::Open {
                    drop(self.manager.rollback_all(&status.plan).unwrap());
                }
                self.next_life(&status.plan, slot.parse().unwrap());
            }
        }
        let quick = PlanId::new("quick").unwrap();
        drop(self.manager.rollback_all(&quick).unwrap());
        self.manager.settle();
        plans.len()
    }

    /// Compares every cell with the receipts.
    fn check(&self) {
        for (cell, receipts) in self.receipts.iter().enumerate() {
            let wanted = receipts.load(Ordering::Relaxed);
            assert_eq!(self.ledger.read(cell), wanted, "cell {cell}");
        }
        for slot in 1..usize::try_from(SLOTS).unwrap() {
            let cells = [0, 1, 2].map(|index| self.ledger.read(slot * 3 + index));
            assert!(
                cells.iter().all(|cell| *cell == cells[0]),
                "{slot}: {cells:?}"
            );
        }
        let Stats {
            plan_locks,
            resource_locks,
            live_plans,
            unsettled,
            ..
        } = self.manager.stats();
        let left = [plan_locks, resource_locks, live_plans, unsettled];
        assert_eq!(left, [0; 4], "the tables are empty");
    }

    fn print(&self, plans: usize) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let tally = &self.tally;
        let rows = [
            ("plans", plans as u64),
            ("committed", read(&tally.committed)),
            ("already committed", read(&tally.repeated)),
            ("rolled back", read(&tally.rolled_back)),
            ("conflicts", read(&tally.conflicts)),
            ("in doubt, then recovered", read(&tally.doubts)),
            ("refused, busy or failed", read(&tally.refused)),
            ("looked at", read(&tally.looked)),
            ("planted failures", read(&self.ledger.failed)),
            ("planted panics", read(&self.ledger.panicked)),
            ("lost, double or partial", 0),
        ];
        for (what, count) in rows {
            println!("| {what} | {count} |");
        }
    }
}

/// True for a failure that the stress planted.
fn is_planted(error: &dyn planbox::Explain) -> bool {
    ["io", "panicked"].contains(&error.code())
}
