//! Plans whose take-back fails: kept in doubt, and brought to rest by whoever comes first.

use super::UNLOCKED;
use super::commit::both;
use crate::case::{Case, Control, Depth, Stop, Verdict, check, stop};
use crate::scripted::World;
use crate::world::{Without, opened, pass, plan, stage};
use planbox::{Explain as _, Fault, ParticipantError, Recovered, SandboxManager};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Both take it back at the same time.
const TOGETHER: &[Stop] = &[stop("in doubt", ""), stop("take_back", "take_back")];

pub(crate) const CASES: &[Case] = &[
    Case::heavy(
        "a take-back fails; recover, recover",
        Depth::No,
        || recovers(Without::Nothing),
        &[
            Control::new("the plan lock", || recovers(Without::PlanLock), UNLOCKED).stops(TOGETHER),
            Control::new(
                "the record of the take-back",
                || recovers(Without::TakeBack),
                &["not old"],
            ),
        ],
    ),
    Case::heavy(
        "a take-back fails; recover, commit",
        Depth::No,
        || recovers_and_commits(Without::Nothing),
        &[Control::new(
            "the plan lock",
            || recovers_and_commits(Without::PlanLock),
            UNLOCKED,
        )
        .stops(TOGETHER)],
    ),
];

/// A plan of two numbers, of which one is new and could not be taken back.
fn doubtful(without: Without) -> Result<(Arc<World>, SandboxManager), crate::case::Wrong> {
    let (world, manager) = opened(2, without);
    let (applies, backs) = (AtomicU64::new(0), AtomicU64::new(0));
    world.hook(move |step, id| {
        pass(step);
        let first = match (step, id) {
            ("apply", "p-1") => applies.fetch_add(1, Ordering::SeqCst) == 0,
            ("take_back", "p-0") => backs.fetch_add(1, Ordering::SeqCst) == 0,
            _ => false,
        };
        if first {
            return Err(ParticipantError::new(Fault::Denied, "planted"));
        }
        Ok(())
    });
    let doubt = manager.commit_all(&plan("p"));
    let code = doubt.as_ref().err().map(planbox::Explain::code);
    let numbers = both_numbers(&world);
    check(
        code == Some("in-doubt") && numbers == [1, 0],
        "half",
        || format!("{doubt:?}, {numbers:?}"),
    )?;
    stage("in doubt");
    Ok((world, manager))
}

fn both_numbers(world: &World) -> [u64; 2] {
    [world.real("p-0"), world.real("p-1")]
}

/// Two that bring a plan in doubt to rest:
///
/// ```text
/// before   apply: fails ---- noted: it is taken back ---- the take-back fails: in doubt, kept
/// one      lock ---- take back ---- noted: open again ---- unlock
/// other         waits ------------------------------------------- nothing to do
///          it ends once, everything is old, and the plan can be committed
/// ```
fn recovers(without: Without) -> Verdict {
    let (world, manager) = doubtful(without)?;
    let recover = || manager.recover_plan(&plan("p"));
    let outcomes = <[_; 2]>::from(both(recover, recover));
    let errors = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
    for error in errors {
        check(false, "refused", || format!("{}: {error}", error.code()))?;
    }
    let numbers = both_numbers(&world);
    check(numbers == [0, 0], "not old", || format!("{numbers:?}"))?;
    let undone = outcomes.iter().flatten();
    let undone = undone.filter(|outcome| **outcome == Recovered::Undone);
    check(undone.count() == 1, "twice", || format!("{outcomes:?}"))?;
    let receipt = manager.commit_all(&plan("p"));
    let numbers = both_numbers(&world);
    check(receipt.is_ok() && numbers == [1, 1], "half", || {
        format!("{receipt:?}, {numbers:?}")
    })
}

/// One that brings a plan in doubt to rest, and one that commits it:
///
/// ```text
/// one      lock ---- take back ---- unlock
/// other         waits --------------------- commits: everything is new
///          the other one first: it takes back, then commits, and one has nothing to do
/// ```
fn recovers_and_commits(without: Without) -> Verdict {
    let (world, manager) = doubtful(without)?;
    let (recovered, receipt) = both(
        || manager.recover_plan(&plan("p")),
        || manager.commit_all(&plan("p")),
    );
    let fine = recovered.is_ok() && receipt.as_ref().is_ok_and(|receipt| !receipt.is_repeat());
    check(fine, "refused", || format!("{recovered:?}, {receipt:?}"))?;
    let (numbers, backs) = (both_numbers(&world), world.count("take_back"));
    check(numbers == [1, 1], "half", || format!("{numbers:?}"))?;
    // One of each number failed or was for nothing, and one was for good.
    check(backs == 4, "twice", || format!("{backs} taken back"))
}
