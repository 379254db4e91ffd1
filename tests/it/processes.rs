//! Two processes over one store: one commits, the other gets its receipt or `Busy`; a dead holder
//! frees the plan at once; a child inherits no lock.

use crate::support::scripted::{Scripted, ScriptedKind, World};
use crate::support::{child, plan};
use planbox::{
    Acknowledge, CommitOptions, Directory, Explain as _, GcOptions, LockWait, PlanState,
    ResourceName, SandboxManager,
};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

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
        "try" => try_commit(&manager),
        "try without the lease" => {
            let builder = SandboxManager::builder().store(home.join("store"));
            try_commit(
                &builder
                    .without(|without| without.lease = true)
                    .open()
                    .unwrap(),
            );
        }
        other => panic!("no task {other}"),
    }
}

/// Tells what a manager sees and may do: the plans, and how a commit ends.
fn try_commit(manager: &SandboxManager) {
    let plans = manager.plans().unwrap();
    let plans: Vec<_> = plans.iter().map(|status| status.plan.as_str()).collect();
    let how = match manager.try_commit_all(&plan(PLAN)) {
        Ok(receipt) if receipt.is_repeat() => "committed before",
        Ok(_) => "committed",
        Err(error) => error.code(),
    };
    println!("saw {plans:?}, {how}");
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

/// How many of five plans the manager that opened them keeps: before others have ended three of them, and
/// begun one of these anew, and after it has looked again by `look`.
fn kept_of_ended(look: impl Fn(&SandboxManager)) -> [usize; 2] {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("root")).unwrap();
    let first = open(home.path());
    let root = || Directory::at(home.path().join("root"));
    for name in ["committed", "forgotten", "again", "open", "open too"] {
        first.open_sandbox(&plan(name), root()).unwrap();
    }
    let before = first.stats().live_plans;
    let other = open(home.path());
    for name in ["forgotten", "again"] {
        other.rollback_all(&plan(name)).unwrap();
    }
    other
        .gc(&GcOptions::default().forget_ended(Duration::ZERO))
        .unwrap();
    other.open_sandbox(&plan("again"), root()).unwrap();
    other.commit_all(&plan("committed")).unwrap();
    other.settle();
    look(&first);
    [before, first.stats().live_plans]
}

#[test]
fn a_manager_keeps_nothing_of_a_plan_that_another_one_has_ended() {
    let swept = kept_of_ended(|first| drop(first.gc(&GcOptions::default()).unwrap()));
    assert_eq!(swept, [5, 2]);
    let asked = kept_of_ended(|first| {
        assert!(first.commit_all(&plan("committed")).unwrap().is_repeat());
        let unknown = first.commit_all(&plan("forgotten")).unwrap_err();
        assert_eq!(unknown.code(), "unknown-plan");
    });
    assert_eq!(asked, [5, 3]);
}

/// One executor is paused with the plan in its hands; somebody removes the lock files under it, and
/// another one takes the plan over and lets it go again. Then the first goes on.
fn superseded(without_fencing: bool) -> (Option<String>, Vec<u8>) {
    let home = tempfile::tempdir().unwrap();
    lay_out(home.path());
    let builder = SandboxManager::builder().store(home.path().join("store"));
    let paused = builder
        .without(|without| without.fencing = without_fencing)
        .open()
        .unwrap();
    let mut hold = paused.hold_existing(&plan(PLAN), "commit").unwrap();
    remove_lock_files(home.path());
    let other = open(home.path());
    std::thread::scope(|scope| {
        scope.spawn(|| drop(other.hold_existing(&plan(PLAN), "take over").unwrap()));
    });
    let outcome = hold.commit_all(&CommitOptions::default());
    let code = outcome.err().map(|error| error.code().to_owned());
    (code, std::fs::read(home.path().join("root/a")).unwrap())
}

fn remove_lock_files(home: &Path) {
    for entry in std::fs::read_dir(home.join("store/locks")).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
}

