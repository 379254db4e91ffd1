//! The work tree follows.

use super::*;

#[test]
fn files_index_and_status_follow_the_branch() {
    let world = World::new(&[
        ("kept", "kept\n"),
        ("changed", "one\n"),
        ("gone", "gone\n"),
        ("tool", "#!/bin/sh\n"),
        ("dir/deep/last", "last\n"),
        ("dir/stays", "stays\n"),
    ]);
    let inode = |path: &str| world.root.join(path).metadata().unwrap().ino();
    let kept = inode("kept");
    let new = world.commit(|root| {
        put(&root.join("changed"), "two\n");
        put(&root.join("new/in/there"), "new\n");
        put(&root.join("-a \"b\"\n\u{fc}"), "odd\n");
        std::fs::remove_file(root.join("gone")).unwrap();
        std::fs::remove_file(root.join("dir/deep/last")).unwrap();
        make_executable(&root.join("tool"));
        link("changed", &root.join("link"));
    });
    world.follow(&new);
    world.assert_clean();
    assert_eq!(world.text("changed"), "two\n");
    assert_eq!(world.text("new/in/there"), "new\n");
    assert_eq!(world.text("-a \"b\"\n\u{fc}"), "odd\n");
    assert!(!world.has("gone") && !world.has("dir/deep") && world.has("dir/stays"));
    assert_eq!(
        world.root.join("link").read_link().unwrap(),
        Path::new("changed")
    );
    assert_eq!(inode("kept"), kept);
}

#[test]
fn a_file_a_directory_and_a_link_take_each_others_place() {
    let files = [
        ("a", "file\n"),
        ("b/x", "x\n"),
        ("b/y/z", "z\n"),
        ("d/only", "only\n"),
    ];
    let world = World::new(&files);
    let new = world.commit(|root| {
        std::fs::remove_file(root.join("a")).unwrap();
        put(&root.join("a/inner/x"), "x\n");
        remove_all(&root.join("b"));
        put(&root.join("b"), "file now\n");
        remove_all(&root.join("d"));
        link("a/inner", &root.join("d"));
    });
    world.follow(&new);
    world.assert_clean();
    let next = world.commit(|root| {
        remove_all(&root.join("a"));
        link("nowhere", &root.join("a"));
        std::fs::remove_file(root.join("b")).unwrap();
        link("d", &root.join("b"));
        std::fs::remove_file(root.join("d")).unwrap();
        put(&root.join("d"), "file\n");
    });
    world.follow(&next);
    world.assert_clean();
    assert_eq!(world.text("d"), "file\n");
}

#[test]
fn what_the_commit_does_not_touch_is_kept_dirty_or_staged() {
    let world = World::new(&[("mine", "a\n"), ("staged", "a\n"), ("ours", "a\n")]);
    put(&world.root.join(".git/info/exclude"), "ignored\n");
    let new = world.commit(|root| put(&root.join("ours"), "b\n"));
    world.put("mine", "edited\n");
    world.put("staged", "to be committed\n");
    world.put("added", "to be committed\n");
    world.git(&["add", "staged", "added"]);
    world.put("intended", "later\n");
    world.git(&["add", "-N", "intended"]);
    world.put("untracked", "u\n");
    world.put("ignored", "i\n");
    let before = world.git(&["status", "--porcelain", "--ignored"]);
    world.follow(&new);
    assert_eq!(world.git(&["status", "--porcelain", "--ignored"]), before);
    assert_eq!(
        (world.text("ours"), world.text("mine")),
        ("b\n".into(), "edited\n".into())
    );
}

#[test]
fn a_directory_stays_if_something_else_is_in_it() {
    let world = World::new(&[
        ("logs/a", "a\n"),
        ("logs/sub/b", "b\n"),
        ("out/c", "c\n"),
        ("out/empty-later/d", "d\n"),
        (".gitignore", "*.log\n"),
    ]);
    world.put("logs/sub/mine.log", "ignored\n");
    std::fs::create_dir(world.root.join("out/nothing-in-it")).unwrap();
    let new = world.commit(|root| {
        remove_all(&root.join("logs"));
        remove_all(&root.join("out"));
    });
    world.follow(&new);
    world.assert_clean();
    assert_eq!(world.text("logs/sub/mine.log"), "ignored\n");
    assert!(!world.has("logs/a") && !world.has("logs/sub/b"));
    assert!(world.has("out/nothing-in-it") && !world.has("out/empty-later"));
}

