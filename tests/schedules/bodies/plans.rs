//! Several plans, the registry, and those who listen.

use super::commit::{both, once};
use super::commit_ends::scripted;
use super::{LATE_RETURN, late_return, no_plan_lock};
use crate::case::{Case, Control, Depth, Stop, Verdict, check, stop};
use crate::scripted::World;
use crate::world::{Without, manager, open, opened, pass, plan, stage};
use planbox::sync::channel::bounded;
use planbox::{
    Event, Explain as _, PlanId, PlanState, RegistryFault, SandboxManager, Value, VersionRegister,
};

/// Nobody applies before both have voted.
const BOTH_VOTED: &[Stop] = &[
    stop("opened", ""),
    stop("prepare", "prepare"),
    stop("apply", "apply"),
];

pub(crate) const CASES: &[Case] = &[
    Case::heavy(
        "open, open",
        Depth::Preemptions(1),
        || opens(Without::Nothing),
        &[
            no_plan_lock(|| opens(Without::PlanLock)),
            late_return(|| opens(LATE_RETURN)),
        ],
    ),
    Case::heavy(
        "a slow plan, a quick plan",
        Depth::Preemptions(1),
        || slow_and_quick("quick"),
        &[Control::new(
            "a lock for each plan (both commit one plan)",
            || slow_and_quick("slow"),
            &["deadlock"],
        )],
    ),
    Case::heavy(
        "two plans, one value",
        Depth::Preemptions(1),
        || two_plans(true, Without::Nothing),
        &[
            Control::new(
                "the promise",
                || two_plans(false, Without::Nothing),
                &["lost"],
            )
            .stops(BOTH_VOTED),
            Control::new(
                "one step to put a plan into the registry",
                || two_plans(true, Without::Registry(RegistryFault::TwoSteps)),
                &["half", "refused", "left", "two bodies"],
            )
            .stops(&[
                stop("opened", ""),
                stop("registry.between", "registry.between"),
            ]),
        ],
    ),
    Case::heavy(
        "commit, commit, two listeners",
        Depth::Preemptions(1),
        || listened(Without::Nothing),
        &[Control::new(
            "the plan lock",
            || listened(Without::PlanLock),
            &["order", "twice", "half", "two bodies", "refused"],
        )],
    ),
];

/// Two sandboxes that are opened at once:
///
/// ```text
/// one      body out of the registry ---- open "a" ---- body into the registry
/// other         body out of the registry ---- open "b" ---- body into the registry
///          with the lock the second body holds both
/// ```
fn opens(without: Without) -> Verdict {
    let world = World::new();
    let manager = manager(&world, without);
    stage("opened");
    world.hook(|step, _| {
        pass(if step == "open" { "prepare" } else { step });
        Ok(())
    });
    let open = |id| {
        manager
            .open_sandbox(&plan("p"), scripted(&world, id))
            .map(drop)
    };
    let (a, b) = both(|| open("a"), || open("b"));
    check(a.is_ok() && b.is_ok(), "refused", || {
        format!("{a:?}, {b:?}")
    })?;
    // The same thing again is the sandbox that is there.
    check(open("a").is_ok(), "refused", || "a is not there".to_owned())?;
    let (views, live) = (world.count("open"), manager.stats().live_plans);
    check(views == 2 && live == 1, "half", || {
        format!("{views} views, {live} plans")
    })?;
    let receipt = manager.commit_all(&plan("p"));
    once(&world, 2, &[receipt], &[])
}

