//! What is in the way is never overwritten.

use super::*;

#[test]
fn a_dirty_file_that_the_commit_changes_is_a_conflict() {
    let world = World::new(&[("a", "a\n"), ("b", "b\n"), ("c", "c\n"), ("d/e", "e\n")]);
    let new = world.commit(|root| {
        put(&root.join("a"), "ours\n");
        std::fs::remove_file(root.join("b")).unwrap();
        make_executable(&root.join("c"));
        remove_all(&root.join("d"));
    });
    world.put("a", "mine\n");
    world.assert_conflicts(&new, &["a"]);
    world.put("a", "a\n");
    world.put("b", "mine\n");
    world.put("d/e", "f\n");
    world.assert_conflicts(&new, &["b", "d/e"]);
    world.git(&["checkout", "."]);
    make_executable(&world.root.join("c"));
    world.assert_conflicts(&new, &["c"]);
    world.git(&["checkout", "."]);
    std::fs::remove_file(world.root.join("a")).unwrap();
    world.assert_conflicts(&new, &["a"]);
    world.git(&["checkout", "."]);
    world.follow(&new);
}

#[test]
fn content_with_the_same_size_and_times_is_seen() {
    let world = World::new(&[("a", "one\n")]);
    let new = world.commit(|root| put(&root.join("a"), "three\n"));
    let file = world.root.join("a");
    let time = file.metadata().unwrap().modified().unwrap();
    world.put("a", "two\n");
    let opened = std::fs::File::options().write(true).open(&file).unwrap();
    opened.set_modified(time).unwrap();
    world.git(&["config", "core.trustctime", "false"]);
    world.git(&["update-index", "--assume-unchanged", "a"]);
    world.assert_conflicts(&new, &["a"]);
}

#[test]
fn an_untracked_or_ignored_thing_in_the_way_is_a_conflict() {
    let world = World::new(&[("a", "a\n"), (".gitignore", "*.log\n"), ("was/x", "x\n")]);
    let new = world.commit(|root| {
        put(&root.join("new"), "ours\n");
        put(&root.join("run.log"), "ours\n");
        put(&root.join("dir/below"), "ours\n");
        put(&root.join("leaf"), "ours\n");
        remove_all(&root.join("was"));
        put(&root.join("was"), "ours\n");
    });
    world.put("new", "mine\n");
    world.put("run.log", "mine\n");
    world.put("dir", "mine\n");
    world.put("leaf/inside", "mine\n");
    world.put("was/mine.log", "mine\n");
    let all = ["dir/below", "leaf", "new", "run.log", "was/mine.log"];
    world.assert_conflicts(&new, &all);
    world.put("elsewhere/x", "x\n");
    for path in ["new", "dir", "run.log"] {
        std::fs::remove_file(world.root.join(path)).unwrap();
    }
    link("elsewhere", &world.root.join("dir"));
    world.assert_conflicts(&new, &["dir/below", "leaf", "was/mine.log"]);
}

#[test]
fn something_staged_in_the_way_is_a_conflict() {
    let world = World::new(&[("a", "a\n"), ("b", "b\n"), ("c", "c\n")]);
    let new = world.commit(|root| {
        put(&root.join("a"), "ours\n");
        put(&root.join("n"), "ours\n");
        put(&root.join("top"), "ours\n");
        put(&root.join("b2/x"), "ours\n");
    });
    world.put("a", "staged\n");
    world.git(&["add", "a"]);
    world.put("a", "a\n");
    world.assert_conflicts(&new, &["a"]);
    world.git(&["reset", "-q", "--hard"]);
    world.put("n", "intended\n");
    world.put("top/below", "staged\n");
    world.put("b2", "staged\n");
    world.git(&["add", "-N", "n"]);
    world.git(&["add", "top/below", "b2"]);
    for path in ["n", "top/below", "b2"] {
        std::fs::remove_file(world.root.join(path)).unwrap();
    }
    std::fs::remove_dir(world.root.join("top")).unwrap();
    world.assert_conflicts(&new, &["b2/x", "n", "top"]);
}

