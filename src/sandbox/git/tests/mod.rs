//! The participant through its traits, on real repositories.

mod commits;
mod planted;
mod refusals;
mod shapes;

use super::{Git, GitKind};
use crate::error::{Conflict, Fault, ParticipantError};
use crate::fs::testing::Scratch;
use crate::sandbox::{Kind as _, Place, Redo, Resource as _, Sandbox, Vote, Work};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A repository, and a store for sandboxes of it. `git fsck` runs over it when it is dropped.
struct World {
    home: Scratch,
    store: Scratch,
    sound: bool,
}

/// Runs git as a person would, far from the settings of the machine.
fn raw(dir: &Path, args: &[&str]) -> Output {
    let who = ["user.name=Ann", "user.email=ann@example.org", "gc.auto=0"];
    let mut command = Command::new("git");
    for setting in who {
        command.args(["-c", setting]);
    }
    command.args(args).current_dir(dir);
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap());
    command.env("GIT_CONFIG_GLOBAL", "/dev/null");
    command.env("GIT_CONFIG_NOSYSTEM", "1");
    command.env("HOME", dir);
    command.output().unwrap()
}

fn git(dir: &Path, args: &[&str]) -> String {
    let output = raw(dir, args);
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
    drop(std::fs::remove_file(path));
    std::fs::File::create(path)
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
}

impl Drop for World {
    fn drop(&mut self) {
        if self.sound && !std::thread::panicking() {
            git(&self.repo(), &["fsck", "--strict", "--full"]);
        }
    }
}

impl World {
    /// A repository with a `main` that nobody has checked out, and `trunk` that somebody has.
    fn new() -> Self {
        Self::made(&[])
    }

    fn made(options: &[&str]) -> Self {
        let world = Self::unborn(options);
        let repo = world.repo();
        write(&repo.join("a.txt"), "one\ntwo\nthree\n");
        write(&repo.join("dir/b.txt"), "b\n");
        git(&repo, &["add", "-A"]);
        git(&repo, &["commit", "-qm", "first"]);
        git(&repo, &["branch", "main"]);
        world
    }

    fn unborn(options: &[&str]) -> Self {
        let world = Self {
            home: Scratch::new(),
            store: Scratch::new(),
            sound: true,
        };
        std::fs::create_dir(world.repo()).unwrap();
        let mut args = vec!["init", "-q", "-b", "trunk"];
        args.extend_from_slice(options);
        git(&world.repo(), &args);
        world
    }

    fn repo(&self) -> PathBuf {
        self.home.path().join("repo")
    }

    fn git(&self, args: &[&str]) -> String {
        git(&self.repo(), args)
    }

    fn place(&self, token: &str) -> Place {
        let dir = self.store.path().join(token);
        if !dir.exists() {
            std::fs::create_dir(&dir).unwrap();
        }
        Place {
            dir,
            token: token.to_owned(),
            label: "plan one".to_owned(),
        }
    }

    fn resource(&self) -> Git {
        Git::at(self.repo()).branch("main")
    }

    fn open_as(&self, token: &str, resource: &Git) -> Box<dyn Sandbox> {
        let opened = resource.open(&self.place(token), &Work::silent());
        opened.unwrap_or_else(|error| panic!("{error}"))
    }

    fn open(&self) -> Box<dyn Sandbox> {
        self.open_as("one", &self.resource())
    }

    fn refusal(&self, resource: &Git) -> ParticipantError {
        let refused = resource.open(&self.place("refused"), &Work::silent());
        refused.unwrap_err()
    }

    /// Puts a commit on `main` that the plan knows nothing of.
    fn move_main(&self, path: &str, text: &str) {
        let other = self.home.path().join("other");
        let at = other.to_str().unwrap();
        self.git(&["worktree", "add", "-q", at, "main"]);
        write(&other.join(path), text);
        git(&other, &["add", "-A"]);
        git(&other, &["commit", "-qm", "theirs"]);
        self.git(&["worktree", "remove", "--force", at]);
    }

    /// All references and what is checked out, as text.
    fn state(&self) -> String {
        let files = std::fs::read_dir(self.repo().join(".git")).unwrap();
        let mut names: Vec<_> = files.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        format!(
            "{}\n{}\n{names:?}",
            self.git(&["for-each-ref"]),
            self.git(&["status", "--porcelain=v2", "--branch"])
        )
    }

    fn no_refs_of_ours(&self) {
        assert_eq!(self.git(&["for-each-ref", "refs/planbox"]), "");
        assert!(!self.repo().join(".git/refs/planbox").exists());
    }
}

fn work() -> Work<'static> {
    Work::silent()
}

/// A fresh sandbox as another process would have it.
fn reopened(sandbox: &dyn Sandbox, place: &Place) -> Box<dyn Sandbox> {
    GitKind.reopen(&sandbox.record(), place).unwrap()
}

fn edit(sandbox: &dyn Sandbox, path: &str, text: &str) {
    write(&sandbox.path().unwrap().join(path), text);
}

fn prepared(sandbox: &mut dyn Sandbox) -> Redo {
    sandbox
        .seal(&work())
        .unwrap_or_else(|error| panic!("{error}"));
    match sandbox.prepare(&work()) {
        Ok(Vote::Ready { redo, .. }) => redo,
        Ok(other) => panic!("{other:?}"),
        Err(error) => panic!("{error}"),
    }
}

fn conflicts(sandbox: &mut dyn Sandbox) -> Vec<Conflict> {
    sandbox.seal(&work()).unwrap();
    match sandbox.prepare(&work()).unwrap() {
        Vote::Conflict(conflicts) => conflicts,
        other => panic!("{other:?}"),
    }
}

fn commit(sandbox: &mut dyn Sandbox) -> Redo {
    let redo = prepared(sandbox);
    sandbox.apply(&redo, &work()).unwrap();
    sandbox.settle(&redo).unwrap();
    redo
}
