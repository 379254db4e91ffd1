//! Recorded histories of a manager, compared with what one caller after the other would have seen.
//!
//! The rule that histories are held to: **a plan that is being committed, or is over, takes no
//! newcomers**, and a receipt names every sandbox whose open succeeded before it. Without that rule an
//! open in the middle of a commit would just count as one after it.

use super::commit::both;
use crate::case::{Case, Control, Depth, Verdict, check};
use crate::scripted::{Scripted, World};
use crate::world::{Without, manager, pass, plan};
use planbox::error::StatusError;
use planbox::sync::{point, thread};
use planbox::{Explain as _, PlanState, SandboxManager};
use stateright::semantics::{ConsistencyTester as _, LinearizabilityTester, SequentialSpec};
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

/// What a caller asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    Open,
    Commit,
    RollBack,
    Status,
}

/// What a caller is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Opened,
    Refused,
    Unknown,
    /// The first receipt, or a later one: over so many sandboxes.
    Committed(usize),
    Again(usize),
    RolledBack,
    Is(Phase),
}

/// Where a plan is, as one caller after the other would see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    Committed,
    GivenUp,
}

/// The plan as a sequential thing.
#[derive(Debug, Clone, Copy)]
struct Plain {
    phase: Phase,
    sandboxes: usize,
}

impl SequentialSpec for Plain {
    type Op = Ask;
    type Ret = Told;

    fn invoke(&mut self, ask: &Ask) -> Told {
        match (ask, self.phase) {
            (Ask::Open, Phase::Open) => {
                self.sandboxes += 1;
                Told::Opened
            }
            (Ask::Commit, Phase::Open) => {
                self.phase = Phase::Committed;
                Told::Committed(self.sandboxes)
            }
            (Ask::Commit, Phase::Committed) => Told::Again(self.sandboxes),
            (Ask::RollBack, Phase::Open | Phase::GivenUp) => {
                self.phase = Phase::GivenUp;
                Told::RolledBack
            }
            (Ask::Status, phase) => Told::Is(phase),
            _ => Told::Refused,
        }
    }
}

type History = LinearizabilityTester<usize, Plain>;

/// The threads of a history, and what each asks.
type Callers = &'static [&'static [Ask]];

const COMMIT_OPEN: Callers = &[&[Ask::Commit, Ask::Status], &[Ask::Open, Ask::Commit]];
const COMMIT_ROLL_BACK: Callers = &[&[Ask::Commit, Ask::Status], &[Ask::RollBack, Ask::Open]];
const ALL: Callers = &[
    &[Ask::Open, Ask::Commit],
    &[Ask::Commit, Ask::RollBack],
    &[Ask::Status, Ask::Status],
];

/// Without the plan lock a history may also end in what the manager itself notices, or in sandboxes that
/// stay.
const FOUND: &[&str] = &["not linear", "two bodies", "left"];

const fn unlocked(body: fn() -> Verdict) -> Control {
    Control::new("the plan lock", body, FOUND)
}

pub(crate) const CASES: &[Case] = &[
    Case::heavy(
        "history: commit, status; open, commit",
        Depth::Preemptions(0),
        || history(COMMIT_OPEN, Without::Nothing),
        &[unlocked(|| history(COMMIT_OPEN, Without::PlanLock))],
    ),
    Case::heavy(
        "history: commit, status; rollback, open",
        Depth::Preemptions(1),
        || history(COMMIT_ROLL_BACK, Without::Nothing),
        &[unlocked(|| history(COMMIT_ROLL_BACK, Without::PlanLock))],
    ),
    Case::heavy(
        "history: three callers, two calls each",
        Depth::No,
        || history(ALL, Without::Nothing),
        &[unlocked(|| history(ALL, Without::PlanLock))],
    ),
    Case::heavy(
        "history: the checker itself",
        Depth::No,
        || {
            written(&[
                (Ask::Open, Told::Refused),
                (Ask::Commit, Told::Committed(1)),
            ])
        },
        &[
            Control::new(
                "truth (a sandbox that the receipt missed)",
                || written(&[(Ask::Open, Told::Opened), (Ask::Commit, Told::Committed(1))]),
                &["not linear"],
            ),
            Control::new(
                "truth (two first receipts)",
                || {
                    written(&[
                        (Ask::Commit, Told::Committed(1)),
                        (Ask::Commit, Told::Committed(1)),
                    ])
                },
                &["not linear"],
            ),
        ],
    ),
];