#[test]
fn a_link_on_the_way_is_not_followed() {
    let world = World::new(&[("dir/a", "a\n")]);
    let outside = world.real.path().join("outside");
    put(&outside.join("a"), "a\n");
    let new = world.commit(|root| put(&root.join("dir/a"), "ours\n"));
    remove_all(&world.root.join("dir"));
    link(outside.to_str().unwrap(), &world.root.join("dir"));
    world.assert_conflicts(&new, &["dir/a"]);
    assert_eq!(std::fs::read_to_string(outside.join("a")).unwrap(), "a\n");
}

#[test]
fn a_path_with_a_filter_is_refused_and_the_filter_is_not_run() {
    let world = World::new(&[("big.bin", "pointer\n"), ("a", "a\n")]);
    let canary = world.real.path().join("canary");
    let run = format!("touch {}; cat", canary.display());
    let new = world.commit(|root| put(&root.join("big.bin"), "other\n"));
    world.git(&["config", "filter.lfs.smudge", &run]);
    world.git(&["config", "filter.lfs.clean", &run]);
    put(&world.root.join(".gitattributes"), "*.bin filter=lfs\n");
    drop(std::fs::remove_file(&canary));
    let before = world.manifest();
    let refused = world.prepare(&world.checkout(), &new).unwrap_err();
    assert_eq!(refused.fault, Fault::Refused, "{refused}");
    assert_eq!(world.manifest(), before);
    assert!(!canary.exists());
    std::fs::remove_file(world.root.join(".gitattributes")).unwrap();
    let new = world.commit(|root| {
        put(&root.join(".gitattributes"), "*.bin filter=lfs\n");
        put(&root.join("new.bin"), "x\n");
    });
    std::fs::remove_file(&canary).expect("the git of the user ran it");
    let refused = world.prepare(&world.checkout(), &new).unwrap_err();
    assert_eq!(refused.path.unwrap(), Path::new("new.bin"));
    assert!(!canary.exists());
}

#[test]
fn a_submodule_in_the_place_of_a_file_is_refused() {
    let world = World::new(&[("a", "a\n")]);
    let index = world.real.path().join("sub-index");
    let run = |args: &[&str]| world.git_with(&world.root, &[("GIT_INDEX_FILE", &index)], args);
    let gitlink = format!("160000,{},a", world.head());
    run(&["update-index", "--add", "--cacheinfo", &gitlink]);
    let tree = run(&["write-tree"]);
    let new = run(&["commit-tree", &tree, "-p", MAIN, "-m", "sub"]);
    let new = Oid::parse(&new).unwrap();
    assert_eq!(
        fault(world.prepare(&world.checkout(), &new)),
        Fault::Refused
    );
}

#[test]
fn the_lock_of_another_git_is_waited_for_and_left() {
    let world = World::new(&[("a", "a\n")]);
    let new = world.commit(|root| put(&root.join("a"), "b\n"));
    let lock = world.root.join(".git/index.lock");
    put(&lock, "");
    let before = world.manifest();
    let busy = world.prepare(&world.checkout(), &new).unwrap_err();
    assert_eq!((busy.fault, busy.path), (Fault::Busy, Some(lock.clone())));
    assert_eq!(world.manifest(), before);
    std::fs::remove_file(&lock).unwrap();
    let checkout = world.checkout();
    let redo = world.ready(&checkout, &new);
    put(&lock, "");
    let before = world.manifest();
    assert_eq!(fault(world.apply(&checkout, &redo, &new)), Fault::Busy);
    assert_eq!(world.manifest(), before);
    std::fs::remove_file(&lock).unwrap();
    world.apply(&checkout, &redo, &new).unwrap();
    world.assert_clean();
}

