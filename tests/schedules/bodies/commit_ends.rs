//! Commits that end otherwise than with a receipt: faults, panics, dropped handles, a lost lease, a
//! call back.

use super::commit::{Committed, both, ended, once};
use super::no_plan_lock;
use crate::case::{Case, Control, Depth, Verdict, check};
use crate::scripted::{Scripted, World};
use crate::world::{Without, beside, looked_again, opened, pass, plan};
use planbox::sync::thread;
use planbox::{Explain as _, Fault, ParticipantError, PlanState};
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

pub(crate) const CASES: &[Case] = &[
    Case::heavy(
        "commit, commit; a participant panics once",
        Depth::Preemptions(1),
        || faulty("prepare", true, Without::Nothing),
        &[no_plan_lock(|| faulty("prepare", true, Without::PlanLock))],
    ),
    Case::heavy(
        "commit, commit; an apply fails once",
        Depth::Preemptions(1),
        || faulty("apply", false, Without::Nothing),
        &[no_plan_lock(|| faulty("apply", false, Without::PlanLock))],
    ),
    Case::heavy(
        "commit, commit, the handle is dropped",
        Depth::Preemptions(1),
        || dropped(Without::Nothing),
        &[no_plan_lock(|| dropped(Without::PlanLock))],
    ),
    Case::heavy(
        "commit, commit with a lease that was lost",
        Depth::Preemptions(1),
        || superseded(Without::Nothing),
        &[Control::new(
            "the fence",
            || superseded(Without::Fence),
            &["twice"],
        )],
    ),
    Case::heavy(
        "commit, commit, each called back",
        Depth::Preemptions(1),
        || called_back(false),
        &[Control::new(
            "the mark of the thread",
            || called_back(true),
            &["deadlock"],
        )],
    ),
];

/// A fault in the first of two commits:
///
/// ```text
/// one      lock ---- vote ---- apply: fails, or panics ---- all is taken back ---- unlock
/// other         waits ------------------------------------------------------------ commits
///          nobody sees the half of it, and the second one finds everything as it was
/// ```
fn faulty(at: &'static str, panics: bool, without: Without) -> Verdict {
    let (world, manager) = opened(1, without);
    let first = AtomicBool::new(true);
    world.hook(move |step, _| {
        pass(step);
        if step != at || !first.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        if panics {
            // Not a panic with a report: it is wanted.
            resume_unwind(Box::new("planted"));
        }
        Err(ParticipantError::new(Fault::Denied, "planted"))
    });
    let commit = || manager.commit_all(&plan("p"));
    let (one, other) = both(commit, commit);
    let failed = usize::from(one.is_err()) + usize::from(other.is_err());
    check(failed == 1, "half", || format!("{one:?}, {other:?}"))?;
    once(&world, 1, &[one, other], &["denied", "panicked"])
}

/// The last handle goes while the plan is committed:
///
/// ```text
/// main     drop the handle
/// one      ---------- commit ---- drop
/// other    ------ commit ----------------- drop
/// settler                  settle ------------- the last one closes the journal
/// ```
fn dropped(without: Without) -> Verdict {
    let (world, manager) = opened(1, without);
    let commits: Vec<_> = ["one", "other"]
        .map(|name| {
            let manager = manager.clone();
            thread::spawn(name, move || manager.commit_all(&plan("p"))).unwrap()
        })
        .into();
    let events = manager.subscribe();
    drop(manager);
    let results: Vec<Committed> = commits
        .into_iter()
        .map(|commit| ended(commit.join()))
        .collect();
    once(&world, 1, &results, &[])?;
    // The settler has the last handle; the channel closes when it is done.
    while events.recv().is_ok() {}
    let discarded = world.count("discard");
    check(discarded == 1, "left", || format!("{discarded} discarded"))
}

/// Two processes of which one has lost the lease without knowing (here they share a journal
/// and no lock at all):
///
/// ```text
/// one      epoch 1 ---- vote ------------------------- decide with epoch 1: fenced
/// other              epoch 2 ---- vote ---- decide ---- apply
///          or: one decides, other finds the decision and carries it out; one is told so
/// ```
fn superseded(without: Without) -> Verdict {
    let (world, one) = opened(1, without);
    let other = beside(&one, &world, without);
    let results: [Committed; 2] = both(
        || one.commit_all(&plan("p")),
        || other.commit_all(&plan("p")),
    )
    .into();
    let receipts = results.iter().flatten();
    let firsts = receipts.filter(|receipt| !receipt.is_repeat()).count();
    check(firsts <= 1, "twice", || format!("{firsts} first receipts"))?;
    one.settle();
    other.settle();
    let real = world.real("p-0");
    check(real <= 1, "twice", || format!("{real} after {results:?}"))?;
    if results.iter().all(Result::is_err) {
        // Both were told that they do not know: the journal does.
        one.recover_plan(&plan("p")).unwrap();
        one.settle();
    }
    let state = one.status(&plan("p")).unwrap().state;
    let real = world.real("p-0");
    let whole = match state {
        PlanState::Open => real == 0,
        state => real == 1 && state.is_committed(),
    };
    check(whole, "half", || format!("{state}, {real}, {results:?}"))?;
    looked_again(&[&one, &other]);
    Ok(())
}

/// A participant that calls the manager back:
///
/// ```text
/// one      lock ---- vote: commit_all of the same plan, and of another: refused ---- commit
///          from a thread of its own it cannot be recognised, and waits for ever
/// ```
fn called_back(from_elsewhere: bool) -> Verdict {
    let (world, manager) = opened(1, Without::Nothing);
    let codes = Arc::new(Mutex::new(Vec::new()));
    let (seen, again) = (Arc::clone(&codes), manager.clone());
    world.hook(move |step, _| {
        pass(step);
        if step != "prepare" {
            return Ok(());
        }
        let call = || again.commit_all(&plan("p")).map(drop);
        let refused = if from_elsewhere {
            thread::scope(|scope| scope.spawn(call).join().unwrap())
        } else {
            call()
        };
        let code = refused.map_or_else(|error| error.code(), |()| "committed");
        seen.lock().unwrap().push(code);
        Ok(())
    });
    let commit = || manager.commit_all(&plan("p"));
    let (one, other) = both(commit, commit);
    let codes = codes.lock().unwrap().clone();
    check(codes == ["reentrant"], "half", || format!("{codes:?}"))?;
    once(&world, 1, &[one, other], &[])?;
    // The hook holds a handle on the manager, and the world holds the hook.
    world.hook(|_, _| Ok(()));
    Ok(())
}

/// A world with one more thing in it, for those who open it by name.
pub(super) fn scripted(world: &Arc<World>, id: &str) -> Scripted {
    Scripted::new(world, id)
}