#[test]
fn a_superseded_executor_can_decide_nothing() {
    let (code, real) = superseded(false);
    assert_eq!(code.as_deref(), Some("fenced"));
    assert_eq!(real, b"old");
}

/// The negative control: without the epoch check the superseded executor commits.
#[test]
fn a_superseded_executor_control_without_fencing_commits() {
    let (code, real) = superseded(true);
    assert_eq!((code, real), (None, b"newer".to_vec()));
}

#[test]
fn a_plan_given_up_by_another_is_not_committed_by_a_superseded_executor() {
    let home = tempfile::tempdir().unwrap();
    lay_out(home.path());
    let paused = open(home.path());
    let mut hold = paused.hold_existing(&plan(PLAN), "commit").unwrap();
    remove_lock_files(home.path());
    let other = open(home.path());
    std::thread::scope(|scope| {
        scope.spawn(|| other.rollback_all(&plan(PLAN)).unwrap());
    });
    assert_eq!(
        hold.commit_all(&CommitOptions::default())
            .unwrap_err()
            .code(),
        "fenced"
    );
    assert_eq!(std::fs::read(home.path().join("root/a")).unwrap(), b"old");
    assert_eq!(other.status(&plan(PLAN)).unwrap().state, PlanState::Aborted);
}

/// An executor gives a plan up and is paused while it removes a sandbox; somebody removes the lock
/// files under it, and another one finishes, forgets the plan, and begins a new one with the same id
/// and the same names. Then the first goes on.
#[test]
fn a_superseded_executor_removes_nothing_of_the_next_life_of_the_plan() {
    let home = tempfile::tempdir().unwrap();
    let (root, script) = (home.path().join("root"), World::new());
    std::fs::create_dir(&root).unwrap();
    let kind = || Arc::new(ScriptedKind(Arc::clone(&script)));
    let store = || SandboxManager::builder().store(home.path().join("store"));
    let paused = store().kind(kind()).open().unwrap();
    let opened = paused.open_sandbox(&plan(PLAN), Scripted::new(&script, "site"));
    drop(opened.unwrap());
    let (stopped, is_stopped) = std::sync::mpsc::channel();
    let (go_on, may_go_on) = std::sync::mpsc::channel();
    let (first, may_go_on) = (AtomicBool::new(true), Mutex::new(may_go_on));
    script.hook(move |step, _| {
        if step == "discard" && first.swap(false, Ordering::SeqCst) {
            stopped.send(()).unwrap();
            may_go_on.lock().unwrap().recv().unwrap();
        }
        Ok(())
    });
    let view = std::thread::scope(|scope| {
        let gone = scope.spawn(|| paused.rollback_all(&plan(PLAN)));
        is_stopped.recv().unwrap();
        remove_lock_files(home.path());
        let other = store().kind(kind()).open().unwrap();
        other.rollback_all(&plan(PLAN)).unwrap();
        other
            .gc(&GcOptions::default().forget_ended(Duration::ZERO))
            .unwrap();
        let again = Directory::at(&root).named(ResourceName::new("site").unwrap());
        let sandbox = other.open_sandbox(&plan(PLAN), again).unwrap();
        let made = std::fs::File::create(sandbox.path().join("work"));
        made.unwrap().write_all(b"new").unwrap();
        go_on.send(()).unwrap();
        let refused = gone.join().unwrap().unwrap_err();
        assert_eq!(refused.code(), "fenced");
        sandbox.path().to_owned()
    });
    assert_eq!(std::fs::read(view.join("work")).unwrap(), b"new");
    open(home.path()).commit_all(&plan(PLAN)).unwrap();
    assert_eq!(std::fs::read(root.join("work")).unwrap(), b"new");
}

/// A process in `cwd` that calls the home of the store `name`.
fn child_in(task: &str, (cwd, name): &(PathBuf, PathBuf)) -> Command {
    let mut command = child::command("processes::child_entry", task, name);
    command.current_dir(cwd);
    command
}