#[test]
fn a_change_between_the_check_and_the_move_is_a_conflict() {
    let world = World::new(&[("a", "a\n"), ("b", "b\n"), ("dir/c", "c\n")]);
    let old = world.head();
    let new = world.commit(|root| {
        put(&root.join("a"), "ours\n");
        put(&root.join("b"), "ours\n");
        put(&root.join("new"), "ours\n");
        remove_all(&root.join("dir"));
    });
    let undo = |path: &str, text: Option<&str>| {
        let file = world.root.join(path);
        match text {
            Some(text) => world.put(path, text),
            None => std::fs::remove_file(file).unwrap(),
        }
    };
    for (path, was) in [("b", Some("b\n")), ("new", None), ("dir/mine", None)] {
        let checkout = world.checkout();
        let redo = world.ready(&checkout, &new);
        world.put(path, "mine\n");
        let before = world.manifest();
        let mut moved = || -> Outcome<()> { panic!("the reference must not move") };
        let with = (
            &Work::silent(),
            &mut moved as &mut super::super::MoveRef<'_>,
        );
        let applied = checkout.apply(&world.runner(), &redo, with);
        assert_eq!(fault(applied), Fault::Conflict, "{path}");
        let mut back = || Ok(());
        let with = (&Work::silent(), &mut back as &mut super::super::MoveRef<'_>);
        checkout.take_back(&world.runner(), &redo, with).unwrap();
        assert_eq!(world.manifest(), before, "{path}");
        assert_eq!(
            (world.head(), world.text(path)),
            (old.clone(), "mine\n".into())
        );
        undo(path, was);
    }
    let checkout = world.checkout();
    let redo = world.ready(&checkout, &new);
    world.put("staged", "mine\n");
    world.git(&["add", "staged"]);
    assert_eq!(fault(world.apply(&checkout, &redo, &new)), Fault::Conflict);
    let mut back = || Ok(());
    let with = (&Work::silent(), &mut back as &mut super::super::MoveRef<'_>);
    checkout.take_back(&world.runner(), &redo, with).unwrap();
    assert_eq!(world.git(&["status", "--porcelain"]), "A  staged");
    world.follow(&new);
    assert_eq!(world.git(&["status", "--porcelain"]), "A  staged");
}

#[test]
fn a_split_index_is_refused() {
    let world = World::new(&[("a", "a\n")]);
    let new = world.commit(|root| put(&root.join("a"), "b\n"));
    world.git(&["update-index", "--split-index"]);
    assert_eq!(
        fault(world.prepare(&world.checkout(), &new)),
        Fault::Refused
    );
}

#[test]
fn a_branch_that_is_checked_out_twice_is_refused() {
    let world = World::new(&[("a", "a\n")]);
    let second = world.real.path().join("second");
    let add = [
        "worktree",
        "add",
        "-q",
        "--force",
        second.to_str().unwrap(),
        "main",
    ];
    world.git(&add);
    let found = WorkTree::find(&world.git_dir_of_main(), MAIN);
    assert_eq!(fault(found), Fault::Refused);
}

#[test]
fn a_git_directory_is_never_taken_for_a_work_tree() {
    let world = World::new(&[("a", "a\n")]);
    let apart = world.real.path().join("apart.git");
    world.git(&["init", "-q", "--separate-git-dir", apart.to_str().unwrap()]);
    let found = WorkTree::find(&apart, MAIN);
    assert_eq!(fault(found), Fault::Refused);
    world.git(&[
        "config",
        "core.worktree",
        apart.join("hooks").to_str().unwrap(),
    ]);
    assert_eq!(fault(WorkTree::find(&apart, MAIN)), Fault::Refused);
    world.git_with(
        &world.root,
        &[("GIT_WORK_TREE", &world.root)],
        &["config", "core.worktree", world.root.to_str().unwrap()],
    );
    assert_eq!(
        WorkTree::find(&apart, MAIN).unwrap().unwrap().root,
        world.root
    );
}
