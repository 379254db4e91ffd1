//! Two processes over one store: one commits, the other gets its receipt or `Busy`; a dead holder
//! frees the plan at once; a child inherits no lock.

use crate::support::{child, plan};
use planbox::{
    Acknowledge, CommitOptions, Directory, Explain as _, LockWait, PlanState, SandboxManager,
};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

const PLAN: &str = "shared";

fn open(home: &Path) -> SandboxManager {
    SandboxManager::open(home.join("store")).unwrap()
}

fn lay_out(home: &Path) {
    let root = home.join("root");
    std::fs::create_dir(&root).unwrap();
    std::fs::File::create(root.join("a"))
        .unwrap()
        .write_all(b"old")
        .unwrap();
    let manager = open(home);
    let sandbox = manager
        .open_sandbox(&plan(PLAN), Directory::at(&root))
        .unwrap();
    std::fs::File::create(sandbox.path().join("a"))
        .unwrap()
        .write_all(b"newer")
        .unwrap();
}

/// The test that children run; in the parent it does nothing.
#[test]
fn child_entry() {
    let Some((task, home)) = child::task() else {
        return;
    };
    let manager = open(&home);
    match task.as_str() {
        "commit" => {
            println!("ready");
            wait_for_input();
            let options = CommitOptions::default().acknowledge(Acknowledge::Settled);
            let receipt = manager.commit_all_with(&plan(PLAN), &options).unwrap();
            println!("receipt {} {}", receipt.is_repeat(), receipt.body().epoch);
        }
        "hold" => {
            let hold = manager.hold_existing(&plan(PLAN), "hold").unwrap();
            println!("holding");
            wait_for_input();
            drop(hold);
        }
        other => panic!("no task {other}"),
    }
}

/// Blocks until the parent closes or writes our standard input.
fn wait_for_input() {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
}

#[test]
fn two_processes_commit_one_plan_and_agree_on_the_receipt() {
    for _ in 0..5 {
        let home = tempfile::tempdir().unwrap();
        lay_out(home.path());
        let start = || {
            let mut command = child::command("processes::child_entry", "commit", home.path());
            command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null());
            command.spawn().unwrap()
        };
        let mut children = [start(), start()];
        // The start barrier: both have their input closed at the same moment.
        for child in &mut children {
            drop(child.stdin.take());
        }
        let said: Vec<String> = children
            .map(|child| {
                let output = child.wait_with_output().unwrap();
                assert!(output.status.success());
                let text = String::from_utf8(output.stdout).unwrap();
                text.lines()
                    .find(|line| line.starts_with("receipt"))
                    .unwrap()
                    .to_owned()
            })
            .into();
        let firsts = said
            .iter()
            .filter(|line| line.starts_with("receipt false"))
            .count();
        assert_eq!(firsts, 1, "exactly one committed: {said:?}");
        let epoch = |line: &String| line.split(' ').next_back().unwrap().to_owned();
        assert_eq!(
            epoch(&said[0]),
            epoch(&said[1]),
            "both have the same receipt"
        );
        assert_eq!(std::fs::read(home.path().join("root/a")).unwrap(), b"newer");
    }
}

#[test]
fn a_killed_holder_frees_the_plan_at_once() {
    let home = tempfile::tempdir().unwrap();
    lay_out(home.path());
    let mut command = child::command("processes::child_entry", "hold", home.path());
    let mut holder = child::start_until(&mut command, "holding");
    let manager = open(home.path());
    let busy = manager.try_commit_all(&plan(PLAN)).unwrap_err();
    assert_eq!(busy.code(), "busy");
    let text = format!("{busy:?}");
    assert!(
        text.contains(&holder.id().to_string()),
        "the holder is named: {text}"
    );
    let seen = manager.status(&plan(PLAN)).unwrap();
    assert_eq!(seen.holder.unwrap().pid, holder.id());
    holder.kill().unwrap();
    holder.wait().unwrap();
    let options = CommitOptions::default().wait(LockWait::Try);
    manager.commit_all_with(&plan(PLAN), &options).unwrap();
}

#[test]
fn a_child_process_inherits_no_lock() {
    let home = tempfile::tempdir().unwrap();
    lay_out(home.path());
    let manager = open(home.path());
    let hold = manager.hold_existing(&plan(PLAN), "hold").unwrap();
    let mut sleeper = Command::new("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    drop(hold);
    let other = open(home.path());
    other.try_commit_all(&plan(PLAN)).unwrap();
    drop(sleeper.stdin.take());
    sleeper.wait().unwrap();
}

#[test]
fn opened_in_one_manager_looked_at_in_a_second_committed_in_a_third() {
    let home = tempfile::tempdir().unwrap();
    lay_out(home.path());
    let diff = open(home.path()).diff(&plan(PLAN)).unwrap();
    assert_eq!(diff.resources[0].changes.entries.len(), 1);
    open(home.path()).commit_all(&plan(PLAN)).unwrap();
    assert_eq!(std::fs::read(home.path().join("root/a")).unwrap(), b"newer");
}

#[test]
fn a_superseded_executor_can_decide_nothing() {
    let home = tempfile::tempdir().unwrap();
    lay_out(home.path());
    let paused = open(home.path());
    let mut hold = paused.hold_existing(&plan(PLAN), "commit").unwrap();
    // Somebody removes the lock files under the paused executor, and another one takes over.
    for entry in std::fs::read_dir(home.path().join("store/locks")).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let other = open(home.path());
    std::thread::scope(|scope| {
        scope.spawn(|| other.rollback_all(&plan(PLAN)).unwrap());
    });
    let error = hold.commit_all(&CommitOptions::default()).unwrap_err();
    assert!(
        ["fenced", "sandbox-lost", "io"].contains(&error.code()),
        "{error:?}"
    );
    assert_eq!(std::fs::read(home.path().join("root/a")).unwrap(), b"old");
    assert_eq!(other.status(&plan(PLAN)).unwrap().state, PlanState::Aborted);
}
