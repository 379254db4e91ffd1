//! Work trees of real repositories.

mod interrupted;
mod moves;
mod refusals;

use super::super::program::{Oid, Runner};
use super::{Checkout, CheckoutRedo, CheckoutVote, WorkTree};
use crate::error::{Conflict, Fault, ParticipantError};
use crate::fs::testing::Scratch;
use crate::sandbox::{Outcome, Place, Work};
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The branch that the tests move.
const MAIN: &str = "refs/heads/main";

/// A repository with a work tree, and a place for one sandbox.
struct World {
    real: Scratch,
    store: Scratch,
    /// The work tree that follows; the main one unless a test makes another.
    root: PathBuf,
}

/// What is where: path, then kind, mode and content.
type Manifest = BTreeMap<PathBuf, (u32, Vec<u8>)>;

impl World {
    /// With a first commit of `files`.
    fn new(files: &[(&str, &str)]) -> Self {
        Self::within(&std::env::temp_dir(), &std::env::temp_dir(), files)
    }

    fn within(real: &Path, store: &Path, files: &[(&str, &str)]) -> Self {
        let real = Scratch::within(real);
        let world = Self {
            root: real.path().join("repo"),
            store: Scratch::within(store),
            real,
        };
        let root = world.root.to_str().unwrap().to_owned();
        world.git_in(world.real.path(), &["init", "-q", "-b", "main", &root]);
        for (path, text) in files {
            world.put(path, text);
        }
        world.git(&["add", "-A"]);
        world.git(&["commit", "-q", "--allow-empty", "-m", "first"]);
        let own = world.own();
        let own = own.to_str().unwrap();
        world.git_in(world.real.path(), &["init", "-q", "--bare", own]);
        world
    }

    fn own(&self) -> PathBuf {
        self.store.path().join("git")
    }

    fn put(&self, path: &str, text: &str) {
        put(&self.root.join(path), text);
    }

    fn text(&self, path: &str) -> String {
        std::fs::read_to_string(self.root.join(path)).unwrap()
    }

    fn has(&self, path: &str) -> bool {
        self.root.join(path).symlink_metadata().is_ok()
    }

    fn git(&self, args: &[&str]) -> String {
        self.git_in(&self.root, args)
    }

    fn git_in(&self, dir: &Path, args: &[&str]) -> String {
        self.git_with(dir, &[], args)
    }

