//! Repositories and trees of every shape.

use super::*;
use std::os::unix::ffi::OsStrExt as _;

fn change_and_commit(world: &World, resource: &Git, branch: &str) {
    let mut sandbox = world.open_as("shape", resource);
    edit(&*sandbox, "a.txt", "ours\n");
    let redo = prepared(&mut *sandbox);
    sandbox.apply(&redo, &work()).unwrap();
    sandbox.take_back(&redo, &work()).unwrap();
    sandbox.apply(&redo, &work()).unwrap();
    sandbox.settle(&redo).unwrap();
    sandbox.discard(&work()).unwrap();
    assert_eq!(world.git(&["show", &format!("{branch}:a.txt")]), "ours");
    assert_eq!(world.git(&["for-each-ref", "refs/planbox"]), "");
}

#[test]
fn a_branch_without_a_commit_gets_its_first_one() {
    let world = World::unborn(&["--bare"]);
    let resource = Git::at(world.repo());
    let mut sandbox = world.open_as("one", &resource);
    assert!(sandbox.diff(&work()).unwrap().is_empty());
    edit(&*sandbox, "a.txt", "first\n");
    let sealed = sandbox.seal(&work()).unwrap();
    assert_eq!(sealed.changes.sections[0].from, None);
    let redo = prepared(&mut *sandbox);
    sandbox.apply(&redo, &work()).unwrap();
    sandbox.take_back(&redo, &work()).unwrap();
    assert_eq!(world.git(&["for-each-ref", "refs/heads"]), "");
    sandbox.apply(&redo, &work()).unwrap();
    assert_eq!(world.git(&["rev-list", "--count", "trunk"]), "1");
    sandbox.discard(&work()).unwrap();
    // Two plans from nothing: the second one is a conflict.
    let world = World::unborn(&["--bare"]);
    let resource = Git::at(world.repo());
    let mut one = world.open_as("one", &resource);
    let mut two = world.open_as("two", &resource);
    edit(&*one, "a.txt", "one\n");
    edit(&*two, "b.txt", "two\n");
    commit(&mut *one);
    assert_eq!(conflicts(&mut *two)[0].base, "no commit");
    for mut sandbox in [one, two] {
        sandbox.discard(&work()).unwrap();
    }
}

#[test]
fn other_hashes_and_reference_stores_work() {
    for options in [
        &["--object-format=sha256"][..],
        &["--ref-format=reftable"],
        &["--object-format=sha256", "--ref-format=reftable"],
    ] {
        let world = World::made(options);
        change_and_commit(&world, &world.resource(), "main");
        world.move_main("b.txt", "moved\n");
        let mut sandbox = world.open();
        edit(&*sandbox, "a.txt", "again\n");
        world.move_main("c.txt", "moved more\n");
        commit(&mut *sandbox);
        assert_eq!(world.git(&["show", "main:c.txt"]), "moved more");
        sandbox.discard(&work()).unwrap();
    }
}

#[test]
fn shallow_bare_and_linked_repositories_work() {
    let world = World::new();
    world.move_main("c.txt", "second\n");
    world.move_main("c.txt", "third\n");
    let from = format!("file://{}", world.repo().display());
    let clone = |name: &str, options: &[&str]| {
        let to = world.home.path().join(name);
        let mut args = vec!["clone", "-q", "-b", "main"];
        args.extend_from_slice(options);
        args.extend([&*from, to.to_str().unwrap()]);
        git(world.home.path(), &args);
        to
    };
    let shallow = clone("shallow", &["--depth=2", "--bare"]);
    let mut sandbox = world.open_as("one", &Git::at(&shallow));
    edit(&*sandbox, "a.txt", "ours\n");
    assert_eq!(
        git(sandbox.path().unwrap(), &["rev-list", "--count", "HEAD"]),
        "2"
    );
    commit(&mut *sandbox);
    assert_eq!(git(&shallow, &["show", "main:a.txt"]), "ours");
    assert_eq!(git(&shallow, &["rev-list", "--count", "main"]), "3");
    git(&shallow, &["fsck", "--strict"]);
    sandbox.discard(&work()).unwrap();
    let linked = world.home.path().join("linked");
    world.git(&[
        "worktree",
        "add",
        "-q",
        "--detach",
        linked.to_str().unwrap(),
    ]);
    let through = Git::at(&linked).branch("main").identify().unwrap();
    assert_eq!(
        through,
        world.resource().identify().unwrap(),
        "one branch, by any way"
    );
    change_and_commit(&world, &Git::at(&linked).branch("main"), "main");
}

#[test]
fn a_partial_clone_without_its_files_is_refused_by_name() {
    let world = World::new();
    world.git(&["config", "uploadpack.allowFilter", "true"]);
    let from = format!("file://{}", world.repo().display());
    let to = world.home.path().join("partial");
    let at = to.to_str().unwrap();
    git(
        world.home.path(),
        &[
            "clone",
            "-q",
            "--bare",
            "--filter=blob:none",
            "-b",
            "main",
            &from,
            at,
        ],
    );
    let refused = world.refusal(&Git::at(&to));
    assert_eq!(refused.fault, Fault::Refused);
    assert!(refused.to_string().contains("partial clone"), "{refused}");
}

