//! `commit_all` against everything that may come at the same time.

use super::{LATE_RETURN, UNLOCKED, late_return, no_plan_lock};
use crate::case::{Case, Control, Depth, Verdict, check, stop};
use crate::scripted::{Scripted, World};
use crate::world::{Without, open, opened, plan, stage};
use planbox::error::CommitError;
use planbox::lock::LockFault;
use planbox::sync::thread;
use planbox::{
    CommitOptions, Explain as _, GcOptions, LockWait, PlanState, Receipt, RegistryFault,
    SandboxManager,
};
use std::time::Duration;

pub(super) type Committed = Result<Receipt, CommitError>;

pub(crate) const CASES: &[Case] = &[
    Case::heavy(
        "commit, commit",
        Depth::Preemptions(1),
        || commits(2, 1, Without::Nothing),
        &[
            no_plan_lock(|| commits(2, 1, Without::PlanLock)),
            Control::new(
                "the removal of a plan lock with its last user",
                || commits(2, 1, Without::Table(LockFault::NoRemoval)),
                &["left"],
            ),
            Control::new(
                "the wake-up of who waits for the plan",
                || commits(2, 1, Without::Table(LockFault::NoWakeUp)),
                &["deadlock"],
            ),
            Control::new(
                "the second look before a plan lock is made",
                || commits(2, 1, Without::Table(LockFault::LateInsert)),
                UNLOCKED,
            )
            .stops(&[stop("opened", ""), stop("slot.insert", "slot.insert")]),
            Control::new(
                "the removal of a plan that is over from the registry",
                || commits(2, 1, Without::Registry(RegistryFault::NoRemoval)),
                &["left"],
            ),
        ],
    ),
    Case::heavy(
        "commit, commit; two sandboxes",
        Depth::Preemptions(0),
        || commits(2, 2, Without::Nothing),
        &[no_plan_lock(|| commits(2, 2, Without::PlanLock))],
    ),
    Case::heavy(
        "commit, commit, commit",
        Depth::No,
        || commits(3, 1, Without::Nothing),
        &[
            no_plan_lock(|| commits(3, 1, Without::PlanLock)),
            Control::new(
                "the order of those who wait for the plan",
                || commits(3, 1, Without::Table(LockFault::LastFirst)),
                &["overtaken"],
            ),
        ],
    ),
    Case::heavy(
        "commit, open",
        Depth::Preemptions(1),
        || against_open(Without::Nothing),
        &[
            no_plan_lock(|| against_open(Without::PlanLock)),
            late_return(|| against_open(LATE_RETURN)),
        ],
    ),
    Case::heavy(
        "commit, rollback",
        Depth::Preemptions(1),
        || against_rollback(Without::Nothing),
        &[no_plan_lock(|| against_rollback(Without::PlanLock))],
    ),
    Case::heavy(
        "commit, gc",
        Depth::Preemptions(1),
        || against_gc(Without::Nothing),
        &[no_plan_lock(|| against_gc(Without::PlanLock))],
    ),
    Case::heavy(
        "commit, commit that gives up",
        Depth::Preemptions(1),
        || impatient(LockWait::For(Duration::from_millis(1)), Without::Nothing),
        &[no_plan_lock(|| {
            impatient(LockWait::For(Duration::from_millis(1)), Without::PlanLock)
        })],
    ),
    Case::heavy(
        "commit, try",
        Depth::Preemptions(1),
        || impatient(LockWait::Try, Without::Nothing),
        &[no_plan_lock(|| impatient(LockWait::Try, Without::PlanLock))],
    ),
    Case::heavy(
        "commit, status",
        Depth::Preemptions(0),
        || against_status(Without::Nothing),
        &[Control::new(
            "the decision",
            || against_status(Without::Decision),
            &["mix"],
        )
        .stops(&[stop("look", "applied"), stop("applied", "looked")])],
    ),
];

/// Every caller has a receipt, one of them has the first one, and each sandbox was applied once.
/// A caller may be refused with one of the codes in `excused`.
pub(super) fn once(
    world: &World,
    sandboxes: usize,
    results: &[Committed],
    excused: &[&str],
) -> Verdict {
    let applied = world.count("applied");
    check(applied <= sandboxes, "twice", || {
        format!("{applied} applied of {sandboxes}")
    })?;
    let receipts = results.iter().flatten();
    let firsts = receipts.filter(|receipt| !receipt.is_repeat()).count();
    check(firsts <= 1, "twice", || format!("{firsts} first receipts"))?;
    let errors = results.iter().filter_map(|result| result.as_ref().err());
    for error in errors.filter(|error| !excused.contains(&error.code())) {
        check(false, "refused", || format!("{}: {error}", error.code()))?;
    }
    check(applied == sandboxes && firsts == 1, "half", || {
        format!("{applied} applied of {sandboxes}, {firsts} first receipts")
    })
}

/// What a thread came to; its panic goes on here.
pub(super) fn ended<T>(result: std::thread::Result<T>) -> T {
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Runs both at once.
pub(super) fn both<A: Send, B: Send>(
    one: impl FnOnce() -> A + Send,
    other: impl FnOnce() -> B + Send,
) -> (A, B) {
    thread::scope(|scope| {
        let (one, other) = (scope.spawn(one), scope.spawn(other));
        (ended(one.join()), ended(other.join()))
    })
}

/// The reported race:
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
        running.into_iter().map(|one| ended(one.join())).collect()
    });
    once(&world, sandboxes, &results, &[])
}

