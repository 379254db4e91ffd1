//! Programs that a plan, or somebody before it, planted for our git to run. None ever does.

use super::*;
use std::os::unix::fs::PermissionsExt as _;

/// Every hook that git knows.
const HOOKS: [&str; 24] = [
    "applypatch-msg",
    "commit-msg",
    "fsmonitor-watchman",
    "p4-changelist",
    "p4-post-changelist",
    "p4-pre-submit",
    "p4-prepare-changelist",
    "post-applypatch",
    "post-checkout",
    "post-commit",
    "post-index-change",
    "post-merge",
    "post-receive",
    "post-rewrite",
    "post-update",
    "pre-applypatch",
    "pre-auto-gc",
    "pre-commit",
    "pre-merge-commit",
    "pre-push",
    "pre-rebase",
    "pre-receive",
    "prepare-commit-msg",
    "reference-transaction",
];

const ATTRIBUTES: &str = "* filter=evil merge=evil diff=evil\n*.bin filter=evilp\n";

/// A program that leaves a canary.
struct Trap {
    program: PathBuf,
    canary: PathBuf,
}

impl Trap {
    fn new(world: &World) -> Self {
        let program = world.home.path().join("trap.sh");
        let canary = world.home.path().join("canary");
        write(
            &program,
            &format!("#!/bin/sh\necho \"$0 $@\" >> '{}'\ncat\n", canary.display()),
        );
        executable(&program);
        Self { program, canary }
    }

    /// A configuration in which everything that can start a program starts the trap.
    fn config(&self) -> String {
        let trap = self.program.display();
        format!(
            "[core]\n\tfsmonitor = {trap}\n\tsshCommand = {trap}\n\tpager = {trap}\n\teditor = {trap}\n\
             \taskPass = {trap}\n\talternateRefsCommand = {trap}\n\tgitProxy = {trap}\n\
             [diff]\n\texternal = {trap}\n\
             [diff \"evil\"]\n\tcommand = {trap}\n\ttextconv = {trap}\n\
             [filter \"evil\"]\n\tclean = {trap}\n\tsmudge = {trap}\n\trequired = true\n\
             [filter \"evilp\"]\n\tprocess = {trap}\n\trequired = true\n\
             [merge \"evil\"]\n\tdriver = {trap}\n\
             [gpg]\n\tprogram = {trap}\n[commit]\n\tgpgSign = true\n\
             [credential]\n\thelper = !{trap}\n[sequence]\n\teditor = {trap}\n\
             [alias]\n\tadd = !{trap}\n\tcommit-tree = !{trap}\n\twrite-tree = !{trap}\n\
             [protocol]\n\tallow = always\n[protocol \"ext\"]\n\tallow = always\n\
             [uploadpack]\n\tpackObjectsHook = {trap}\n\
             [remote \"origin\"]\n\turl = ext::{trap}\n\tpromisor = true\n"
        )
    }

    fn hooks(&self, dir: &Path) {
        for hook in HOOKS {
            let path = dir.join(hook);
            write(&path, &std::fs::read_to_string(&self.program).unwrap());
            executable(&path);
        }
    }

    fn append_config(&self, dir: &Path) {
        let path = dir.join("config");
        let old = std::fs::read_to_string(&path).unwrap_or_default();
        write(&path, &format!("{old}{}", self.config()));
    }

    fn sprung(&self) -> Option<String> {
        let text = std::fs::read_to_string(&self.canary).ok();
        drop(std::fs::remove_file(&self.canary));
        text
    }
}

fn executable(path: &Path) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Everything a plan can write that a careless git would run.
fn plant(trap: &Trap, view: &Path) {
    let dot_git = view.join(".git");
    trap.append_config(&dot_git);
    trap.hooks(&dot_git.join("hooks"));
    write(&dot_git.join("info/attributes"), ATTRIBUTES);
    write(&dot_git.join("config.worktree"), &trap.config());
    write(&view.join(".gitattributes"), ATTRIBUTES);
    write(
        &view.join(".gitmodules"),
        &format!(
            "[submodule \"lib\"]\n\tpath = lib\n\turl = ./lib\n#{}\n",
            trap.program.display()
        ),
    );
    // The work tree itself in the shape of a bare repository.
    write(&view.join("HEAD"), "ref: refs/heads/main\n");
    write(&view.join("config"), &trap.config());
    write(&view.join("objects/info/x"), "x");
    write(&view.join("refs/heads/x"), "x");
    trap.hooks(&view.join("hooks"));
    write(&view.join("data.bin"), "binary\n");
    write(&view.join("a.txt"), "one\nTWO\nthree\n");
}

