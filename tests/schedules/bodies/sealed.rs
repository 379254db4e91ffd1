//! Sealed plans whose work is gone, or another one, when they are committed.

use super::commit::{both, once};
use crate::case::{Case, Control, Depth, Stop, Verdict, check, stop};
use crate::world::{Without, opened, plan, stage};
use planbox::{Explain as _, PlanState};
use std::sync::atomic::Ordering;

/// Somebody was at the work before it is committed.
const BEFORE: &[Stop] = &[stop("commits", "touched"), stop("commits", "touched")];

pub(crate) const CASES: &[Case] = &[
    Case::heavy(
        "commit, commit, what was sealed is lost",
        Depth::No,
        || touched(None, false),
        &[Control::new(
            "the comparison with the seal",
            || touched(None, true),
            &["changed"],
        )
        .stops(BEFORE)],
    ),
    Case::heavy(
        "commit, commit, what was sealed is changed",
        Depth::No,
        || touched(Some(2), false),
        &[Control::new(
            "the comparison with the seal",
            || touched(Some(2), true),
            &["changed"],
        )
        .stops(BEFORE)],
    ),
];

/// Somebody who removes or changes the work of a plan after it was sealed:
///
/// ```text
/// caller   seal: 1 is added ---- commit: the work is what was sealed? ---- 1 is added
/// other                               commit: the same receipt
/// third              the work is gone, or it is to add 2
///          too late for that commit, or both are refused: it is lost, and nothing is applied
/// ```
fn touched(found: Option<u64>, trusts: bool) -> Verdict {
    let (world, manager) = opened(2, Without::Nothing);
    manager.seal(&plan("p")).unwrap();
    world.trusts.store(trusts, Ordering::SeqCst);
    let work = |added| world.work.lock().unwrap().insert("p-0".to_owned(), added);
    let commit = || {
        stage("commits");
        manager.commit_all(&plan("p"))
    };
    let touch = || {
        work(found);
        stage("touched");
    };
    let ((one, other), ()) = both(|| both(commit, commit), touch);
    let numbers = || [world.real("p-0"), world.real("p-1")];
    if one.is_ok() || other.is_ok() {
        let added = numbers();
        check(added == [1, 1], "changed", || format!("{added:?} added"))?;
        return once(&world, 2, &[one, other], &[]);
    }
    let (codes, added) = ([&one, &other].map(code), numbers());
    check(codes == ["sandbox-lost"; 2], "refused", || {
        format!("{codes:?}")
    })?;
    check(added == [0, 0], "half", || format!("{added:?} added"))?;
    let state = manager.status(&plan("p")).unwrap().state;
    check(state == PlanState::Sealed, "half", || state.to_string())?;
    // With what was sealed it goes on.
    work(Some(1));
    once(&world, 2, &[manager.commit_all(&plan("p"))], &[])
}

fn code(refused: &super::commit::Committed) -> &'static str {
    refused.as_ref().err().map_or("", |error| error.code())
}
