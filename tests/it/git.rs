//! Branches of repositories in plans.

use crate::support::plan;
use crate::support::scripted::{Scripted, ScriptedKind, World};
use planbox::{
    Acknowledge, CommitOptions, CommitOutcome, Error, Fault, Git, ParticipantError, PlanId,
    ResourceName, SandboxManager,
};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Barrier};

/// A home with a store and a repository: `main` is nobody's, `trunk` is checked out.
struct Home(tempfile::TempDir);

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

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        let repo = home.repo();
        std::fs::create_dir(&repo).unwrap();
        git(&repo, &["init", "-q", "-b", "trunk"]);
        write(&repo.join("a.txt"), "a\n");
        git(&repo, &["add", "-A"]);
        git(&repo, &["commit", "-qm", "first"]);
        git(&repo, &["branch", "main"]);
        home
    }

    fn repo(&self) -> PathBuf {
        self.0.path().join("repo")
    }

    fn git(&self, args: &[&str]) -> String {
        git(&self.repo(), args)
    }

    fn manager(&self) -> SandboxManager {
        SandboxManager::open(self.0.path().join("store")).unwrap()
    }

    fn main(&self) -> Git {
        Git::at(self.repo()).branch("main")
    }

    /// Nothing of ours is left, and the repository is sound.
    fn sound(&self) {
        assert_eq!(self.git(&["for-each-ref", "refs/planbox"]), "");
        let locks = walk(&self.repo().join(".git"))
            .into_iter()
            .filter(|path| path.extension().is_some_and(|end| end == "lock"));
        assert_eq!(locks.count(), 0, "a lock is left");
        self.git(&["fsck", "--strict", "--full"]);
    }
}

fn walk(top: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![top.to_path_buf()];
    while let Some(dir) = waiting.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                waiting.push(entry.path());
            }
            found.push(entry.path());
        }
    }
    found
}

fn settled() -> CommitOptions {
    CommitOptions::default().acknowledge(Acknowledge::Settled)
}

#[test]
fn a_plan_commits_to_a_branch_and_the_receipt_tells_the_commit() {
    let home = Home::new();
    let manager = home.manager();
    let sandbox = manager.open_sandbox(&plan("p"), home.main()).unwrap();
    write(&sandbox.path().join("new.txt"), "new\n");
    assert_eq!(sandbox.view(), "checkout");
    let before = home.git(&["rev-parse", "main"]);
    let diff = manager.diff(&plan("p")).unwrap();
    assert_eq!(diff.resources[0].changes.entries[0].path, "new.txt");
    let receipt = manager.commit_all_with(&plan("p"), &settled()).unwrap();
    assert!(receipt.is_settled());
    let section = &receipt.resources()[0].changes.sections[0];
    let now = home.git(&["rev-parse", "main"]);
    assert_eq!(section.from.as_deref(), Some(before.as_str()));
    assert_eq!(section.to.as_deref(), Some(now.as_str()));
    assert_eq!(
        home.git(&["log", "-1", "--format=%s", "main"]),
        "planbox: p"
    );
    let again = manager.commit_all(&plan("p")).unwrap();
    assert_eq!(again.resources()[0].changes.sections[0].to, Some(now));
    home.sound();
}

#[test]
fn a_conflict_leaves_the_repository_as_it_was() {
    let home = Home::new();
    let manager = home.manager();
    let sandbox = manager.open_sandbox(&plan("p"), home.main()).unwrap();
    write(&sandbox.path().join("a.txt"), "ours\n");
    let other = home.manager();
    let theirs = other.open_sandbox(&plan("q"), home.main()).unwrap();
    write(&theirs.path().join("a.txt"), "theirs\n");
    other.commit_all_with(&plan("q"), &settled()).unwrap();
    let refs = home.git(&["for-each-ref"]);
    let error = Error::from(manager.commit_all(&plan("p")).unwrap_err());
    let Error::Commit(planbox::error::CommitError::Conflict { conflicts, .. }) = &error else {
        panic!("{error}");
    };
    assert_eq!(conflicts[0].place, "a.txt");
    assert_eq!(home.git(&["for-each-ref"]), refs);
    assert_eq!(home.git(&["status", "--porcelain"]), "");
    assert!(!home.repo().join(".git/MERGE_HEAD").exists());
    manager.rollback_all(&plan("p")).unwrap();
    home.sound();
}