/// All calls of a life: open, diff, seal, prepare, apply, take-back, discard.
fn live(world: &World, resource: &Git, planted: impl Fn(&Path)) {
    let mut sandbox = world.open_as("life", resource);
    planted(sandbox.path().unwrap());
    sandbox.diff(&work()).unwrap();
    let redo = prepared(&mut *sandbox);
    sandbox.apply(&redo, &work()).unwrap();
    sandbox.take_back(&redo, &work()).unwrap();
    sandbox.unseal().unwrap();
    world.move_main_quietly();
    commit(&mut *sandbox);
    sandbox.discard(&work()).unwrap();
}

impl World {
    /// Moves `main` without a work tree, so that nothing planted runs because of this test.
    fn move_main_quietly(&self) {
        let quiet = ["-c", "core.hooksPath=/dev/null"];
        let tree = self.git(&["rev-parse", "main^{tree}"]);
        let tip = self.git(&["rev-parse", "main"]);
        let new = self.git(&[
            "commit-tree",
            "--no-gpg-sign",
            &tree,
            "-p",
            &tip,
            "-m",
            "moved",
        ]);
        let mut args = quiet.to_vec();
        args.extend(["update-ref", "refs/heads/main", &new]);
        self.git(&args);
    }
}

#[test]
fn nothing_that_a_plan_plants_in_its_view_runs() {
    let world = World::new();
    let trap = Trap::new(&world);
    live(&world, &world.resource(), |view| plant(&trap, view));
    assert_eq!(trap.sprung(), None);
    assert_eq!(world.git(&["show", "main:a.txt"]), "one\nTWO\nthree");
    assert_eq!(
        world.git(&["show", "main:data.bin"]),
        "binary",
        "no filter, no change"
    );
    // The control: the traps are good ones.
    let sandbox = world.open();
    plant(&trap, sandbox.path().unwrap());
    drop(raw(
        sandbox.path().unwrap(),
        &["-c", "alias.add=", "add", "-A"],
    ));
    assert!(trap.sprung().is_some(), "a plain git runs what is planted");
}

#[test]
fn nothing_that_lies_in_the_repository_runs() {
    let world = World::new();
    let trap = Trap::new(&world);
    // Attributes in the base itself, so that a checkout would smudge.
    let other = world.home.path().join("attributed");
    let at = other.to_str().unwrap();
    world.git(&["worktree", "add", "-q", at, "main"]);
    write(&other.join(".gitattributes"), ATTRIBUTES);
    write(&other.join("base.bin"), "base\n");
    git(&other, &["add", "-A"]);
    git(&other, &["commit", "-qm", "attributes"]);
    world.git(&["worktree", "remove", "--force", at]);
    let dot_git = world.repo().join(".git");
    trap.append_config(&dot_git);
    trap.hooks(&dot_git.join("hooks"));
    write(&dot_git.join("info/attributes"), ATTRIBUTES);
    let edited = |view: &Path| {
        assert_eq!(
            std::fs::read_to_string(view.join("base.bin")).unwrap(),
            "base\n"
        );
        write(&view.join("a.txt"), "one\nTWO\nthree\n");
        write(&view.join("base.bin"), "other\n");
    };
    live(&world, &world.resource(), edited);
    assert_eq!(trap.sprung(), None);
    let tree = world.git(&["ls-tree", "main", "base.bin"]);
    assert!(tree.contains("base.bin"));
    // The control: one reference moved by a plain git runs a hook.
    world.git(&["update-ref", "refs/heads/side", "main"]);
    assert!(trap.sprung().is_some(), "a plain git runs the hooks");
    world.git(&[
        "-c",
        "core.hooksPath=/dev/null",
        "update-ref",
        "-d",
        "refs/heads/side",
    ]);
    write(
        &dot_git.join("config"),
        "[core]\n\trepositoryformatversion = 0\n\tbare = false\n",
    );
    for hook in HOOKS {
        std::fs::remove_file(dot_git.join("hooks").join(hook)).unwrap();
    }
}