/// A sandbox that is added in the window:
///
/// ```text
/// commit    snapshot of the list -------------------- apply ---- receipt
/// open                  "late" into the list: which commit is it of?
///           with the lock: before the snapshot, and committed; or refused
/// ```
fn against_open(without: Without) -> Verdict {
    let (world, manager) = opened(1, without);
    let late = || manager.open_sandbox(&plan("p"), Scripted::new(&world, "late"));
    let (receipt, late) = both(|| manager.commit_all(&plan("p")), late);
    let sandboxes = if late.is_ok() { 2 } else { 1 };
    if let Err(error) = &late {
        check(error.code() == "wrong-state", "refused", || {
            error.to_string()
        })?;
    }
    let named = receipt
        .as_ref()
        .map_or(0, |receipt| receipt.resources().len());
    check(receipt.is_err() || named == sandboxes, "missed", || {
        format!("{named} in the receipt, {sandboxes} opened")
    })?;
    once(&world, sandboxes, &[receipt], &[])
}

/// A plan that is committed while it is cancelled:
///
/// ```text
/// commit      snapshot ---------- vote ---- decide ---- apply
/// rollback           snapshot ------ discard the sandboxes
///             with the lock: one of them finds what the other one made of the plan
/// ```
fn against_rollback(without: Without) -> Verdict {
    let (world, manager) = opened(1, without);
    let (receipt, gone) = both(
        || manager.commit_all(&plan("p")),
        || manager.rollback_all(&plan("p")),
    );
    check(receipt.is_err() || gone.is_err(), "both", || {
        "committed and rolled back".to_owned()
    })?;
    check(receipt.is_ok() || gone.is_ok(), "half", || {
        format!("neither: {receipt:?}, {gone:?}")
    })?;
    let real = usize::try_from(world.real("p-0")).unwrap();
    check(real == usize::from(receipt.is_ok()), "half", || {
        format!("{real} after {receipt:?}")
    })
}

/// A sweep that looks at a plan that is being committed:
///
/// ```text
/// commit    lock ---- snapshot ------------- apply ---- settle
/// gc             list: it is open, and old ------ give it up, forget it
///           with the lock: gc leaves it alone, or looks again and finds another state
/// ```
fn against_gc(without: Without) -> Verdict {
    let (world, manager) = opened(1, without);
    let options = GcOptions::default()
        .forget_ended(Duration::ZERO)
        .give_up_idle(Duration::ZERO);
    let (receipt, report) = both(|| manager.commit_all(&plan("p")), || manager.gc(&options));
    let given_up = match &report {
        Ok(report) => !report.given_up.is_empty(),
        Err(error) => return check(false, "refused", || format!("gc: {error}")),
    };
    check(receipt.is_ok() != given_up, "both", || {
        format!("{receipt:?}, {report:?}")
    })?;
    let applied = world.count("applied");
    check(applied == usize::from(receipt.is_ok()), "half", || {
        format!("{applied} applied, {receipt:?}")
    })
}

/// A wait that runs out:
///
/// ```text
/// one      lock ------------------------------------- unlock
/// other         waits ---- gives up    or: is made the holder at that instant
///          a wait that ran out never goes on
/// ```
fn impatient(wait: LockWait, without: Without) -> Verdict {
    let (world, manager) = opened(1, without);
    let options = CommitOptions::default().wait(wait);
    let (one, other) = both(
        || manager.commit_all(&plan("p")),
        || manager.commit_all_with(&plan("p"), &options),
    );
    once(&world, 1, &[one, other], &["busy", "lock-timeout"])
}

/// A reader that asks what it may believe of what it sees:
///
/// ```text
/// commit    decide ---- apply one ---- apply the other ---- record
/// reader        status         both things         status
///           all old while the plan is open; all new once it is committed; a mix says "committing"
/// ```
fn against_status(without: Without) -> Verdict {
    let (world, manager) = opened(2, without);
    let state = |manager: &SandboxManager| manager.status(&plan("p")).map(|status| status.state);
    let look = || {
        stage("look");
        let before = state(&manager).unwrap();
        let seen = [world.real("p-0"), world.real("p-1")];
        stage("between");
        let after = state(&manager).unwrap();
        stage("looked");
        (before, seen, after)
    };
    let (receipt, (before, seen, after)) = both(|| manager.commit_all(&plan("p")), look);
    let new = !before.is_committed() || seen == [1, 1];
    let old = !matches!(after, PlanState::Open | PlanState::Sealed) || seen == [0, 0];
    check(new && old, "mix", || format!("{before}, {seen:?}, {after}"))?;
    once(&world, 2, &[receipt], &[])?;
    let late = open_late(&manager, &world);
    check(late, "refused", || {
        "a plan that is over took a sandbox".to_owned()
    })
}

/// True if other plans go on and this one takes nothing any more.
fn open_late(manager: &SandboxManager, world: &std::sync::Arc<World>) -> bool {
    open(manager, world, "q", 1);
    let late = manager.open_sandbox(&plan("p"), Scripted::new(world, "late"));
    late.is_err() && manager.rollback_all(&plan("q")).is_ok()
}