#[test]
fn the_tools_of_a_plan_find_a_repository_of_its_own() {
    let world = World::new();
    world.move_main("c.txt", "second\n");
    let mut sandbox = world.open();
    let view = sandbox.path().unwrap().to_path_buf();
    assert_eq!(
        git(&view, &["status", "--porcelain", "--branch"]),
        "## main"
    );
    assert_eq!(git(&view, &["rev-list", "--count", "HEAD"]), "2");
    edit(&*sandbox, "a.txt", "ours\n");
    assert!(git(&view, &["diff"]).contains("+ours"));
    git(&view, &["commit", "-qam", "inside"]);
    git(&view, &["gc", "-q", "--prune=now"]);
    assert_eq!(world.git(&["log", "-1", "--format=%s", "main"]), "theirs");
    commit(&mut *sandbox);
    assert_eq!(
        world.git(&["log", "-1", "--format=%s", "main"]),
        "planbox: plan one"
    );
    assert_eq!(world.git(&["show", "main:a.txt"]), "ours");
    sandbox.discard(&work()).unwrap();
}

#[test]
fn paths_of_any_bytes_and_modes_come_through() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new();
    let mut sandbox = world.open();
    let view = sandbox.path().unwrap().to_path_buf();
    let odd = [
        &b"\xff\xfe"[..],
        b"new\nline",
        b"-rf",
        b" ",
        b"a\"b\\c",
        b":(top)x",
        b"*",
    ];
    for name in odd {
        write(&view.join(std::ffi::OsStr::from_bytes(name)), "odd\n");
    }
    let script = view.join("run.sh");
    write(&script, "#!/bin/sh\n");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let sealed = sandbox.seal(&work()).unwrap();
    assert_eq!(sealed.changes.entries.len(), odd.len() + 1);
    commit(&mut *sandbox);
    let tree = world.git(&["ls-tree", "-z", "main"]);
    assert_eq!(
        tree.split('\0').filter(|line| !line.is_empty()).count(),
        odd.len() + 3
    );
    assert!(
        world
            .git(&["ls-tree", "main", "run.sh"])
            .starts_with("100755")
    );
}

#[test]
fn line_endings_that_the_repository_asks_for_do_not_count_as_changes() {
    let world = World::new();
    let other = world.home.path().join("endings");
    let at = other.to_str().unwrap();
    world.git(&["worktree", "add", "-q", at, "main"]);
    write(
        &other.join(".gitattributes"),
        "*.bat text eol=crlf\n*.dos text\n",
    );
    write(&other.join("x.bat"), "one\r\ntwo\r\n");
    // A file that was never normalised: touching nothing must not rewrite it.
    write(&other.join("old.dos"), "one\r\n");
    git(&other, &["-c", "core.autocrlf=false", "add", "-A"]);
    let blob = git(&other, &["hash-object", "-w", "--no-filters", "old.dos"]);
    git(
        &other,
        &[
            "update-index",
            "--cacheinfo",
            &format!("100644,{blob},old.dos"),
        ],
    );
    git(&other, &["commit", "-qm", "endings"]);
    world.git(&["worktree", "remove", "--force", at]);
    let mut sandbox = world.open();
    let bat = sandbox.path().unwrap().join("x.bat");
    assert_eq!(std::fs::read_to_string(&bat).unwrap(), "one\r\ntwo\r\n");
    assert!(sandbox.diff(&work()).unwrap().is_empty());
    edit(&*sandbox, "x.bat", "one\r\nTWO\r\n");
    let sealed = sandbox.seal(&work()).unwrap();
    assert_eq!(sealed.changes.entries.len(), 1, "{sealed:?}");
    commit(&mut *sandbox);
    assert_eq!(world.git(&["show", "main:x.bat"]), "one\nTWO");
}

#[test]
fn two_branches_are_two_resources_with_one_guard() {
    let world = World::new();
    world.git(&["branch", "side", "main"]);
    let side = Git::at(world.repo()).branch("refs/heads/side");
    let (one, two) = (world.open(), world.open_as("two", &side));
    assert_ne!(one.identity().key, two.identity().key);
    assert!(!one.identity().overlaps(two.identity()));
    let key = |sandbox: &dyn Sandbox| sandbox.guards().unwrap().remove(0).key;
    assert_eq!(key(&*one), key(&*two));
    let trunk = Git::at(world.repo()).identify().unwrap();
    assert!(trunk.tree.is_some() && !trunk.overlaps(one.identity()));
    let directory = crate::sandbox::Directory::at(world.repo())
        .identify()
        .unwrap();
    assert!(trunk.overlaps(&directory));
}

#[test]
fn a_plan_that_is_told_to_stop_stops() {
    use std::sync::atomic::AtomicBool;
    let world = World::new();
    let (stop, listen) = (AtomicBool::new(true), |_| ());
    let stopped = Work::new(&listen, &stop);
    let refused = world.resource().open(&world.place("stopped"), &stopped);
    assert_eq!(refused.unwrap_err().fault, Fault::Interrupted);
    let mut sandbox = world.open();
    assert_eq!(
        sandbox.seal(&stopped).unwrap_err().fault,
        Fault::Interrupted
    );
    sandbox.seal(&work()).unwrap();
}