#[test]
fn a_repository_planted_where_a_submodule_is_does_not_run_either() {
    let world = World::new();
    let trap = Trap::new(&world);
    let tip = world.git(&["rev-parse", "main"]);
    let other = world.home.path().join("modular");
    let at = other.to_str().unwrap();
    world.git(&["worktree", "add", "-q", at, "main"]);
    git(
        &other,
        &[
            "update-index",
            "--add",
            "--cacheinfo",
            &format!("160000,{tip},lib"),
        ],
    );
    git(&other, &["commit", "-qm", "a submodule"]);
    world.git(&["worktree", "remove", "--force", at]);
    let mut sandbox = world.open();
    let lib = sandbox.path().unwrap().join("lib");
    assert!(lib.is_dir());
    edit(&*sandbox, "a.txt", "one\n");
    let sealed = sandbox.seal(&work()).unwrap();
    assert_eq!(
        sealed.changes.entries.len(),
        1,
        "the submodule stays: {sealed:?}"
    );
    sandbox.unseal().unwrap();
    git(&lib, &["init", "-q"]);
    write(&lib.join("x"), "x");
    git(&lib, &["add", "x"]);
    git(&lib, &["commit", "-qm", "x"]);
    trap.append_config(&lib.join(".git"));
    trap.hooks(&lib.join(".git/hooks"));
    let refused = sandbox.seal(&work()).unwrap_err();
    assert!(
        refused.to_string().contains("submodule was moved"),
        "{refused}"
    );
    assert_eq!(trap.sprung(), None);
    // The control: a plain git looks into it.
    drop(raw(sandbox.path().unwrap(), &["status"]));
    assert!(
        trap.sprung().is_some(),
        "a plain git runs what is planted in a submodule"
    );
    rustix::fs::rename(&lib, world.home.path().join("lib-aside")).unwrap();
    let sealed = sandbox.seal(&work()).unwrap();
    assert_eq!(sealed.changes.entries[1].what, "submodule");
    let redo = prepared(&mut *sandbox);
    sandbox.apply(&redo, &work()).unwrap();
    assert_eq!(world.git(&["ls-tree", "main", "lib"]), "");
}

#[test]
fn the_git_directory_of_the_view_is_not_read_whatever_it_becomes() {
    let world = World::new();
    let trap = Trap::new(&world);
    let mut sandbox = world.open();
    let view = sandbox.path().unwrap().to_path_buf();
    let evil = world.home.path().join("evil");
    std::fs::create_dir(&evil).unwrap();
    git(&evil, &["init", "-q"]);
    trap.append_config(&evil.join(".git"));
    rustix::fs::rename(view.join(".git"), world.home.path().join("dot-git-aside")).unwrap();
    write(
        &view.join(".git"),
        &format!("gitdir: {}/.git\n", evil.display()),
    );
    edit(&*sandbox, "a.txt", "ours\n");
    commit(&mut *sandbox);
    assert_eq!(trap.sprung(), None);
    assert_eq!(world.git(&["ls-tree", "--name-only", "main"]), "a.txt\ndir");
}

#[test]
fn a_filter_planted_in_our_own_git_directory_does_not_run() {
    let world = World::new();
    let trap = Trap::new(&world);
    // A git directory that leads to another one takes the configuration from there.
    let lair = world.home.path().join("lair");
    git(world.home.path(), &["init", "-q", "--bare", "lair"]);
    trap.append_config(&lair);
    for way in [0, 1] {
        for sealed in [false, true] {
            let mut sandbox = world.open_as(&format!("reach-{way}-{sealed}"), &world.resource());
            let view = sandbox.path().unwrap().to_owned();
            write(&view.join(".gitattributes"), ATTRIBUTES);
            write(&view.join("a.txt"), "one\nTWO\nthree\n");
            if sealed {
                sandbox.seal(&work()).unwrap();
                world.move_main_quietly();
            }
            let own = view.parent().unwrap().join("git");
            if way == 0 {
                trap.append_config(&own);
            } else {
                write(&own.join("commondir"), lair.to_str().unwrap());
            }
            let error = if sealed {
                sandbox.prepare(&work()).unwrap_err()
            } else {
                sandbox.diff(&work()).unwrap_err()
            };
            assert_eq!(error.fault, Fault::Corrupt, "{error}");
            assert_eq!(trap.sprung(), None, "{way} {sealed}");
            sandbox.discard(&work()).unwrap();
        }
    }
}
