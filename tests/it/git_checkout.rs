//! A branch that is checked out: its work tree follows, or the plan conflicts.

use crate::support::manifest::{Manifest, manifest};
use crate::support::scripted::{Scripted, World};
use crate::support::{child, plan};
use planbox::error::CommitError;
use planbox::{
    Acknowledge, CommitOptions, Conflict, Directory, Fault, Git, ParticipantError, SandboxManager,
};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const PLAN: &str = "p";

/// A home with a store and a repository whose `main` is checked out.
struct Home {
    dir: tempfile::TempDir,
}

fn git(dir: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=Ann", "-c", "user.email=ann@example.org"]);
    command.args(args).current_dir(dir).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap());
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("HOME", dir);
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "git {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout)
        .trim_end()
        .to_owned()
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = std::fs::File::create(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn lay_out(home: &Path) {
    let repo = home.join("repo");
    std::fs::create_dir(&repo).unwrap();
    git(&repo, &["init", "-q", "-b", "main"]);
    write(&repo.join("a"), "a\n");
    write(&repo.join("gone"), "gone\n");
    write(&repo.join("dir/x"), "x\n");
    write(&repo.join("kept"), "kept\n");
    write(&repo.join(".gitignore"), "*.log\n");
    git(&repo, &["add", "-A"]);
    git(&repo, &["commit", "-qm", "first"]);
}

fn edit(view: &Path) {
    write(&view.join("a"), "ours\n");
    write(&view.join("new/file"), "new\n");
    std::fs::remove_file(view.join("gone")).unwrap();
    std::fs::remove_file(view.join("dir/x")).unwrap();
    std::fs::remove_dir(view.join("dir")).unwrap();
    write(&view.join("dir"), "a file now\n");
}

/// All that a commit may and may not change. Objects only grow, the reference kept for the plan
/// comes and goes, and who moves a branch writes its log and its file.
fn real(home: &Path) -> Manifest {
    let repo = home.join("repo");
    let mut found = manifest(&repo);
    found.retain(|path, line| {
        if path.starts_with(".git/refs") || path.starts_with(".git") && line.starts_with("dir") {
            line.truncate(line.find(" mtime").unwrap_or(line.len()));
        }
        let grows = [".git/objects", ".git/logs", ".git/refs/planbox"];
        !grows.iter().any(|top| path.starts_with(top)) && path != Path::new("")
    });
    found
}

impl Home {
    fn new() -> Self {
        let home = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        lay_out(home.path());
        home
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn repo(&self) -> PathBuf {
        self.path().join("repo")
    }

    fn git(&self, args: &[&str]) -> String {
        git(&self.repo(), args)
    }

    fn put(&self, path: &str, text: &str) {
        write(&self.repo().join(path), text);
    }

    fn text(&self, path: &str) -> String {
        std::fs::read_to_string(self.repo().join(path)).unwrap()
    }

    fn manager(&self) -> SandboxManager {
        SandboxManager::open(self.path().join("store")).unwrap()
    }

    /// A manager with a plan that has edited `main`.
    fn edited(&self) -> SandboxManager {
        let manager = self.manager();
        let sandbox = manager
            .open_sandbox(&plan(PLAN), Git::at(self.repo()))
            .unwrap();
        edit(sandbox.path());
        manager
    }

    /// Nothing is left to see, and nothing of ours is there.
    fn assert_moved(&self) {
        assert_eq!(self.git(&["status", "--porcelain"]), "");
        assert_eq!(self.git(&["diff-files", "--name-only"]), "");
        assert_eq!(self.text("a"), "ours\n");
        assert_eq!(self.text("dir"), "a file now\n");
        assert!(!self.repo().join("gone").exists());
        self.assert_swept();
    }

    fn assert_swept(&self) {
        assert_eq!(self.git(&["for-each-ref", "refs/planbox"]), "");
        for left in [".git/planbox", ".git/index.lock", ".planbox"] {
            assert!(!self.repo().join(left).exists(), "{left}");
        }
        self.git(&["fsck", "--strict"]);
    }
}

fn settled() -> CommitOptions {
    CommitOptions::default().acknowledge(Acknowledge::Settled)
}

fn conflicts(manager: &SandboxManager) -> Vec<String> {
    match manager.commit_all(&plan(PLAN)).unwrap_err() {
        CommitError::Conflict { conflicts, .. } => {
            let place = |conflict: &Conflict| conflict.place.clone();
            conflicts.iter().map(place).collect()
        }
        other => panic!("{other}"),
    }
}

#[test]
fn the_work_tree_and_the_index_follow_the_branch() {
    let home = Home::new();
    home.put("kept", "dirty\n");
    home.put("mine", "untracked\n");
    let manager = home.edited();
    manager.commit_all_with(&plan(PLAN), &settled()).unwrap();
    assert_eq!(home.git(&["status", "--porcelain"]), " M kept\n?? mine");
    home.git(&["checkout", "kept"]);
    std::fs::remove_file(home.repo().join("mine")).unwrap();
    home.assert_moved();
    assert_eq!(home.git(&["symbolic-ref", "HEAD"]), "refs/heads/main");
    assert_eq!(home.git(&["log", "--format=%s"]), "planbox: p\nfirst");
}

#[test]
fn what_is_in_the_way_is_a_conflict_and_nothing_changes() {
    let home = Home::new();
    let manager = home.edited();
    home.put("a", "dirty\n");
    home.put("new", "untracked\n");
    home.put("dir/build.log", "ignored\n");
    home.git(&["rm", "-q", "--cached", "gone"]);
    let before = real(home.path());
    let found = conflicts(&manager);
    assert_eq!(found, ["a", "dir/build.log", "gone", "new/file"]);
    assert_eq!(real(home.path()), before);
    home.git(&["reset", "-q", "--hard"]);
    std::fs::remove_file(home.repo().join("new")).unwrap();
    std::fs::remove_file(home.repo().join("dir/build.log")).unwrap();
    manager.commit_all_with(&plan(PLAN), &settled()).unwrap();
    home.assert_moved();
}

#[test]
fn a_commit_of_the_user_meanwhile_is_merged_and_the_tree_follows_both() {
    let home = Home::new();
    let manager = home.edited();
    home.put("theirs", "theirs\n");
    home.put("kept", "theirs\n");
    home.git(&["add", "-A"]);
    home.git(&["commit", "-qm", "meanwhile"]);
    manager.commit_all_with(&plan(PLAN), &settled()).unwrap();
    home.assert_moved();
    assert_eq!(
        (home.text("theirs"), home.text("kept")),
        ("theirs\n".into(), "theirs\n".into())
    );
    assert!(home.git(&["log", "--format=%s"]).contains("meanwhile"));
}

#[test]
fn a_plan_that_fails_elsewhere_leaves_tree_index_and_branch_as_before() {
    let home = Home::new();
    home.put("kept", "dirty\n");
    let manager = home.edited();
    let before = real(home.path());
    let world = World::new();
    world.hook(|step, _| match step {
        "apply" => Err(ParticipantError::new(Fault::Denied, "planted")),
        _ => Ok(()),
    });
    // Volatile participants are applied last.
    let bad = Scripted::new(&world, "zz").volatile();
    manager.open_sandbox(&plan(PLAN), bad).unwrap();
    let head = home.git(&["rev-parse", "main"]);
    manager.commit_all(&plan(PLAN)).unwrap_err();
    assert_eq!(world.count("apply"), 1);
    assert!(
        home.git(&["reflog", "main"]).contains("planbox"),
        "the branch had moved"
    );
    assert_eq!(home.git(&["rev-parse", "main"]), head);
    assert_eq!(real(home.path()), before);
    world.hook(|_, _| Ok(()));
    manager.commit_all_with(&plan(PLAN), &settled()).unwrap();
    home.git(&["checkout", "kept"]);
    home.assert_moved();
}

#[test]
fn a_git_at_work_in_the_tree_makes_the_plan_busy() {
    let home = Home::new();
    let manager = home.edited();
    home.put(".git/index.lock", "");
    let before = real(home.path());
    let busy = manager.commit_all(&plan(PLAN)).unwrap_err();
    let busy = planbox::Error::from(busy);
    assert!(planbox::Explain::is_retryable(&busy), "{busy}");
    assert!(format!("{busy:?}").contains("index.lock"), "{busy:?}");
    assert_eq!(real(home.path()), before);
    std::fs::remove_file(home.repo().join(".git/index.lock")).unwrap();
    manager.commit_all_with(&plan(PLAN), &settled()).unwrap();
    home.assert_moved();
}

#[test]
fn a_tree_on_another_branch_stays_as_it_is() {
    let home = Home::new();
    let manager = home.edited();
    home.git(&["switch", "-q", "-c", "other"]);
    home.put("a", "dirty\n");
    let index = std::fs::read(home.repo().join(".git/index")).unwrap();
    manager.commit_all_with(&plan(PLAN), &settled()).unwrap();
    assert_eq!(
        std::fs::read(home.repo().join(".git/index")).unwrap(),
        index
    );
    assert_eq!(home.text("a"), "dirty\n");
    assert_eq!(home.git(&["show", "main:a"]), "ours");
    home.assert_swept();
}

#[test]
fn a_linked_work_tree_follows() {
    let home = Home::new();
    home.git(&["switch", "-q", "-c", "other"]);
    let linked = home.path().join("linked");
    home.git(&["worktree", "add", "-q", linked.to_str().unwrap(), "main"]);
    let manager = home.manager();
    let main = Git::at(home.repo()).branch("main");
    let sandbox = manager.open_sandbox(&plan(PLAN), main).unwrap();
    edit(sandbox.path());
    let before = manifest(&home.repo().join("dir"));
    manager.commit_all_with(&plan(PLAN), &settled()).unwrap();
    assert_eq!(git(&linked, &["status", "--porcelain"]), "");
    assert_eq!(std::fs::read_to_string(linked.join("a")).unwrap(), "ours\n");
    assert_eq!(manifest(&home.repo().join("dir")), before);
    home.assert_swept();
}

#[test]
fn a_plan_has_a_branch_or_the_directory_it_is_checked_out_in() {
    let home = Home::new();
    let manager = home.edited();
    let tree = Directory::at(home.repo());
    manager.open_sandbox(&plan(PLAN), tree.clone()).unwrap_err();
    let inside = Directory::at(home.repo().join("dir"));
    manager.open_sandbox(&plan(PLAN), inside).unwrap_err();
    manager.open_sandbox(&plan("another"), tree).unwrap();
}

#[test]
fn child_entry() {
    let Some((task, home)) = child::task() else {
        return;
    };
    let manager = SandboxManager::open(home.join("store")).unwrap();
    let main = Git::at(home.join("repo"));
    let sandbox = manager.open_sandbox(&plan(PLAN), main).unwrap();
    edit(sandbox.path());
    if task == "take-back" {
        let world = World::new();
        world.hook(|step, _| match step {
            "apply" => Err(ParticipantError::new(Fault::Denied, "planted")),
            _ => Ok(()),
        });
        let bad = Scripted::new(&world, "zz").volatile();
        manager.open_sandbox(&plan(PLAN), bad).unwrap();
        manager.commit_all(&plan(PLAN)).unwrap_err();
    } else {
        manager.commit_all_with(&plan(PLAN), &settled()).unwrap();
    }
}

/// Which crash points `task` passes, and how often.
fn points_of(task: &str) -> BTreeMap<String, u64> {
    let home = Home::new();
    let log = home.path().join("points");
    let mut command = child::command("git_checkout::child_entry", task, home.path());
    let status = child::run(command.env("PLANBOX_CRASH_LOG", &log));
    assert!(status.success(), "{task} works when nobody kills it");
    let mut points = BTreeMap::new();
    for line in std::fs::read_to_string(&log).unwrap().lines() {
        *points.entry(line.to_owned()).or_default() += 1;
    }
    points
}

#[test]
fn a_kill_anywhere_leaves_tree_index_and_branch_old_or_new_together() {
    let mut killed = 0;
    for task in ["commit", "take-back"] {
        let points = points_of(task);
        assert!(
            points.get("apply.between").is_some_and(|times| *times >= 3),
            "{points:?}"
        );
        for (point, times) in points {
            for k in 1..=times {
                check_point(task, &point, k);
                killed += 1;
            }
        }
    }
    println!("killed at {killed} points");
}

fn check_point(task: &str, point: &str, k: u64) {
    let label = format!("{task} killed at {point}:{k}");
    let home = Home::new();
    let old = real(home.path());
    let head = home.git(&["rev-parse", "main"]);
    let mut command = child::command("git_checkout::child_entry", task, home.path());
    let status = child::run(command.env("PLANBOX_CRASH_AT", format!("{point}:{k}")));
    assert!(child::was_killed(status), "{label}");
    let manager = home.manager();
    assert!(
        manager.recovered().is_clean(),
        "{label}: {:?}",
        manager.recovered()
    );
    if home.git(&["rev-parse", "main"]) == head {
        assert_eq!(real(home.path()), old, "{label}");
        drop(manager.rollback_all(&plan(PLAN)));
        assert_eq!(real(home.path()), old, "{label}");
        home.assert_swept();
    } else {
        home.assert_moved();
    }
}
