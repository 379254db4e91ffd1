//! Kill -9 at every named crash point of commit, take-back, rollback and recovery.
//!
//! A child process works over two directories and a value in memory and kills itself at the chosen
//! point. Afterwards this process recovers and checks: both directories are old, or both are new;
//! recovering again, twice, changes nothing; a plan that came out old can still be committed.

use crate::support::manifest::{Manifest, contents, manifest};
use crate::support::scripted::{Scripted, World};
use crate::support::{child, plan};
use planbox::{
    Acknowledge, CommitOptions, Directory, Fault, ParticipantError, PlanState, SandboxManager,
    Value, VersionRegister,
};
use std::collections::BTreeMap;
use std::path::Path;

const PLAN: &str = "crash";

/// What a child does.
const TASKS: [&str; 5] = [
    "commit",
    "take-back",
    "rollback",
    "rollback-after",
    "recover",
];

fn lay_out(home: &Path) {
    for name in ["left", "right"] {
        let root = home.join(name);
        std::fs::create_dir_all(root.join("sub")).unwrap();
        write(&root.join("keep.txt"), "kept");
        write(&root.join("change.txt"), "old");
        write(&root.join("sub/remove.txt"), "old");
    }
}

fn write(path: &Path, text: &str) {
    use std::io::Write as _;
    std::fs::File::create(path)
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
}

fn change(view: &Path) {
    write(&view.join("change.txt"), "new and longer");
    write(&view.join("added.txt"), "new");
    std::fs::create_dir(view.join("more")).unwrap();
    write(&view.join("more/deep.txt"), "new");
    std::fs::remove_file(view.join("sub/remove.txt")).unwrap();
}

fn open(home: &Path) -> SandboxManager {
    SandboxManager::open(home.join("store")).unwrap()
}

/// A manager that writes no decision: the control.
fn open_without_decision(home: &Path) -> SandboxManager {
    let builder = SandboxManager::builder().store(home.join("store"));
    builder
        .without(|without| without.decision = true)
        .open()
        .unwrap()
}

/// Opens the plan and changes everything in it.
fn work(manager: &SandboxManager, home: &Path, register: &VersionRegister<u32>) {
    for name in ["left", "right"] {
        let sandbox = manager
            .open_sandbox(&plan(PLAN), Directory::at(home.join(name)))
            .unwrap();
        change(sandbox.path());
    }
    let value = manager
        .open_sandbox(&plan(PLAN), Value::of(register))
        .unwrap();
    value.set("2", 2).unwrap();
}

/// A commit that is taken back because one participant fails for good.
fn fail_to_commit(manager: &SandboxManager) {
    let world = World::new();
    world.hook(|step, _| match step {
        "apply" => Err(ParticipantError::new(Fault::Denied, "planted")),
        _ => Ok(()),
    });
    let bad = Scripted::new(&world, "zz").volatile();
    manager.open_sandbox(&plan(PLAN), bad).unwrap();
    manager.commit_all(&plan(PLAN)).unwrap_err();
}

/// The test that children run; in the parent it does nothing.
#[test]
fn child_entry() {
    let Some((task, home)) = child::task() else {
        return;
    };
    let register = VersionRegister::new("1", 1_u32);
    if task == "recover" {
        let manager = open(&home);
        assert!(manager.recovered().is_clean(), "{:?}", manager.recovered());
        return;
    }
    let manager = match task.as_str() {
        "undecided" => open_without_decision(&home),
        _ => open(&home),
    };
    work(&manager, &home, &register);
    match task.as_str() {
        "commit" | "undecided" => {
            let options = CommitOptions::default().acknowledge(Acknowledge::Settled);
            manager.commit_all_with(&plan(PLAN), &options).unwrap();
        }
        "take-back" => fail_to_commit(&manager),
        "rollback-after" => {
            fail_to_commit(&manager);
            drop(manager.rollback_all(&plan(PLAN)).unwrap());
        }
        "rollback" => drop(manager.rollback_all(&plan(PLAN)).unwrap()),
        other => panic!("no task {other}"),
    }
}

