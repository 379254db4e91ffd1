//! `commit_all` against everything that may come at the same time.

use crate::case::{Case, Control, Depth, Verdict, check};
use crate::scripted::{Scripted, World};
use crate::world::{Without, builder, nothing_left, opened, plan};
use planbox::error::CommitError;
use planbox::sync::thread;
use planbox::{CommitOptions, Explain as _, GcOptions, LockWait, Receipt, SandboxManager};
use std::sync::Arc;
use std::time::Duration;

type Committed = Result<Receipt, CommitError>;

/// How a run without the plan lock may be noticed: a sandbox is committed twice, a caller meets what
/// another one left half done, two callers hold the sandboxes of one plan.
const UNLOCKED: &[&str] = &["twice", "half", "two bodies", "refused"];

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "commit, commit",
        body: || commits(2, 1, Without::Nothing),
        depth: Depth::Preemptions(2),
        controls: &[Control {
            without: "the plan lock",
            body: || commits(2, 1, Without::PlanLock),
            kinds: UNLOCKED,
            only_explored: false,
        }],
    },
    Case {
        name: "commit, commit; two sandboxes",
        body: || commits(2, 2, Without::Nothing),
        depth: Depth::No,
        controls: &[Control {
            without: "the plan lock",
            body: || commits(2, 2, Without::PlanLock),
            kinds: UNLOCKED,
            only_explored: false,
        }],
    },
    Case {
        name: "commit, commit, commit",
        body: || commits(3, 1, Without::Nothing),
        depth: Depth::No,
        controls: &[Control {
            without: "the plan lock",
            body: || commits(3, 1, Without::PlanLock),
            kinds: UNLOCKED,
            only_explored: false,
        }],
    },
];

/// Every caller has a receipt, one of them has the first one, and each sandbox was applied once.
fn once(world: &World, sandboxes: usize, results: &[Committed]) -> Verdict {
    let applied = world.count("applied");
    check(applied <= sandboxes, "twice", || {
        format!("{applied} applied of {sandboxes}")
    })?;
    let receipts = results.iter().flatten();
    let firsts = receipts.filter(|receipt| !receipt.is_repeat()).count();
    check(firsts <= 1, "twice", || format!("{firsts} first receipts"))?;
    for error in results.iter().filter_map(|result| result.as_ref().err()) {
        check(false, "refused", || format!("{}: {error}", error.code()))?;
    }
    check(applied == sandboxes && firsts == 1, "half", || {
        format!("{applied} applied of {sandboxes}, {firsts} first receipts")
    })
}

/// A1, the reported race:
///
/// ```text
/// one     snapshot of the list ------------ seal, vote, decide, apply ----- receipt
/// other        snapshot of the list ------------------- seal, vote, decide, apply ----- receipt
///         with the lock the other's snapshot comes after the receipt, and finds it
/// ```
fn commits(threads: usize, sandboxes: usize, without: Without) -> Verdict {
    let (world, manager) = opened(sandboxes, without);
    let results: Vec<_> = thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|_| scope.spawn(|| manager.commit_all(&plan("p"))))
            .collect();
        running.into_iter().map(|one| one.join().unwrap()).collect()
    });
    once(&world, sandboxes, &results)?;
    nothing_left(&manager)
}
