//! A plan that is opened in one process and committed in two others, as managers that share a journal.

use super::commit::{Committed, both};
use crate::case::{Case, Control, Depth, Verdict, check};
use crate::world::{Without, beside, leased, looked_again, opened, plan};
use planbox::{Explain as _, LockWait, Receipt, SandboxManager};
use std::time::Duration;

const SOON: LockWait = LockWait::For(Duration::from_millis(1));

/// What keeps the two apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Apart {
    Leases,
    /// The fence alone: one of two commits, but the other one is told that it came too late.
    Fence,
    Nothing,
}

pub(crate) const CASES: &[Case] = &[Case::heavy(
    "opened in one manager, committed in two others",
    Depth::No,
    || elsewhere(Apart::Leases),
    &[
        Control::new("the lease", || elsewhere(Apart::Fence), &["refused"]),
        Control::new(
            "the lease and the fence",
            || elsewhere(Apart::Nothing),
            &["twice", "refused"],
        ),
    ],
)];

/// Two processes that commit what a third one has opened, and that see each other's leases:
///
/// ```text
/// opener   open: in the journal
/// one              lease ---- opened again ---- vote, decide, apply ---- settle, the lease goes
/// other                 not free in time ---- asks again ------------------------ the same receipt
/// ```
fn elsewhere(apart: Apart) -> Verdict {
    let (world, opener) = opened(1, Without::Nothing);
    let home = tempfile::tempdir().unwrap();
    let process = || match apart {
        Apart::Leases => leased(&opener, (home.path(), SOON), &world),
        Apart::Fence => beside(&opener, &world, Without::Nothing),
        Apart::Nothing => beside(&opener, &world, Without::Fence),
    };
    let (one, other) = (process(), process());
    let (first, second) = both(
        || one.commit_all(&plan("p")),
        || other.commit_all(&plan("p")),
    );
    let results = [(&one, first), (&other, second)];
    let applied = world.count("applied");
    check(applied <= 1, "twice", || format!("{applied} applied"))?;
    one.settle();
    other.settle();
    let results = results.map(|(manager, result)| patient(manager, result));
    let mut receipts = Vec::new();
    for result in results {
        match result {
            Ok(receipt) => receipts.push(receipt),
            Err(error) => check(false, "refused", || format!("{}: {error}", error.code()))?,
        }
    }
    let firsts = receipts.iter().filter(|receipt| !receipt.is_repeat());
    let (firsts, real) = (firsts.count(), world.real("p-0"));
    check((firsts, real) == (1, 1), "twice", || {
        format!("{firsts} first receipts, {real} added")
    })?;
    let (one_body, other_body) = (receipts.first(), receipts.last());
    let same = one_body.map(Receipt::body) == other_body.map(Receipt::body);
    check(same, "mix", || format!("{receipts:?}"))?;
    looked_again(&[&one, &other, &opener]);
    let left = std::fs::read_dir(home.path()).unwrap().count();
    check(left == 0, "left", || format!("{left} leases"))
}

/// Who was told that somebody else is at it asks once more.
fn patient(manager: &SandboxManager, result: Committed) -> Committed {
    match result {
        Err(error) if ["busy", "lock-timeout"].contains(&error.code()) => {
            manager.commit_all(&plan("p"))
        }
        result => result,
    }
}