/// Which crash points `task` passes, and how often.
fn points_of(task: &str) -> BTreeMap<String, u64> {
    let home = tempfile::tempdir().unwrap();
    lay_out(home.path());
    if task == "recover" {
        crash_in(home.path(), "commit", "apply.between", 1);
    }
    let log = home.path().join("points");
    let mut command = child::command("crash::child_entry", task, home.path());
    let status = child::run(command.env("PLANBOX_CRASH_LOG", &log));
    assert!(status.success(), "{task} works when nobody kills it");
    let mut points = BTreeMap::new();
    for line in std::fs::read_to_string(&log).unwrap().lines() {
        *points.entry(line.to_owned()).or_default() += 1;
    }
    points
}

fn crash_in(home: &Path, task: &str, point: &str, k: u64) {
    let mut command = child::command("crash::child_entry", task, home);
    let status = child::run(command.env("PLANBOX_CRASH_AT", format!("{point}:{k}")));
    assert!(
        child::was_killed(status),
        "{task} was not killed at {point}:{k}: {status:?}"
    );
}

fn both(home: &Path) -> [Manifest; 2] {
    [contents(&home.join("left")), contents(&home.join("right"))]
}

/// The trees as they are when the plan is committed.
fn expected_new() -> [Manifest; 2] {
    let home = tempfile::tempdir().unwrap();
    lay_out(home.path());
    change(&home.path().join("left"));
    change(&home.path().join("right"));
    both(home.path())
}

fn without_times(trees: [Manifest; 2]) -> [Manifest; 2] {
    trees.map(|tree| {
        let cut = |line: String| line.split(" mtime").next().unwrap_or_default().to_owned();
        tree.into_iter()
            .map(|(path, line)| (path, cut(line)))
            .collect()
    })
}

/// Recovers three times and says whether everything is new; it must be all old or all new.
fn recover_and_judge(home: &Path, old: &[Manifest; 2], new: &[Manifest; 2], label: &str) -> bool {
    let first = open(home);
    assert!(
        first.recovered().is_clean(),
        "{label}: {:?}",
        first.recovered()
    );
    drop(first);
    let after = both(home);
    let everything_new = without_times(after.clone()) == *new;
    assert!(
        everything_new || after == *old,
        "{label}: mixed or damaged: {after:#?}"
    );
    let full = [manifest(&home.join("left")), manifest(&home.join("right"))];
    for _ in 0..2 {
        let again = open(home);
        assert!(
            again.recovered().plans.is_empty(),
            "{label}: {:?}",
            again.recovered()
        );
        assert!(again.recover().unwrap().plans.is_empty(), "{label}");
    }
    let later = [manifest(&home.join("left")), manifest(&home.join("right"))];
    assert_eq!(full, later, "{label}: a second recovery changed something");
    everything_new
}

/// What must hold after a crash of `task` at `point`.
fn check_point(task: &str, point: &str, k: u64, new: &[Manifest; 2]) -> bool {
    let label = format!("{task} killed at {point}:{k}");
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    lay_out(home);
    let old = both(home);
    if task == "recover" {
        crash_in(home, "commit", "apply.between", 1);
    }
    crash_in(home, task, point, k);
    let everything_new = recover_and_judge(home, &old, new, &label);
    let manager = open(home);
    let status = manager.status(&plan(PLAN));
    match (task, everything_new) {
        (_, true) => {
            let receipt = manager.receipt(&plan(PLAN)).unwrap().unwrap();
            let counts: Vec<usize> = receipt
                .resources()
                .iter()
                .map(|resource| resource.changes.entries.len())
                .collect();
            assert!(
                counts.starts_with(&[5, 5]),
                "{label}: what was applied is counted"
            );
        }
        ("rollback" | "rollback-after", false) => drop(status),
        (_, false) => keeps_the_work(&manager, &label),
    }
    everything_new
}