#[test]
fn a_branch_goes_back_when_another_participant_fails_to_apply() {
    let home = Home::new();
    let world = World::new();
    let manager = SandboxManager::builder()
        .store(home.0.path().join("store"))
        .kind(Arc::new(ScriptedKind(Arc::clone(&world))))
        .open()
        .unwrap();
    let named = |text: &str| ResourceName::new(text).unwrap();
    let branch = home.main().named(named("a-branch"));
    let sandbox = manager.open_sandbox(&plan("p"), branch).unwrap();
    write(&sandbox.path().join("a.txt"), "ours\n");
    let last = Scripted::new(&world, "z-last");
    drop(manager.open_sandbox(&plan("p"), last).unwrap());
    let repo = home.repo();
    let base = home.git(&["rev-parse", "main"]);
    let old = base.clone();
    world.hook(move |step, _| {
        if step == "apply" {
            // The other one applies at the same time or before.
            let moved = (0..1000).any(|_| git(&repo, &["rev-parse", "main"]) != old);
            assert!(moved, "the branch was never moved");
            return Err(ParticipantError::new(Fault::Denied, "planned"));
        }
        Ok(())
    });
    manager.commit_all(&plan("p")).unwrap_err();
    assert_eq!(home.git(&["rev-parse", "main"]), base);
    world.hook(|_, _| Ok(()));
    manager.commit_all_with(&plan("p"), &settled()).unwrap();
    assert_eq!(home.git(&["show", "main:a.txt"]), "ours");
    home.sound();
}

#[test]
fn two_branches_of_one_repository_move_together_or_not_at_all() {
    let home = Home::new();
    home.git(&["branch", "side"]);
    let manager = home.manager();
    let named = |text: &str| ResourceName::new(text).unwrap();
    let main = home.main().named(named("main"));
    let side = Git::at(home.repo()).branch("side").named(named("side"));
    let one = manager.open_sandbox(&plan("p"), main).unwrap();
    let two = manager.open_sandbox(&plan("p"), side).unwrap();
    write(&one.path().join("one.txt"), "one\n");
    write(&two.path().join("two.txt"), "two\n");
    let lock = home.repo().join(".git/refs/heads/side.lock");
    write(&lock, "");
    let refs = home.git(&["for-each-ref", "refs/heads"]);
    let busy = Error::from(manager.commit_all(&plan("p")).unwrap_err());
    assert!(busy.to_string().contains("side"), "{busy}");
    assert_eq!(home.git(&["for-each-ref", "refs/heads"]), refs);
    std::fs::remove_file(lock).unwrap();
    manager.commit_all_with(&plan("p"), &settled()).unwrap();
    assert_eq!(home.git(&["show", "main:one.txt"]), "one");
    assert_eq!(home.git(&["show", "side:two.txt"]), "two");
    home.sound();
}

#[test]
fn forty_plans_over_one_branch_all_arrive() {
    const PLANS: usize = 40;
    let home = Home::new();
    let manager = home.manager();
    let start = Barrier::new(PLANS);
    std::thread::scope(|scope| {
        for number in 0..PLANS {
            let (manager, home, start) = (manager.clone(), &home, &start);
            scope.spawn(move || {
                let plan = PlanId::new(format!("plan-{number}")).unwrap();
                start.wait();
                let sandbox = manager.open_sandbox(&plan, home.main()).unwrap();
                write(
                    &sandbox.path().join(format!("{number}.txt")),
                    &format!("{number}\n"),
                );
                let receipt = manager.commit_all_with(&plan, &settled()).unwrap();
                assert_eq!(receipt.outcome(), CommitOutcome::Committed);
            });
        }
    });
    let listed = home.git(&["ls-tree", "--name-only", "main"]);
    assert_eq!(listed.lines().count(), PLANS + 1);
    let commits = home.git(&["rev-list", "--count", "main"]);
    assert_eq!(commits, (PLANS + 1).to_string());
    assert_eq!(home.git(&["rev-list", "--count", "--merges", "main"]), "0");
    home.sound();
}

#[test]
fn a_plan_goes_on_in_another_process_and_is_rolled_back_without_a_trace() {
    let home = Home::new();
    let path = {
        let manager = home.manager();
        let sandbox = manager.open_sandbox(&plan("p"), home.main()).unwrap();
        write(&sandbox.path().join("kept.txt"), "kept\n");
        manager.seal(&plan("p")).unwrap();
        sandbox.path().to_path_buf()
    };
    let before = (home.git(&["for-each-ref"]), walk(&home.repo()).len());
    let manager = home.manager();
    let diff = manager.diff(&plan("p")).unwrap();
    assert_eq!(diff.resources[0].changes.entries[0].path, "kept.txt");
    assert!(path.join("kept.txt").exists());
    manager.rollback_all(&plan("p")).unwrap();
    assert!(!path.exists());
    assert_eq!(
        (home.git(&["for-each-ref"]), walk(&home.repo()).len()),
        before
    );
    home.sound();
}
