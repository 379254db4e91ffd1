//! The register beside those who take its value out, and beside the row that other processes change.

use super::commit::{both, ended};
use crate::case::{Case, Control, Depth, Verdict, check, stop};
use crate::world::stage;
use planbox::sync::thread;
use planbox::{RegisterFault, Stored, VersionRegister};
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

pub(crate) const CASES: &[Case] = &[
    Case::light(
        "register: unload, activate, a reader",
        Depth::Preemptions(3),
        || unloads(None),
        &[Control::new(
            "the comparison of generations",
            || unloads(Some(RegisterFault::NoComparison)),
            &["both"],
        )],
    ),
    Case::light(
        "register: two that follow a row, a reader",
        Depth::Preemptions(2),
        || follows(None),
        &[
            Control::new(
                "the refusal of a row of the past",
                || follows(Some(RegisterFault::OldRow)),
                &["past"],
            )
            .only_explored("the row has to change twice between two looks of one thread"),
            Control::new(
                "the one that loads",
                || follows(Some(RegisterFault::NoTurn)),
                &["two loaders"],
            )
            .stops(&[stop("loads", "loads")]),
        ],
    ),
];

fn register(fault: Option<RegisterFault>) -> VersionRegister<u64> {
    fault.map_or_else(
        || VersionRegister::new("v0", 0),
        |fault| VersionRegister::with_fault("v0", 0, fault),
    )
}

/// Who takes the value out, who puts another one in, and who reads:
///
/// ```text
/// one      generation 1: unload ---- done, or: it is at 2
/// other         generation 1: activate v1 ---- done, or: it is at 2
/// reader   look          look           no value only together with the generation that took it
/// ```
fn unloads(fault: Option<RegisterFault>) -> Verdict {
    let register = register(fault);
    let (unloaded, activated, seen) = thread::scope(|scope| {
        let unloaded = scope.spawn(|| register.unload(1).is_ok());
        let activated = scope.spawn(|| register.activate(1, "v1", Arc::new(1)).is_ok());
        let seen = [register.snapshot(), register.snapshot()];
        (ended(unloaded.join()), ended(activated.join()), seen)
    });
    check(unloaded != activated, "both", || {
        format!("unloaded: {unloaded}, activated: {activated}")
    })?;
    let last = register.snapshot();
    for seen in seen.iter().chain([&last]) {
        let held = (seen.version(), seen.value().copied());
        let right = match (seen.generation(), unloaded) {
            (1, _) => held == ("v0", Some(0)),
            (_, true) => held == ("v0", None),
            (_, false) => held == ("v1", Some(1)),
        };
        check(right, "mix", || format!("{seen:?}"))?;
    }
    let [first, second] = &seen;
    check(first.generation() <= second.generation(), "past", || {
        format!("{first:?}, then {second:?}")
    })
}

/// A row that another process changes, and a register that follows it:
///
/// ```text
/// row      v1 ------------ v2 -------------------- v3
/// one         reads v1 ------------ loads, late: refused, reads again
/// other            reads v1 -- loads -- reads v2 -- loads
/// reader      what it sees comes from a row that was never older than the one before
/// ```
fn follows(fault: Option<RegisterFault>) -> Verdict {
    let register = register(fault);
    let row = Mutex::new(1_u64);
    let loading = AtomicUsize::new(0);
    let crowd = AtomicUsize::new(0);
    let read = || {
        stage("reads");
        let generation = *row.lock().unwrap();
        Ok::<_, Infallible>(Stored::new(format!("v{generation}"), generation))
    };
    let load = |version: &str| {
        if loading.fetch_add(1, Ordering::SeqCst) > 0 {
            crowd.fetch_add(1, Ordering::SeqCst);
        }
        stage("loads");
        loading.fetch_sub(1, Ordering::SeqCst);
        Ok(Arc::new(version.trim_start_matches('v').parse().unwrap()))
    };
    let follow = || {
        let mut last = 0;
        for _ in 0..2 {
            register.refresh(read, load).unwrap();
            last = grows(last, &register)?;
        }
        Ok(())
    };
    let change = || {
        for generation in 2..=3 {
            stage("changes");
            *row.lock().unwrap() = generation;
        }
    };
    let (verdicts, ()) = both(|| both(follow, follow), change);
    let crowd = crowd.load(Ordering::SeqCst);
    check(crowd == 0, "two loaders", || format!("{crowd} times"))?;
    verdicts.0.and(verdicts.1)?;
    let last = register.refresh(read, load).unwrap();
    let now = last.snapshot();
    let right = last.is_current() && (now.version(), now.value()) == ("v3", Some(&3));
    check(right, "lost", || format!("{now:?}"))
}

/// The row that the register follows is not older than `last`; and what it holds is of that row.
fn grows(last: u64, register: &VersionRegister<u64>) -> Result<u64, crate::case::Wrong> {
    let now = register.snapshot();
    let stored = now.stored().unwrap_or_default();
    check(stored >= last, "past", || format!("{last}, then {now:?}"))?;
    let value = now.value().copied().unwrap_or_default();
    check(value == stored, "mix", || format!("{now:?}"))?;
    Ok(stored)
}
