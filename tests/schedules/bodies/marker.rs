//! A plan with a marker resource: one participant whose own commit decides for all.

use super::commit::{both, once};
use crate::case::{Case, Control, Depth, Verdict, check};
use crate::scripted::{Scripted, World};
use crate::world::{Without, opened, pass, plan};
use planbox::{Fault, ParticipantError};
use std::sync::atomic::{AtomicBool, Ordering};

/// What the marker does when it is asked for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Once {
    Commits,
    /// It fails, and nothing happened.
    Refuses,
    /// It commits, and says that it failed.
    LosesItsAnswer,
}

pub(crate) const CASES: &[Case] = &[
    Case::heavy(
        "commit, commit, with a marker",
        Depth::No,
        || marked(Once::Commits, Without::Nothing),
        &[
            Control::new(
                "the marker before the others",
                || marked(Once::Commits, Without::MarkerOrder),
                &["order"],
            ),
            Control::new(
                "the plan lock",
                || marked(Once::Commits, Without::PlanLock),
                &["order", "two bodies", "refused", "twice", "half", "left"],
            ),
        ],
    ),
    Case::heavy(
        "commit, commit, with a marker that refuses once",
        Depth::No,
        || marked(Once::Refuses, Without::Nothing),
        &[Control::new(
            "the marker before the others",
            || marked(Once::Refuses, Without::MarkerOrder),
            &["order"],
        )],
    ),
    Case::heavy(
        "commit, commit, with a marker whose answer is lost",
        Depth::No,
        || marked(Once::LosesItsAnswer, Without::Nothing),
        &[Control::new(
            "the question after a lost answer",
            || marked(Once::LosesItsAnswer, Without::MarkerQuestion),
            // All are asked to vote again after the marker has committed.
            &["order"],
        )],
    ),
];

/// Two commits of a plan that one participant decides:
///
/// ```text
/// one      lock ---- all vote ---- note ---- the marker commits ---- the others apply ---- unlock
/// other         waits ------------------------------------------------------------------- receipt
///          it fails: nothing was applied, and the other one commits
///          its answer is lost: it is asked whether it did, and never commits twice
/// ```
fn marked(first: Once, without: Without) -> Verdict {
    let (world, manager) = opened(2, without);
    let marker = Scripted::new(&world, "m").marker();
    manager.open_sandbox(&plan("p"), marker).unwrap();
    let fails_at = match first {
        Once::Commits => "",
        Once::Refuses => "commit",
        Once::LosesItsAnswer => "committed",
    };
    let fresh = AtomicBool::new(true);
    world.hook(move |step, _| {
        pass(step);
        if step != fails_at || !fresh.swap(false, Ordering::SeqCst) {
            return Ok(());
        }
        Err(ParticipantError::new(Fault::Denied, "planted"))
    });
    let commit = || manager.commit_all(&plan("p"));
    let results = <[_; 2]>::from(both(commit, commit));
    in_order(&world)?;
    let failed = results.iter().filter(|result| result.is_err()).count();
    let refused = first == Once::Refuses;
    let excused: &[&str] = if refused { &["denied"] } else { &[] };
    once(&world, 2, &results, excused)?;
    check(failed == usize::from(refused), "half", || {
        format!("{failed} refused of {results:?}")
    })?;
    let decided = (world.count("committed"), world.real("m"));
    check(decided == (1, 1), "twice", || {
        format!("committed and stands at {decided:?}")
    })
}

/// The marker commits after every vote, and before anything is applied.
fn in_order(world: &World) -> Verdict {
    let calls = world.calls.lock().unwrap();
    let steps = || calls.iter().map(|(step, _)| step.as_str());
    let decided = steps().position(|step| step == "committed");
    let voted = steps().rposition(|step| step == "prepare");
    let applied = steps().position(|step| step == "apply");
    let right = applied.is_none_or(|applied| decided.is_some_and(|decided| decided < applied))
        && decided.is_none_or(|decided| voted.is_some_and(|voted| voted < decided));
    check(right, "order", || format!("{calls:?}"))
}