/// A plan that is in the middle of its apply until another one is through:
///
/// ```text
/// slow     lock ---- apply: waits for "quick is committed" -------- unlock
/// quick         lock ---- apply ---- "quick is committed"
///          one lock for both would stop both
/// ```
fn slow_and_quick(other: &'static str) -> Verdict {
    let world = World::new();
    let manager = manager(&world, Without::Nothing);
    open(&manager, &world, "slow", 1);
    open(&manager, &world, "quick", 1);
    let (say, hear) = bounded(1);
    world.hook(move |step, id| {
        planbox::sync::point();
        if (step, id) == ("apply", "slow-0") {
            hear.recv().unwrap();
        }
        Ok(())
    });
    let (slow, quick) = both(
        || manager.commit_all(&plan("slow")),
        || {
            let receipt = manager.commit_all(&plan(other));
            say.send(()).unwrap();
            receipt
        },
    );
    check(slow.is_ok() && quick.is_ok(), "refused", || {
        format!("{slow:?}, {quick:?}")
    })
}

/// Two plans that both read version 1 and want another:
///
/// ```text
/// one      vote: it is at 1, promised to me ---- apply ---- receipt
/// other         vote: it is at 1, promised to somebody else: refused
///          without a promise both find it at 1, and one of them is lost
/// ```
fn two_plans(promises: bool, without: Without) -> Verdict {
    let world = World::new();
    let manager = manager(&world, without);
    let register = VersionRegister::new("v1", 0_u64);
    let prepare = |name: &str, value: u64| {
        if promises {
            let sandbox = manager
                .open_sandbox(&plan(name), Value::of(&register))
                .unwrap();
            sandbox.set("v2", value).unwrap();
        } else {
            manager
                .open_sandbox(&plan(name), scripted(&world, "x"))
                .unwrap();
        }
    };
    prepare("one", 1);
    prepare("other", 2);
    stage("opened");
    world.hook(|step, _| {
        pass(step);
        Ok(())
    });
    let (one, other) = both(
        || manager.commit_all(&plan("one")),
        || manager.commit_all(&plan("other")),
    );
    let committed = usize::from(one.is_ok()) + usize::from(other.is_ok());
    check(committed < 2, "lost", || format!("{one:?}, {other:?}"))?;
    check(committed == 1, "half", || format!("{one:?}, {other:?}"))?;
    let (won, wins, loser, lost) = match (one, other) {
        (Ok(_), Err(lost)) => ("one", 1, "other", lost),
        (Err(lost), _) => ("other", 2, "one", lost),
        (Ok(_), Ok(_)) => return Ok(()),
    };
    check(lost.code() == "conflict", "refused", || {
        format!("{loser}: {lost}")
    })?;
    let held = register.snapshot();
    let right = (held.value().copied(), held.generation()) == (Some(wins), 2);
    check(right || !promises, "mix", || format!("{won} won, {held:?}"))?;
    manager.rollback_all(&plan(loser)).unwrap();
    Ok(())
}

/// What those who listen hear of two commits, while one of them stops listening:
///
/// ```text
/// one      commit: sealed, preparing, prepared, committing, applied ---- done
/// other    commit: waits, and changes nothing
/// two listeners: one hears each state once and in order; one goes away meanwhile
/// ```
fn listened(without: Without) -> Verdict {
    let (world, manager) = opened(1, without);
    let (stays, goes) = (manager.subscribe(), manager.subscribe());
    let commit = || manager.commit_all(&plan("p"));
    let (one, other) = both(commit, || {
        drop(goes);
        commit()
    });
    once(&world, 1, &[one, other], &[])?;
    manager.settle();
    let mut heard = Vec::new();
    while let Ok(event) = stays.try_recv() {
        if let Event::State { plan, state } = event {
            heard.push((plan, state));
        }
    }
    let states = [
        PlanState::Sealed,
        PlanState::Preparing,
        PlanState::Prepared,
        PlanState::Committing,
        PlanState::Applied,
        PlanState::Done,
    ];
    let wanted: Vec<(PlanId, PlanState)> = states.map(|state| (plan("p"), state)).into();
    check(heard == wanted, "order", || format!("{heard:?}"))?;
    still_there(&manager)
}

fn still_there(manager: &SandboxManager) -> Verdict {
    let receipt = manager.receipt(&plan("p"));
    check(matches!(receipt, Ok(Some(_))), "half", || {
        format!("{receipt:?}")
    })
}
