//! One run of the stress.

mod compare;

pub(crate) use compare::{Disk, planted};

use crate::ledger::{Cell, CellKind, Ledger, Random};
use crate::watchdog::Watchdog;
use compare::content;
use planbox::error::CommitError;
use planbox::{
    CommitOptions, CommitOutcome, Directory, Explain as _, GcOptions, LockWait, PlanId, PlanState,
    ResourceName, SandboxManager,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How large a run is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Threads that work at once.
    pub(crate) threads: u64,
    /// Plans at once. Each has three cells of its own, and a directory in a durable run; the slot 0 is
    /// left to the slow plan.
    pub(crate) slots: u64,
    /// On these slots half of the operations meet.
    pub(crate) busy: u64,
    /// The run goes on until there were so many plans.
    pub(crate) plans: u64,
}

/// Cells that any plan may add, so that plans meet.
const SHARED: u64 = 16;

/// One call of a participant in so many fails.
const FAULTS: u64 = 40;

/// How often the run looks whether it was enough.
const LOOK: Duration = Duration::from_millis(20);

/// How long it waits for what there should be more than enough of.
const PATIENCE: Duration = Duration::from_secs(600);

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

pub(crate) struct Stress {
    shape: Shape,
    manager: SandboxManager,
    ledger: Arc<Ledger>,
    disk: Option<Disk>,
    /// Which life each slot is in: the plan of a slot is named after both.
    lives: Vec<AtomicU64>,
    /// The newest life of each slot that was opened, plus one.
    opened: Vec<AtomicU64>,
    /// How many plans there were.
    plans: AtomicU64,
    /// How often each cell was added to, by the receipts.
    receipts: Vec<AtomicU64>,
    tally: Tally,
    stop: AtomicBool,
    /// A thread of the stress panicked.
    fell: AtomicBool,
}

struct Alarm<'a>(&'a AtomicBool);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        self.0.fetch_or(std::thread::panicking(), Ordering::AcqRel);
    }
}

impl Stress {
    /// A run in memory, or on `disk`.
    pub(crate) fn new(shape: Shape, seed: u64, without_lock: bool, disk: Option<Disk>) -> Self {
        let cells = usize::try_from(shape.slots * 3 + SHARED).unwrap();
        let shared = usize::try_from(shape.slots * 3).unwrap();
        let ledger = Ledger::new((cells, shared), seed, FAULTS);
        let kind = Arc::new(CellKind(Arc::clone(&ledger)));
        let builder = SandboxManager::builder().kind(kind);
        let builder = builder.without(|without| {
            without.plan_lock = without_lock;
            without.fencing = without_lock;
            // On disk the lease of each plan would still keep the callers apart.
            without.lease = without_lock;
        });
        let manager = match &disk {
            Some(disk) => builder.store(disk.store()).open().unwrap(),
            None => builder.in_memory(),
        };
        let counters = |count: u64| (0..count).map(|_| AtomicU64::new(0)).collect();
        Self {
            shape,
            manager,
            ledger,
            disk,
            lives: counters(shape.slots),
            opened: counters(shape.slots),
            plans: AtomicU64::new(0),
            receipts: counters(u64::try_from(cells).unwrap()),
            tally: Tally::default(),
            stop: AtomicBool::new(false),
            fell: AtomicBool::new(false),
        }
    }

    /// Works for `time`, and until there were enough plans.
    pub(crate) fn run(&self, seed: u64, time: Duration) {
        let begin = Instant::now();
        let beside = self.run_quietly(seed, time);
        println!("| committed beside a slow commit | {beside} |");
        println!("| seconds | {} |", begin.elapsed().as_secs());
    }

    /// The same; how many committed beside a slow commit.
    fn run_quietly(&self, seed: u64, time: Duration) -> u64 {
        let watchdog = Watchdog::patient(self.shape.threads);
        std::thread::scope(|scope| {
            for thread in 0..self.shape.threads {
                let watchdog = &watchdog;
                scope.spawn(move || self.work(Random(seed ^ (thread << 32)), watchdog, thread));
            }
            let over = watchdog.over();
            scope.spawn(|| watchdog.watch());
            let beside = self.slow_commit(time);
            let plans = || self.plans.load(Ordering::Relaxed);
            let committed = || self.tally.committed.load(Ordering::Relaxed);
            self.until(Duration::ZERO, || {
                plans() >= self.shape.plans && committed() > 0
            });
            self.stop.store(true, Ordering::Release);
            drop(over);
            beside
        })
    }