#[test]
fn a_file_is_added_to_a_directory_that_only_the_user_has() {
    let world = World::new(&[("a", "a\n")]);
    world.put("notes/mine", "untracked\n");
    let new = world.commit(|root| put(&root.join("notes/ours"), "b\n"));
    world.follow(&new);
    assert_eq!(world.text("notes/ours"), "b\n");
    assert_eq!(world.git(&["status", "--porcelain"]), "?? notes/mine");
}

#[test]
fn the_first_commit_of_a_branch_is_checked_out() {
    let world = World::new(&[("a", "a\n")]);
    let new = world.commit(|root| put(&root.join("sub/b"), "b\n"));
    world.git(&["update-ref", "-d", MAIN]);
    world.git(&["rm", "-q", "--cached", "-r", "."]);
    std::fs::remove_file(world.root.join("a")).unwrap();
    std::fs::remove_file(world.root.join(".git/index")).unwrap();
    let checkout = world.checkout();
    let vote = checkout.prepare(&world.runner(), (MAIN, None, &new), &Work::silent());
    let Ok(CheckoutVote::Ready(redo)) = vote else {
        panic!("{vote:?}");
    };
    let mut born = || {
        world.git(&["update-ref", MAIN, new.as_str()]);
        Ok(())
    };
    let with = (&Work::silent(), &mut born as &mut super::super::MoveRef<'_>);
    checkout.apply(&world.runner(), &redo, with).unwrap();
    checkout.discard(&Work::silent()).unwrap();
    world.assert_clean();
    assert_eq!(world.text("sub/b"), "b\n");
}

#[test]
fn a_linked_work_tree_is_as_good_as_the_main_one() {
    let mut world = World::new(&[("a", "a\n"), ("b/c", "c\n")]);
    world.git(&["switch", "-q", "-c", "other"]);
    let linked = world.real.path().join("linked");
    world.git(&["worktree", "add", "-q", linked.to_str().unwrap(), "main"]);
    world.root = linked.clone();
    assert_eq!(world.tree().root, linked);
    let new = world.commit(|root| {
        put(&root.join("a"), "b\n");
        std::fs::remove_file(root.join("b/c")).unwrap();
    });
    let main = std::fs::read(world.git_dir_of_main().join("index")).unwrap();
    world.follow(&new);
    world.assert_clean();
    assert_eq!(world.text("a"), "b\n");
    let kept = std::fs::read(world.git_dir_of_main().join("index")).unwrap();
    assert_eq!(kept, main, "the index of the other work tree");
}

#[test]
fn a_store_on_another_mount_keeps_its_files_out_of_sight() {
    let memory = Path::new("/dev/shm");
    if !memory.is_dir() {
        return;
    }
    let world = World::within(&std::env::temp_dir(), memory, &[("a", "a\n")]);
    let new = world.commit(|root| put(&root.join("b/c"), "b\n"));
    let checkout = world.checkout();
    let redo = world.ready(&checkout, &new);
    assert!(world.git_dir_of_main().join("planbox/tok-1").is_dir());
    assert_eq!(world.git(&["status", "--porcelain"]), "");
    world.apply(&checkout, &redo, &new).unwrap();
    checkout.discard(&Work::silent()).unwrap();
    world.assert_swept();
    world.assert_clean();
}

#[test]
fn line_endings_are_those_of_the_repository() {
    let world = World::new(&[("a", "one\n"), (".gitattributes", "*.unix eol=lf\n")]);
    world.git(&["config", "core.autocrlf", "true"]);
    std::fs::remove_file(world.root.join("a")).unwrap();
    world.git(&["checkout", "--", "a"]);
    assert_eq!(world.text("a"), "one\r\n", "the user's own checkout");
    let new = world.commit(|root| {
        put(&root.join("a"), "two\n");
        put(&root.join("b.unix"), "b\n");
    });
    world.follow(&new);
    assert_eq!(world.text("a"), "two\r\n");
    assert_eq!(world.text("b.unix"), "b\n");
    world.assert_clean();
}

#[test]
fn a_sparse_work_tree_stays_sparse() {
    let world = World::new(&[("in/a", "a\n"), ("out/b", "b\n"), ("top", "t\n")]);
    world.git(&["sparse-checkout", "set", "in"]);
    assert!(!world.has("out"));
    let new = world.commit(|root| {
        put(&root.join("in/a"), "a2\n");
        put(&root.join("in/new"), "n\n");
        put(&root.join("out/b"), "b2\n");
        put(&root.join("out/new"), "n\n");
        put(&root.join("far/new"), "n\n");
    });
    world.follow(&new);
    assert!(!world.has("out") && !world.has("far"));
    assert_eq!(
        (world.text("in/a"), world.text("in/new")),
        ("a2\n".into(), "n\n".into())
    );
    world.assert_clean();
}

#[test]
fn of_a_submodule_only_the_entry_follows() {
    let world = World::new(&[("a", "a\n")]);
    let commit = world.head();
    let gitlink = format!("160000,{commit},sub");
    let index = world.real.path().join("sub-index");
    let run = |args: &[&str]| world.git_with(&world.root, &[("GIT_INDEX_FILE", &index)], args);
    run(&["read-tree", MAIN]);
    run(&["update-index", "--add", "--cacheinfo", &gitlink]);
    let tree = run(&["write-tree"]);
    let new = run(&["commit-tree", &tree, "-p", MAIN, "-m", "sub"]);
    world.follow(&Oid::parse(&new).unwrap());
    assert!(world.root.join("sub").is_dir());
    assert_eq!(world.git(&["status", "--porcelain"]), "");
    assert!(world.git(&["ls-files", "-s", "sub"]).starts_with("160000"));
}

#[test]
fn nothing_that_the_repository_configures_is_run() {
    let world = World::new(&[("a.txt", "a\n"), ("b", "b\n")]);
    let canary = world.real.path().join("canary");
    let touch = format!("touch {}", canary.display());
    for name in [
        "core.fsmonitor",
        "core.pager",
        "diff.external",
        "filter.x.clean",
    ] {
        world.git(&["config", name, &touch]);
    }
    let new = world.commit(|root| put(&root.join("b"), "b2\n"));
    let hook = world.root.join(".git/hooks/post-index-change");
    put(&hook, &format!("#!/bin/sh\n{touch}\n"));
    make_executable(&hook);
    drop(std::fs::remove_file(&canary));
    world.follow(&new);
    assert!(!canary.exists());
}

#[test]
fn an_index_shared_with_a_group_stays_shared() {
    let world = World::new(&[("a", "a\n")]);
    let index = world.root.join(".git/index");
    std::fs::set_permissions(&index, std::fs::Permissions::from_mode(0o664)).unwrap();
    let new = world.commit(|root| put(&root.join("a"), "b\n"));
    world.follow(&new);
    assert_eq!(index.metadata().unwrap().mode() & 0o777, 0o664);
}

#[test]
fn files_on_another_mount_than_the_git_directory_are_staged_beside_them() {
    let memory = Path::new("/dev/shm");
    if !memory.is_dir() {
        return;
    }
    let files = Scratch::within(memory);
    let world = World::new(&[("a", "a\n"), ("dir/b", "b\n")]);
    let old = world.head();
    let git_dir = world.git_dir_of_main();
    put(&files.path().join("a"), "a\n");
    put(&files.path().join("dir/b"), "b\n");
    put(
        &files.path().join(".git"),
        &format!("gitdir: {}\n", git_dir.display()),
    );
    world.git(&["config", "core.worktree", files.path().to_str().unwrap()]);
    world.git_in(files.path(), &["update-index", "-q", "--refresh"]);
    let new = world.commit(|root| {
        put(&root.join("a"), "a2\n");
        remove_all(&root.join("dir"));
        put(&root.join("new/c"), "c\n");
    });
    let checkout = world.checkout();
    assert_eq!(checkout.tree.root, files.path());
    let redo = world.ready(&checkout, &new);
    assert!(files.path().join(".planbox/tok-1").is_dir());
    world.apply(&checkout, &redo, &new).unwrap();
    world.take_back(&checkout, &redo, &old).unwrap();
    checkout.clear().unwrap();
    assert!(!files.path().join(".planbox").exists());
    let redo = world.ready(&checkout, &new);
    world.apply(&checkout, &redo, &new).unwrap();
    checkout.discard(&Work::silent()).unwrap();
    assert!(!files.path().join(".planbox").exists() && !git_dir.join("planbox").exists());
    assert_eq!(world.git_in(files.path(), &["status", "--porcelain"]), "");
    assert_eq!(
        world.git_in(files.path(), &["diff-files", "--name-only"]),
        ""
    );
}