fn ask(manager: &SandboxManager, world: &Arc<World>, ask: Ask, caller: usize) -> Told {
    let refused = |code: &str| match code {
        "unknown-plan" => Told::Unknown,
        _ => Told::Refused,
    };
    let p = plan("p");
    match ask {
        Ask::Open => {
            let resource = Scripted::new(world, &format!("of-{caller}"));
            let opened = manager.open_sandbox(&p, resource);
            opened.map_or_else(|error| refused(error.code()), |_| Told::Opened)
        }
        Ask::Commit => manager.commit_all(&p).map_or_else(
            |error| refused(error.code()),
            |receipt| {
                let count = receipt.resources().len();
                if receipt.is_repeat() {
                    Told::Again(count)
                } else {
                    Told::Committed(count)
                }
            },
        ),
        Ask::RollBack => {
            let gone = manager.rollback_all(&p);
            gone.map_or_else(|error| refused(error.code()), |_| Told::RolledBack)
        }
        Ask::Status => manager.status(&p).map_or_else(
            |error: StatusError| refused(error.code()),
            |status| Told::Is(phase(status.state)),
        ),
    }
}

/// A plan counts as committed from its decision on.
fn phase(state: PlanState) -> Phase {
    match state {
        PlanState::Aborting | PlanState::Aborted => Phase::GivenUp,
        PlanState::Committing | PlanState::Applied | PlanState::Done => Phase::Committed,
        _ => Phase::Open,
    }
}

/// Every caller writes down what it asked, and when it was told what.
///
/// ```text
/// one      [commit ............. told: two sandboxes]  [status ... told: committed]
/// other       [open ... told: opened]  [commit ................ told: again, two]
///          some order of the calls that overlap explains every answer, or the history is not linear
/// ```
fn history(callers: Callers, without: Without) -> Verdict {
    let world = World::new();
    let manager = manager(&world, without);
    manager
        .open_sandbox(&plan("p"), Scripted::new(&world, "first"))
        .unwrap();
    world.hook(|step, _| {
        pass(step);
        Ok(())
    });
    let start = Plain {
        phase: Phase::Open,
        sandboxes: 1,
    };
    record(History::new(start), callers, |caller, one| {
        ask(&manager, &world, one, caller)
    })?;
    let over = manager.commit_all(&plan("p")).is_ok() || manager.rollback_all(&plan("p")).is_ok();
    check(over, "half", || {
        "the plan is neither committed nor given up".to_owned()
    })
}

/// Has every caller ask in a thread of its own, and checks what they were told.
pub(super) fn record<S>(
    history: LinearizabilityTester<usize, S>,
    callers: &'static [&'static [S::Op]],
    ask: impl Fn(usize, S::Op) -> S::Ret + Sync,
) -> Verdict
where
    S: SequentialSpec + Clone + Debug + Send,
    S::Op: Copy + Debug + PartialEq + Send + Sync,
    S::Ret: Clone + Debug + PartialEq + Send,
{
    let history = Mutex::new(history);
    thread::scope(|scope| {
        for (caller, asks) in callers.iter().enumerate() {
            let (history, ask) = (&history, &ask);
            scope.spawn(move || {
                for one in *asks {
                    drop(history.lock().unwrap().on_invoke(caller, *one).map(|_| ()));
                    let told = ask(caller, *one);
                    drop(history.lock().unwrap().on_return(caller, told).map(|_| ()));
                }
            });
        }
    });
    let history = history.into_inner().unwrap();
    check(history.is_consistent(), "not linear", || {
        format!("{history:?}")
    })
}

/// A history by hand: these calls, all of them at the same time.
fn written(calls: &[(Ask, Told)]) -> Verdict {
    // An explorer wants something to schedule.
    both(point, point);
    let mut history = History::new(Plain {
        phase: Phase::Open,
        sandboxes: 1,
    });
    for (caller, (ask, _)) in calls.iter().enumerate() {
        history.on_invoke(caller, *ask).unwrap();
    }
    // The first call has its answer before the last one is made.
    let (last, others) = calls.split_last().unwrap();
    for (caller, (_, told)) in others.iter().enumerate() {
        history.on_return(caller, *told).unwrap();
    }
    history.on_return(others.len(), last.1).unwrap();
    check(history.is_consistent(), "not linear", || {
        format!("{history:?}")
    })
}