/// A plan that came out old still has its sandboxes; without the value of the dead process, its
/// directories can be given up and nothing is left behind.
fn keeps_the_work(manager: &SandboxManager, label: &str) {
    let Ok(status) = manager.status(&plan(PLAN)) else {
        return;
    };
    assert_eq!(status.state, PlanState::Open, "{label}");
    for sandbox in status
        .sandboxes
        .iter()
        .filter(|sandbox| sandbox.path.is_some())
    {
        let view = sandbox.path.as_deref().unwrap_or(Path::new(""));
        assert!(
            view.join("keep.txt").exists(),
            "{label}: the sandbox is kept"
        );
    }
    manager.rollback_all(&plan(PLAN)).unwrap();
    assert!(
        manager.status(&plan(PLAN)).unwrap().sandboxes.is_empty(),
        "{label}"
    );
}

fn sweep(task: &str) -> (usize, usize) {
    let new = without_times(expected_new());
    let (mut runs, mut completed) = (0, 0);
    for (point, times) in points_of(task) {
        for k in 1..=times {
            runs += 1;
            completed += usize::from(check_point(task, &point, k, &new));
        }
    }
    println!("{task}: {runs} crash points, {completed} came out new, 0 mixed");
    (runs, completed)
}

#[test]
fn a_commit_killed_anywhere_is_all_old_or_all_new() {
    let (runs, completed) = sweep("commit");
    assert!(runs >= 15, "{runs} points");
    assert!(
        0 < completed && completed < runs,
        "some come out old, some new"
    );
}

#[test]
fn a_take_back_killed_anywhere_is_all_old_or_all_new() {
    let (runs, _) = sweep("take-back");
    assert!(runs >= 15, "{runs} points");
}

#[test]
fn a_rollback_killed_anywhere_leaves_everything_old() {
    let (runs, completed) = sweep("rollback");
    assert!(runs >= 5, "{runs} points");
    assert_eq!(completed, 0);
}

/// What the take-back decided must not be mistaken for what the rollback wants.
#[test]
fn a_rollback_after_a_take_back_killed_anywhere_leaves_everything_old() {
    let (runs, completed) = sweep("rollback-after");
    assert!(runs >= 15, "{runs} points");
    assert!(
        completed <= runs / 2,
        "only before the take-back was decided can it come out new"
    );
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
    let home = home.path();
    lay_out(home);
    let old = without_times(both(home));
    crash_in(home, "undecided", "apply.between", 1);
    drop(open(home));
    let after = without_times(both(home));
    assert!(
        after != old && after != without_times(expected_new()),
        "nobody could finish it"
    );
}

/// A point that no sweep passes would never be tested.
#[test]
fn every_listed_crash_point_is_passed_by_some_task() {
    let mut missing: Vec<&str> = planbox::CRASH_POINTS.to_vec();
    for task in TASKS {
        let passed = points_of(task);
        missing.retain(|point| !passed.contains_key(*point));
    }
    // Those of a job have a sweep of their own.
    missing.retain(|point| !point.starts_with("job."));
    // Passed only by the recovery of a take-back that was itself killed, and by plans with a marker
    // resource.
    missing.retain(|point| !["recover.undone", "commit.marked"].contains(point));
    assert!(missing.is_empty(), "never passed: {missing:?}");
}

/// A take-back that is killed half-way is finished by the recovery, which is killed as well.
#[test]
fn a_killed_take_back_is_finished_by_recovery_even_if_that_is_killed_too() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    lay_out(home);
    let old = both(home);
    crash_in(home, "take-back", "takeback.between", 1);
    crash_in(home, "recover", "recover.undone", 1);
    let new = without_times(expected_new());
    assert!(!recover_and_judge(home, &old, &new, "double crash"));
}