fn said(task: &str, place: &(PathBuf, PathBuf)) -> String {
    let output = child_in(task, place).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let found = text.lines().find_map(|line| line.split_once("saw "));
    let (_, rest) = found.unwrap_or_else(|| panic!("{text}"));
    rest.to_owned()
}

/// Three working directories, and a name of the same store in each: relative, absolute, and with a
/// link on the way.
fn three_names(top: &Path) -> [(PathBuf, PathBuf); 3] {
    let home = top.join("home");
    std::fs::create_dir(&home).unwrap();
    lay_out(&home);
    std::os::unix::fs::symlink("home", top.join("link")).unwrap();
    let names = [PathBuf::from("../home"), home, PathBuf::from("../link")];
    let mut number = 0;
    names.map(|name| {
        number += 1;
        let cwd = top.join(format!("cwd-{number}"));
        std::fs::create_dir(&cwd).unwrap();
        (cwd, name)
    })
}

#[test]
fn a_store_is_one_by_whatever_name_and_from_whatever_directory() {
    let top = tempfile::tempdir().unwrap();
    let places = three_names(top.path());
    for (number, place) in places.iter().enumerate() {
        let mut holder = child::start_until(&mut child_in("hold", place), "holding");
        for (_, other) in places
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != number)
        {
            let said = said("try", other);
            assert_eq!(said, "[\"shared\"], busy", "{place:?}, {other:?}");
        }
        holder.kill().unwrap();
        holder.wait().unwrap();
    }
    let ends = places.each_ref().map(|place| said("try", place));
    let wanted = ["committed", "committed before", "committed before"];
    assert_eq!(ends, wanted.map(|how| format!("[\"shared\"], {how}")));
    let real = top.path().join("home/root/a");
    assert_eq!(std::fs::read(real).unwrap(), b"newer");
}

/// The negative control: it is the lease that keeps them apart, by whatever name it is found.
#[test]
fn a_store_by_two_names_control_without_the_lease_is_committed_under_its_holder() {
    let top = tempfile::tempdir().unwrap();
    let [relative, absolute, _] = three_names(top.path());
    let mut holder = child::start_until(&mut child_in("hold", &relative), "holding");
    let said = said("try without the lease", &absolute);
    assert_eq!(said, "[\"shared\"], committed");
    holder.kill().unwrap();
    holder.wait().unwrap();
}

/// What is idle is listed first, and given up one after the other: who comes back to a plan meanwhile
/// is not idle any more.
#[test]
fn a_plan_that_is_worked_on_while_others_are_given_up_is_not_given_up() {
    let home = tempfile::tempdir().unwrap();
    let script = World::new();
    let kind = || Arc::new(ScriptedKind(Arc::clone(&script)));
    let store = || SandboxManager::builder().store(home.path().join("store"));
    let (cleaner, worker) = (store().kind(kind()).open().unwrap(), store().kind(kind()));
    let worker = worker.open().unwrap();
    for idle in ["a", "b"] {
        let opened = worker.open_sandbox(&plan(idle), Scripted::new(&script, idle));
        drop(opened.unwrap());
    }
    let (back, other) = (worker.clone(), Arc::clone(&script));
    script.hook(move |step, id| {
        if (step, id) == ("discard", "a") {
            std::thread::scope(|scope| {
                let more = || back.open_sandbox(&plan("b"), Scripted::new(&other, "more"));
                drop(scope.spawn(more).join().unwrap().unwrap());
            });
        }
        Ok(())
    });
    let idle = GcOptions::default().give_up_idle(Duration::ZERO);
    assert_eq!(cleaner.gc(&idle).unwrap().given_up, [plan("a")]);
    script.hook(|_, _| Ok(()));
    let status = worker.status(&plan("b")).unwrap();
    assert_eq!((status.state, status.sandboxes.len()), (PlanState::Open, 2));
    assert_eq!(cleaner.gc(&idle).unwrap().given_up, [plan("b")]);
}
