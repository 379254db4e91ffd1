//! Plans that end while others work on them, and ids that are used again.

use super::commit::{both, ended};
use super::commit_ends::scripted;
use super::no_plan_lock;
use crate::case::{Case, Control, Depth, Stop, Verdict, check, stop};
use crate::world::{Without, beside, ended_plan, looked_again, opened, plan};
use planbox::sync::thread;
use planbox::{Explain as _, GcOptions};
use std::time::Duration;

/// The plan ends while its newcomer is being made.
const ENDS_MEANWHILE: &[Stop] = &[stop("opened", ""), stop("open", "discard")];

pub(crate) const CASES: &[Case] = &[
    Case::heavy(
        "open, rollback",
        Depth::Preemptions(2),
        || open_or_end(false, Without::Nothing),
        &[no_plan_lock(|| open_or_end(false, Without::PlanLock)).stops(ENDS_MEANWHILE)],
    ),
    Case::heavy(
        "open, gc",
        Depth::Preemptions(2),
        || open_or_end(true, Without::Nothing),
        &[no_plan_lock(|| open_or_end(true, Without::PlanLock)).stops(ENDS_MEANWHILE)],
    ),
    Case::heavy(
        "commit, open, rollback, gc at once",
        Depth::No,
        || all_at_once(Without::Nothing),
        &[no_plan_lock(|| all_at_once(Without::PlanLock))],
    ),
    Case::heavy(
        "an executor of a plan that was forgotten and opened again",
        Depth::Preemptions(1),
        || used_again(Without::Nothing),
        &[Control::new(
            "the fence",
            || used_again(Without::Fence),
            &["zombie", "twice"],
        )],
    ),
];

/// A sandbox that is opened while its plan is given up, by its caller or because it is idle:
///
/// ```text
/// open     body out ---- view made ---- body in
/// other          discard all, the plan is over -------- what was opened late stays for ever
///          with the lock: opened before and removed, or refused
/// ```
fn open_or_end(idle: bool, without: Without) -> Verdict {
    let (world, manager) = opened(1, without);
    let end = || {
        if !idle {
            return manager.rollback_all(&plan("p")).is_ok();
        }
        let options = GcOptions::default().give_up_idle(Duration::ZERO);
        let report = manager.gc(&options);
        report.is_ok_and(|report| !report.given_up.is_empty())
    };
    let late = || manager.open_sandbox(&plan("p"), scripted(&world, "late"));
    let (late, over) = both(late, end);
    if let Err(error) = &late {
        check(over && error.code() == "wrong-state", "refused", || {
            error.to_string()
        })?;
    }
    // gc leaves a plan alone that somebody holds.
    check(over || idle, "refused", || "it was not given up".to_owned())?;
    if !over {
        manager.rollback_all(&plan("p")).unwrap();
    }
    let (views, gone) = (world.count("open"), world.count("discard"));
    check(views == gone, "left", || {
        format!("{views} views, {gone} discarded")
    })
}

/// Everything at once on one plan: the first that decides wins, the others find that it did.
///
/// ```text
/// one      commit ---------------------
/// other         open "late" ----------
/// third              rollback --------
/// sweeper                 gc: idle, give it up
/// ```
fn all_at_once(without: Without) -> Verdict {
    let (world, manager) = opened(1, without);
    let options = GcOptions::default().give_up_idle(Duration::ZERO);
    let (receipt, gone, report) = thread::scope(|scope| {
        let receipt = scope.spawn(|| manager.commit_all(&plan("p")));
        let gone = scope.spawn(|| manager.rollback_all(&plan("p")));
        let report = scope.spawn(|| manager.gc(&options));
        // Not by the thread that owns the scope: shuttle wakes that one when the others have ended.
        scope.spawn(|| drop(manager.open_sandbox(&plan("p"), scripted(&world, "late"))));
        (
            ended(receipt.join()),
            ended(gone.join()),
            ended(report.join()),
        )
    });
    let given_up = match &report {
        Ok(report) => !report.given_up.is_empty(),
        Err(error) => return check(false, "refused", || format!("gc: {error}")),
    };
    let over = receipt.is_ok() != (gone.is_ok() || given_up);
    check(over, "both", || {
        format!("{receipt:?}, {gone:?}, {report:?}")
    })?;
    let real = usize::try_from(world.real("p-0")).unwrap();
    check(real == usize::from(receipt.is_ok()), "half", || {
        format!("{real} after {receipt:?}")
    })?;
    ended_plan(&manager, "p")
}

/// Two processes of which one does not know that its plan has ended, and that the id lives again
/// (here they share a journal and no lock at all):
///
/// ```text
/// one      epoch 1 of the first life ---- vote ----------------------------- decide: fenced
/// other          rollback ---- forget ---- open: the epochs of the second life begin above
/// ```
fn used_again(without: Without) -> Verdict {
    let (world, one) = opened(1, without);
    let other = beside(&one, &world, without);
    let options = GcOptions::default().forget_ended(Duration::ZERO);
    let again = || {
        let gone = other.rollback_all(&plan("p")).is_ok();
        let forgotten = other.gc(&options);
        if !(gone && forgotten.is_ok_and(|report| !report.forgotten.is_empty())) {
            return None;
        }
        // One may have come in between: the id is free for all.
        let opened = other.open_sandbox(&plan("p"), scripted(&world, "p-0"));
        let story = other.log(Some(&plan("p"))).unwrap();
        let begun = story.iter().find(|entry| entry.event == "opened");
        opened.ok().and_then(|_| begun.map(|entry| entry.epoch))
    };
    let (receipt, lives) = both(|| one.commit_all(&plan("p")), again);
    one.settle();
    let Some(begun) = lives else {
        looked_again(&[&one, &other]);
        return Ok(());
    };
    // An executor that took the plan in its second life commits that, and is no zombie.
    let late = receipt
        .as_ref()
        .is_ok_and(|receipt| receipt.body().epoch > begun);
    check(late || receipt.is_err(), "zombie", || {
        format!("{receipt:?} by an executor of the first life")
    })?;
    let real = world.real("p-0");
    check(real == u64::from(late), "zombie", || {
        format!("{real} after {receipt:?}")
    })?;
    let receipt = other.commit_all(&plan("p"));
    let repeated = receipt.as_ref().is_ok_and(planbox::Receipt::is_repeat);
    check(receipt.is_ok() && repeated == late, "zombie", || {
        format!("{receipt:?}")
    })?;
    other.settle();
    let real = world.real("p-0");
    check(real == 1, "twice", || format!("{real} in the end"))?;
    looked_again(&[&one, &other]);
    Ok(())
}