    fn git_with(&self, dir: &Path, env: &[(&str, &Path)], args: &[&str]) -> String {
        let mut command = Command::new("git");
        command
            .current_dir(dir)
            .env("HOME", self.real.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .envs(["GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"].map(|name| (name, "Somebody")))
            .envs(["GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"].map(|name| (name, "a@b")))
            .envs(env.iter().copied())
            .args(args);
        let output = command.output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{args:?}: {complaint}");
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned()
    }

    fn head(&self) -> Oid {
        Oid::parse(&self.git(&["rev-parse", MAIN])).unwrap()
    }

    /// A commit after the branch's, made where nobody has it checked out.
    fn commit(&self, edit: impl FnOnce(&Path)) -> Oid {
        let other = Scratch::within(self.real.path());
        let index = self.real.path().join("other-index");
        let env: [(&str, &Path); 3] = [
            ("GIT_DIR", &self.git_dir_of_main()),
            ("GIT_WORK_TREE", other.path()),
            ("GIT_INDEX_FILE", &index),
        ];
        let run = |args: &[&str]| self.git_with(other.path(), &env, args);
        run(&["read-tree", MAIN]);
        run(&["-c", "core.autocrlf=false", "checkout-index", "-a"]);
        edit(other.path());
        run(&["-c", "core.autocrlf=false", "add", "-A", "-f", "--sparse"]);
        let tree = run(&["write-tree"]);
        let commit = run(&["commit-tree", &tree, "-p", MAIN, "-m", "next"]);
        std::fs::remove_file(index).unwrap();
        Oid::parse(&commit).unwrap()
    }

    fn git_dir_of_main(&self) -> PathBuf {
        self.real.path().join("repo/.git")
    }

    fn runner(&self) -> Runner {
        Runner::on(self.own()).borrow(self.git_dir_of_main().join("objects"))
    }

    fn place(&self) -> Place {
        Place {
            dir: self.store.path().to_path_buf(),
            token: "tok-1".to_owned(),
            label: "a plan".to_owned(),
        }
    }

    fn tree(&self) -> WorkTree {
        WorkTree::find(&self.git_dir_of_main(), MAIN)
            .unwrap()
            .unwrap()
    }

    fn checkout(&self) -> Checkout {
        Checkout::new(&self.place(), &self.tree())
    }

    fn prepare(&self, checkout: &Checkout, new: &Oid) -> Outcome<CheckoutVote> {
        let to = (MAIN, Some(&self.head()), new);
        checkout.prepare(&self.runner(), to, &Work::silent())
    }

    fn ready(&self, checkout: &Checkout, new: &Oid) -> CheckoutRedo {
        match self.prepare(checkout, new).unwrap() {
            CheckoutVote::Ready(redo) => *redo,
            other => panic!("{other:?}"),
        }
    }

    fn conflicts(&self, new: &Oid) -> Vec<Conflict> {
        match self.prepare(&self.checkout(), new).unwrap() {
            CheckoutVote::Conflict(conflicts) => conflicts,
            other => panic!("{other:?}"),
        }
    }

    /// Refused with conflicts at exactly these places, and nothing changed.
    fn assert_conflicts(&self, new: &Oid, places: &[&str]) {
        let before = self.manifest();
        let found: Vec<String> = self.conflicts(new).into_iter().map(|c| c.place).collect();
        assert_eq!(found, places);
        assert_eq!(self.manifest(), before);
    }

    /// Moves the reference, as the sandbox does.
    fn move_ref(&self, from: &Oid, to: &Oid) {
        self.git(&["update-ref", MAIN, to.as_str(), from.as_str()]);
    }

    fn apply(&self, checkout: &Checkout, redo: &CheckoutRedo, new: &Oid) -> Outcome<()> {
        let old = self.head();
        let mut moved = || {
            self.move_ref(&old, new);
            Ok(())
        };
        checkout.apply(&self.runner(), redo, (&Work::silent(), &mut moved))
    }

    fn take_back(&self, checkout: &Checkout, redo: &CheckoutRedo, old: &Oid) -> Outcome<()> {
        let new = self.head();
        let mut moved = || {
            self.move_ref(&new, old);
            Ok(())
        };
        checkout.take_back(&self.runner(), redo, (&Work::silent(), &mut moved))
    }

    /// Everything that a plan does with a commit, in an empty store again at the end.
    fn follow(&self, new: &Oid) {
        let checkout = self.checkout();
        let redo = self.ready(&checkout, new);
        self.apply(&checkout, &redo, new).unwrap();
        checkout.settle(&redo).unwrap();
        checkout.discard(&Work::silent()).unwrap();
        assert_eq!(self.head(), *new);
        self.assert_swept();
    }

    /// Nothing of ours is left anywhere.
    fn assert_swept(&self) {
        assert!(!self.store.path().join("checkout").exists());
        let git_dir = self.tree().git_dir;
        assert!(!git_dir.join("planbox").exists());
        assert!(!git_dir.join("index.lock").exists());
        assert!(!self.has(".planbox"));
        let left = std::fs::read_dir(self.store.path()).unwrap().count();
        assert_eq!(left, 1, "only the git directory");
    }

    /// The work tree is that of the branch, and no git has to read a file to see that.
    fn assert_clean(&self) {
        assert_eq!(self.git(&["diff-files", "--name-only"]), "");
        assert_eq!(self.git(&["diff-index", "--name-only", "HEAD"]), "");
        assert_eq!(self.git(&["status", "--porcelain"]), "");
        self.git(&["fsck", "--strict"]);
    }

    /// Everything but the objects, which only grow.
    fn manifest(&self) -> Manifest {
        let mut found = Manifest::new();
        let mut pending = vec![self.real.path().join("repo")];
        while let Some(dir) = pending.pop() {
            for entry in std::fs::read_dir(&dir).unwrap() {
                let path = entry.unwrap().path();
                let stat = path.symlink_metadata().unwrap();
                // Who moves the reference writes its log, and the file of the reference anew.
                if path.ends_with(".git/objects") || path.ends_with(".git/logs") {
                    continue;
                }
                let is_ref = path.starts_with(self.git_dir_of_main().join("refs"));
                let content = if stat.is_dir() {
                    pending.push(path.clone());
                    Vec::new()
                } else if stat.is_symlink() {
                    let target = std::fs::read_link(&path).unwrap();
                    target.as_os_str().as_bytes().to_vec()
                } else {
                    let mut content = std::fs::read(&path).unwrap();
                    if !is_ref {
                        content.extend_from_slice(&stat.mtime_nsec().to_le_bytes());
                    }
                    blake3::hash(&content).as_bytes()[..4].to_vec()
                };
                found.insert(path, (stat.mode(), content));
            }
        }
        found
    }
}

fn put(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = std::fs::File::create(path).unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
}

fn make_executable(path: &Path) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn link(target: &str, path: &Path) {
    std::os::unix::fs::symlink(target, path).unwrap();
}

fn failure() -> ParticipantError {
    ParticipantError::new(Fault::Io, "somebody else failed")
}

fn fault<T: std::fmt::Debug>(outcome: Outcome<T>) -> Fault {
    outcome.unwrap_err().fault
}

fn remove_all(path: &Path) {
    let parent = crate::fs::Dir::open(path.parent().unwrap()).unwrap();
    crate::fs::remove_tree(&parent, path.file_name().unwrap(), &mut |_| Ok(())).unwrap();
}
