//! Exploring schedules with shuttle.

use crate::case::{Explored, Verdict, Wrong};
use crate::exhaustive::Exhaustive;
use shuttle::scheduler::{
    PctScheduler, RandomScheduler, ReplayScheduler, Scheduler, UrwRandomScheduler,
};
use shuttle::{Config, FailurePersistence, Runner};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// What chooses the next schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strategy {
    Random,
    /// Random priorities, changed at so many points less one.
    Pct(usize),
    /// Every interleaving as likely as any other.
    Urw,
    /// One after the other, to the end: all that interrupt a thread so often at the most.
    Exhaustive(usize),
    /// The same, to the end or to the cap.
    Deeper(usize),
}

/// The strategies that sample.
pub(crate) const SAMPLING: [Strategy; 5] = [
    Strategy::Random,
    Strategy::Pct(3),
    Strategy::Pct(4),
    Strategy::Pct(5),
    Strategy::Urw,
];

impl std::fmt::Display for Strategy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Random => f.write_str("random"),
            Self::Pct(depth) => write!(f, "pct {depth}"),
            Self::Urw => f.write_str("urw"),
            Self::Exhaustive(0) => f.write_str("all without a preemption"),
            Self::Exhaustive(1) => f.write_str("all, 1 preemption"),
            Self::Exhaustive(most) => write!(f, "all, {most} preemptions"),
            Self::Deeper(most) => write!(f, "deeper, {most} preemptions"),
        }
    }
}

thread_local! {
    /// A control runs: what it finds is wanted, and not worth a report.
    static QUIET: Cell<bool> = const { Cell::new(false) };
    /// The first panic of the run. A thread that is stopped in the middle of its unwinding has no
    /// other way to tell.
    static SAID: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Makes the report of a panic, with the schedule that led to it, wait for `QUIET`. Once.
pub(crate) fn install_reports() {
    Runner::new(RandomScheduler::new(1), config(false)).run(|| ());
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let text = text(panic.payload()).map(str::to_owned);
        SAID.with_borrow_mut(|said| *said = said.take().or(text));
        if !QUIET.get() {
            report(panic);
        }
    }));
}

fn config(quiet: bool) -> Config {
    let mut config = Config::new();
    // A participant's stack holds JSON and hashes.
    config.stack_size = 0x4_0000;
    config.failure_persistence = if quiet {
        FailurePersistence::None
    } else {
        FailurePersistence::Print
    };
    config.silence_warnings = true;
    config
        .ungraceful_shutdown_config
        .immediately_return_on_panic = true;
    config
}

/// Explores `schedules` schedules of `body`, or the whole tree up to that many.
pub(crate) fn explore(
    body: fn() -> Verdict,
    strategy: Strategy,
    (schedules, seed): (usize, u64),
    quiet: bool,
) -> Explored {
    let exhausted = Arc::new(AtomicBool::new(false));
    let (ran, wrong) = match strategy {
        Strategy::Random => run(RandomScheduler::new_from_seed(seed, schedules), body, quiet),
        Strategy::Pct(depth) => run(
            PctScheduler::new_from_seed(seed, depth, schedules),
            body,
            quiet,
        ),
        Strategy::Urw => run(
            UrwRandomScheduler::new_from_seed(seed, schedules),
            body,
            quiet,
        ),
        Strategy::Exhaustive(most) | Strategy::Deeper(most) => run(
            Exhaustive::new(most, schedules, Arc::clone(&exhausted)),
            body,
            quiet,
        ),
    };
    Explored {
        schedules: ran,
        exhausted: exhausted.load(Ordering::Relaxed),
        wrong,
    }
}

/// How many schedules of a control one strategy has before the next one has its turn.
const TURN: usize = 500;

/// Explores `body`, which has a fault, with one strategy after the other: where one is blind another
/// one sees. Says who found it.
pub(crate) fn hunt(body: fn() -> Verdict, most: usize, seed: u64) -> (Explored, String) {
    let hunters = [
        Strategy::Pct(4),
        Strategy::Urw,
        Strategy::Pct(5),
        Strategy::Pct(3),
    ];
    let mut schedules = 0;
    for (turn, strategy) in (0..).zip(hunters.iter().cycle()) {
        let found = explore(body, *strategy, (TURN, seed + turn), true);
        schedules += found.schedules;
        if found.wrong.is_some() || schedules >= most {
            let found = Explored { schedules, ..found };
            return (found, strategy.to_string());
        }
    }
    unreachable!("a cycle has no end")
}

/// Runs one schedule again, as a report printed it.
pub(crate) fn replay(body: fn() -> Verdict, schedule: &str) -> Option<Wrong> {
    run(ReplayScheduler::new_from_encoded(schedule), body, false).1
}

/// Each run has a thread of the operating system of its own: what a failing schedule leaves behind in
/// it goes with it.
fn run<S: Scheduler + Send + 'static>(
    scheduler: S,
    body: fn() -> Verdict,
    quiet: bool,
) -> (usize, Option<Wrong>) {
    let ran = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&ran);
    let work = move || {
        QUIET.set(quiet);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            Runner::new(scheduler, config(quiet)).run(move || {
                counted.fetch_add(1, Ordering::Relaxed);
                if let Err(wrong) = crate::world::to_the_end(body) {
                    std::panic::panic_any(wrong);
                }
            })
        }));
        outcome.err().map(|panic| classify(panic.as_ref()))
    };
    let wrong = std::thread::spawn(work).join();
    let wrong = wrong.unwrap_or_else(|panic| Some(classify(panic.as_ref())));
    (ran.load(Ordering::Relaxed), wrong)
}

fn text(panic: &(dyn Any + Send)) -> Option<&str> {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&'static str>().copied())
}

/// What a panic says about what went wrong.
fn classify(panic: &(dyn Any + Send)) -> Wrong {
    if let Some(wrong) = panic.downcast_ref::<Wrong>() {
        return wrong.clone();
    }
    let said = SAID.take();
    let text = said.as_deref().or_else(|| text(panic));
    let text = text.unwrap_or("a panic without a message");
    Wrong {
        kind: crate::kind_of(text),
        text: text.to_owned(),
    }
}
