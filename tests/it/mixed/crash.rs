//! Kill -9 at every named crash point of a plan over four kinds.
//!
//! A child works over all of them and kills itself at the chosen point. Afterwards this process
//! recovers and checks: directory, branch with its work tree, and database are old, or all are new;
//! git and SQLite find nothing wrong; recovering again changes nothing; nothing is left behind.

use super::world::{PLAN, Real, World};
use crate::support::scripted::{Scripted, World as Script};
use crate::support::{child, plan};
use planbox::{
    Acknowledge, CommitOptions, Fault, ParticipantError, PlanState, SandboxManager, VersionRegister,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The test that children run; in the parent it does nothing.
#[test]
fn child_entry() {
    let Some((task, home)) = child::task() else {
        return;
    };
    let world = World::at(&home);
    if task == "recover" {
        let manager = world.manager();
        assert!(manager.recovered().is_clean(), "{:?}", manager.recovered());
        return;
    }
    let manager = match task.as_str() {
        "undecided" => without_decision(&world),
        _ => world.manager(),
    };
    let register = VersionRegister::new("1", 1_u32);
    world
        .open_all(&manager, &register, task == "marker")
        .change();
    match task.as_str() {
        "commit" | "marker" | "undecided" => {
            let options = CommitOptions::default().acknowledge(Acknowledge::Settled);
            manager.commit_all_with(&plan(PLAN), &options).unwrap();
        }
        "take-back" => {
            let script = Script::new();
            script.hook(|step, _| match step {
                "apply" => Err(ParticipantError::new(Fault::Denied, "planted")),
                _ => Ok(()),
            });
            let bad = Scripted::new(&script, "zz").volatile();
            manager.open_sandbox(&plan(PLAN), bad).unwrap();
            manager.commit_all(&plan(PLAN)).unwrap_err();
        }
        "rollback" => drop(manager.rollback_all(&plan(PLAN)).unwrap()),
        other => panic!("no task {other}"),
    }
}

/// A manager that writes no decision: the control.
fn without_decision(world: &World) -> SandboxManager {
    let builder = SandboxManager::builder().store(world.store());
    builder
        .without(|without| without.decision = true)
        .open()
        .unwrap()
}

/// Which crash points `task` passes, and how often, when nobody kills it.
fn points_of(task: &str) -> BTreeMap<String, u64> {
    let home = tempfile::tempdir().unwrap();
    World::make(home.path());
    if task == "recover" {
        crash_in(home.path(), "commit", "apply.between", 1);
    }
    let log = home.path().join("points");
    let mut command = child::command("mixed::crash::child_entry", task, home.path());
    let status = child::run(command.env("PLANBOX_CRASH_LOG", &log));
    assert!(status.success(), "{task} works when nobody kills it");
    let mut points = BTreeMap::new();
    for line in std::fs::read_to_string(&log).unwrap().lines() {
        *points.entry(line.to_owned()).or_default() += 1;
    }
    points
}

fn crash_in(home: &Path, task: &str, point: &str, k: u64) {
    let mut command = child::command("mixed::crash::child_entry", task, home);
    let status = child::run(command.env("PLANBOX_CRASH_AT", format!("{point}:{k}")));
    assert!(
        child::was_killed(status),
        "{task} was not killed at {point}:{k}: {status:?}"
    );
}

/// Everything as it is when the plan is committed.
fn expected_new() -> Real {
    let home = tempfile::tempdir().unwrap();
    let world = World::make(home.path());
    let manager = world.manager();
    let register = VersionRegister::new("1", 1_u32);
    world.open_all(&manager, &register, false).change();
    let options = CommitOptions::default().acknowledge(Acknowledge::Settled);
    manager.commit_all_with(&plan(PLAN), &options).unwrap();
    assert_eq!(*register.snapshot().value().unwrap(), 2);
    assert_eq!(world.leftovers(), Vec::<String>::new());
    world.real()
}

/// The same without the times of files, which differ between two runs.
fn timeless(mut real: Real) -> Real {
    for manifest in [&mut real.site, &mut real.checkout] {
        for line in manifest.values_mut() {
            line.truncate(line.find(" mtime").unwrap_or(line.len()));
        }
    }
    real
}

/// What must hold after a crash of `task` at `point`. Returns whether everything came out new.
fn check_point(task: &str, (point, k): (&str, u64), new: &Real) -> bool {
    let label = format!("{task} killed at {point}:{k}");
    let home = tempfile::tempdir().unwrap();
    let world = World::make(home.path());
    let old = world.real();
    if task == "recover" {
        crash_in(home.path(), "commit", "apply.between", 1);
    }
    crash_in(home.path(), task, point, k);
    let manager = world.manager();
    let recovered = manager.recovered();
    assert!(recovered.is_clean(), "{label}: {recovered:?}");
    drop(manager);
    let after = world.real();
    let everything_new = timeless(after.clone()) == *new;
    assert!(
        everything_new || after == old,
        "{label}: mixed or damaged: {after:#?}"
    );
    for _ in 0..2 {
        let again = world.manager();
        assert!(again.recovered().plans.is_empty(), "{label}");
    }
    assert_eq!(
        world.real(),
        after,
        "{label}: a second recovery changed something"
    );
    end(&world, &label, everything_new);
    everything_new
}

/// A plan that came out old keeps its work and can be given up; in the end nothing is left.
fn end(world: &World, label: &str, everything_new: bool) {
    let manager = world.manager();
    let known = manager.status(&plan(PLAN)).ok();
    match known.map(|status| (status.state, status.sandboxes)) {
        Some((PlanState::Open, sandboxes)) => {
            assert!(!everything_new, "{label}");
            for sandbox in sandboxes {
                let there = sandbox.path.is_none_or(|path| path.exists());
                assert!(there, "{label}: the work is kept");
            }
            drop(manager.rollback_all(&plan(PLAN)).unwrap());
        }
        Some((state, sandboxes)) => {
            assert!(state.is_terminal(), "{label}: {state}");
            assert!(sandboxes.is_empty(), "{label}: swept");
        }
        None => assert!(!everything_new, "{label}"),
    }
    assert_eq!(world.leftovers(), Vec::<String>::new(), "{label}");
}

/// Kills `task` at every point it passes; the first, the second and the last time where it passes
/// one often.
fn sweep(task: &str) -> (usize, usize) {
    let new = timeless(expected_new());
    let (mut runs, mut completed) = (0, 0);
    for (point, times) in points_of(task) {
        for k in BTreeSet::from([1, times.min(2), times.div_ceil(2), times]) {
            runs += 1;
            completed += usize::from(check_point(task, (&point, k), &new));
        }
    }
    println!("{task}: {runs} crash points, {completed} came out new, 0 mixed");
    (runs, completed)
}

#[test]
fn a_commit_killed_anywhere_is_all_old_or_all_new() {
    let (runs, completed) = sweep("commit");
    assert!(runs >= 20, "{runs} points");
    assert!(0 < completed && completed < runs, "some old, some new");
}

#[test]
fn a_commit_decided_by_the_database_and_killed_anywhere_is_all_old_or_all_new() {
    let (runs, completed) = sweep("marker");
    assert!(runs >= 20, "{runs} points");
    assert!(0 < completed && completed < runs, "some old, some new");
    assert!(points_of("marker").contains_key("commit.marked"));
}

#[test]
fn a_take_back_killed_anywhere_is_all_old_or_all_new() {
    let (runs, _) = sweep("take-back");
    assert!(runs >= 20, "{runs} points");
}

#[test]
fn a_rollback_killed_anywhere_leaves_everything_old() {
    let (runs, completed) = sweep("rollback");
    assert!(runs >= 5, "{runs} points");
    assert_eq!(completed, 0);
}

#[test]
fn a_recovery_killed_anywhere_is_finished_by_the_next() {
    let (runs, completed) = sweep("recover");
    assert!(runs >= 3, "{runs} points");
    assert_eq!(
        completed, runs,
        "the decision was durable before the first crash"
    );
}

/// The negative control: without the durable decision the same kill leaves a mixture behind.
#[test]
fn a_commit_control_without_the_decision_is_left_mixed() {
    let home = tempfile::tempdir().unwrap();
    let world = World::make(home.path());
    let old = timeless(world.real());
    crash_in(home.path(), "undecided", "apply.between", 1);
    drop(world.manager());
    let after = timeless(world.real());
    assert!(
        after != old && after != timeless(expected_new()),
        "nobody could finish it"
    );
}