    /// One plan commits slowly while all others go on; their number says that they did.
    fn slow_commit(&self, time: Duration) -> u64 {
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
            let others = || self.tally.committed.load(Ordering::Relaxed) - before;
            // Other plans do not wait for a slow commit: if they did, the watchdog would end this.
            self.until(time, || others() > 0);
            let beside = others();
            self.ledger.slow.store(false, Ordering::Release);
            beside
        })
    }

    /// Waits for `time` and for `enough`, or until a thread fell.
    fn until(&self, time: Duration, enough: impl Fn() -> bool) {
        let begin = Instant::now();
        let fell = || self.fell.load(Ordering::Acquire);
        while !fell() && (begin.elapsed() < time || !enough()) {
            std::thread::park_timeout(LOOK);
            if begin.elapsed() > time + PATIENCE {
                println!("stress: too little was done in {PATIENCE:?}");
                std::process::abort();
            }
        }
    }

    fn work(&self, mut random: Random, watchdog: &Watchdog, thread: u64) {
        let slots = self.shape.slots;
        let _alarm = Alarm(&self.fell);
        while !self.stop.load(Ordering::Acquire) {
            watchdog.beat(thread);
            // Half of the operations meet on a few plans, the rest are spread over all.
            let slot = match random.below(2) {
                0 => 1 + random.below(self.shape.busy),
                _ => 1 + random.below(slots - 1),
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
        if !self.open_directory(plan, slot) {
            self.tally.refused.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let own = (0..3).map(|index| slot * 3 + index);
        let shared = (random.below(50) == 0).then(|| self.shape.slots * 3 + random.below(SHARED));
        for cell in own.chain(shared) {
            let cell = Cell::new(&self.ledger, usize::try_from(cell).unwrap());
            let Err(error) = self.manager.open_sandbox(plan, cell) else {
                self.is_plan(plan, slot);
                continue;
            };
            let ended = error.code() == "wrong-state" || error.needs_recovery();
            assert!(ended || is_planted(&error), "{error}");
            self.tally.refused.fetch_add(1, Ordering::Relaxed);
            return;
        }
    }

    /// Counts a plan when it is first opened.
    fn is_plan(&self, plan: &PlanId, slot: u64) {
        let newest = &self.opened[usize::try_from(slot).unwrap()];
        if newest.fetch_max(life(plan) + 1, Ordering::Relaxed) <= life(plan) {
            self.plans.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Opens the directory of the slot and writes what this life has to say, in one hold of the plan, so
    /// that no commit takes the directory without it. True if there is nothing to open, or it is open.
    fn open_directory(&self, plan: &PlanId, slot: u64) -> bool {
        let Some(disk) = &self.disk else { return true };
        let Ok(mut hold) = self.manager.hold(plan, "open") else {
            return false;
        };
        let name = ResourceName::new(format!("root-{slot}")).unwrap();
        let directory = Directory::at(disk.root(slot)).named(name);
        match hold.open_sandbox(directory) {
            Ok(sandbox) => {
                let file = sandbox.path().join(life(plan).to_string());
                std::fs::write(file, content(slot, life(plan))).unwrap();
                true
            }
            Err(error) => {
                let ended = error.code() == "wrong-state" || error.needs_recovery();
                assert!(ended, "{error}");
                false
            }
        }
    }

    fn commit(&self, plan: &PlanId, slot: u64, how: u64) {
        // A plan that has only some of its cells would be uneven by itself.
        let there = self.manager.sandboxes(plan).unwrap_or_default();
        let has = |name: &str| {
            let mut open = there.iter().filter(|one| one.trouble.is_none());
            open.any(|one| one.name.as_str() == name)
        };
        let cells = (0..3).all(|index| has(&format!("cell-{}", slot * 3 + index)));
        let whole = cells && (self.disk.is_none() || has(&format!("root-{slot}")));
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
        let life = life(plan);
        let lives = &self.lives[usize::try_from(slot).unwrap()];
        let next = || lives.compare_exchange(life, life + 1, Ordering::AcqRel, Ordering::Acquire);
        if ended && next().is_ok() {
            self.count(plan, slot);
        }
    }

    fn count(&self, plan: &PlanId, slot: u64) {
        let Some(receipt) = self.manager.receipt(plan).unwrap() else {
            return;
        };
        assert_eq!(receipt.outcome(), CommitOutcome::Committed);
        for resource in receipt.resources() {
            assert!(resource.applied, "every cell and every directory changes");
            let Ok(cell) = resource.target.parse::<usize>() else {
                let disk = self.disk.as_ref().unwrap();
                assert!(disk.lives(slot).insert(life(plan)), "{plan} twice");
                continue;
            };
            self.receipts[cell].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Ends every plan: those that are open are given up.
    pub(crate) fn end(&self) {
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
        self.manager.settle();
    }

    pub(crate) fn print(&self) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let tally = &self.tally;
        let rows = [
            ("plans", read(&self.plans)),
            ("committed", read(&tally.committed)),
            ("already committed", read(&tally.repeated)),
            ("rolled back", read(&tally.rolled_back)),
            ("conflicts", read(&tally.conflicts)),
            ("in doubt, then recovered", read(&tally.doubts)),
            ("refused, busy or failed", read(&tally.refused)),
            ("looked at", read(&tally.looked)),
            ("planted failures", read(&self.ledger.failed)),
            ("planted panics", read(&self.ledger.panicked)),
            ("lost, double or partial", self.findings().len() as u64),
        ];
        for (what, count) in rows {
            println!("| {what} | {count} |");
        }
    }
}

/// The number behind the name of a plan of a slot.
fn life(plan: &PlanId) -> u64 {
    let (_, life) = plan.as_str().split_once('-').unwrap();
    life.parse().unwrap()
}

/// True for a failure that the stress planted.
fn is_planted(error: &dyn planbox::Explain) -> bool {
    ["io", "panicked"].contains(&error.code())
}
