//! Crashes, take-backs, and users who go on working meanwhile.

use super::*;
use std::panic::{AssertUnwindSafe, catch_unwind};

const FILES: &[(&str, &str)] = &[
    ("a", "a\n"),
    ("gone", "gone\n"),
    ("dir/x", "x\n"),
    ("dir/y", "y\n"),
    ("kept", "kept\n"),
];

fn edit(root: &Path) {
    put(&root.join("a"), "a2\n");
    put(&root.join("new/deep"), "new\n");
    std::fs::remove_file(root.join("gone")).unwrap();
    remove_all(&root.join("dir"));
    link("a", &root.join("dir"));
}

/// Dies in the middle of an apply, with the reference moved or not.
fn die(world: &World, checkout: &Checkout, redo: &CheckoutRedo, moved: Option<&Oid>) {
    let old = world.head();
    let mut step = || -> Outcome<()> {
        if let Some(new) = moved {
            world.move_ref(&old, new);
        }
        panic!("killed");
    };
    let died = catch_unwind(AssertUnwindSafe(|| {
        checkout.apply(&world.runner(), redo, (&Work::silent(), &mut step))
    }));
    assert!(died.is_err());
    assert!(checkout.tree.git_dir.join("index.lock").exists());
}

#[test]
fn a_take_back_restores_files_index_and_branch_byte_for_byte() {
    let world = World::new(FILES);
    let old = world.head();
    let new = world.commit(edit);
    world.put("kept", "dirty\n");
    let before = world.manifest();
    let checkout = world.checkout();
    let redo = world.ready(&checkout, &new);
    assert_eq!(world.manifest(), before, "prepare changes nothing real");
    world.apply(&checkout, &redo, &new).unwrap();
    assert_ne!(world.manifest(), before);
    for _ in 0..2 {
        world.take_back(&checkout, &redo, &old).unwrap();
        assert_eq!(world.manifest(), before);
    }
    checkout.settle(&redo).unwrap();
    checkout.clear().unwrap();
    world.assert_swept();
    assert_eq!(world.manifest(), before);
    world.follow(&new);
}

#[test]
fn a_reference_that_cannot_move_leaves_everything_to_the_take_back() {
    let world = World::new(FILES);
    let new = world.commit(edit);
    let before = world.manifest();
    let checkout = world.checkout();
    let redo = world.ready(&checkout, &new);
    let mut fails = || Err(failure());
    let failed = checkout.apply(&world.runner(), &redo, (&Work::silent(), &mut fails));
    assert_eq!(fault(failed), Fault::Io);
    assert!(!world.root.join(".git/index.lock").exists());
    let mut back = || Ok(());
    let taken = checkout.take_back(&world.runner(), &redo, (&Work::silent(), &mut back));
    taken.unwrap();
    assert_eq!(world.manifest(), before);
}

#[test]
fn a_killed_apply_is_finished_by_another_process() {
    for moved in [false, true] {
        let world = World::new(FILES);
        let new = world.commit(edit);
        let checkout = world.checkout();
        let redo = world.ready(&checkout, &new);
        let redo = serde_json::to_string(&redo).unwrap();
        let redo: CheckoutRedo = serde_json::from_str(&redo).unwrap();
        die(&world, &checkout, &redo, moved.then_some(&new));
        let add = Command::new("git")
            .current_dir(&world.root)
            .args(["add", "kept"])
            .output();
        assert!(
            !add.unwrap().status.success(),
            "the user is kept out meanwhile"
        );
        let again = Checkout::new(&world.place(), &checkout.tree);
        let mut step = || {
            if world.head() != new {
                world.move_ref(&world.head(), &new);
            }
            Ok(())
        };
        for _ in 0..2 {
            again
                .apply(&world.runner(), &redo, (&Work::silent(), &mut step))
                .unwrap();
            world.assert_clean();
        }
        again.settle(&redo).unwrap();
        again.discard(&Work::silent()).unwrap();
        world.assert_swept();
    }
}

#[test]
fn a_killed_apply_is_taken_back_by_another_process() {
    let world = World::new(FILES);
    let old = world.head();
    let new = world.commit(edit);
    let before = world.manifest();
    let checkout = world.checkout();
    let redo = world.ready(&checkout, &new);
    die(&world, &checkout, &redo, Some(&new));
    let again = Checkout::new(&world.place(), &checkout.tree);
    world.take_back(&again, &redo, &old).unwrap();
    assert_eq!(world.manifest(), before);
    again.discard(&Work::silent()).unwrap();
    world.assert_swept();
}

#[test]
fn an_apply_killed_before_the_index_goes_on_with_it() {
    let world = World::new(FILES);
    let new = world.commit(edit);
    let checkout = world.checkout();
    let redo = world.ready(&checkout, &new);
    let home = redo.home();
    let lock = world.root.join(".git/index.lock");
    // What a process has done that dies between the files and the index, in the middle of writing.
    std::fs::hard_link(home.join("lock"), &lock).unwrap();
    std::fs::remove_file(home.join("lock")).unwrap();
    std::fs::hard_link(home.join("undecided"), home.join("go")).unwrap();
    std::fs::remove_file(home.join("undecided")).unwrap();
    let given = redo.tree.as_ref().unwrap();
    let mut files = checkout.part(&home, given).unwrap();
    files.apply(&given.redo, &Work::silent()).unwrap();
    let next = std::fs::File::options()
        .write(true)
        .open(home.join("index.next"));
    std::os::unix::fs::FileExt::write_at(&next.unwrap(), &[0xff; 40], 0).unwrap();
    world.apply(&checkout, &redo, &new).unwrap();
    world.assert_clean();
    assert!(!lock.exists());
}

#[test]
fn a_branch_switched_before_prepare_leaves_the_tree_alone() {
    let world = World::new(FILES);
    let new = world.commit(edit);
    let checkout = world.checkout();
    world.git(&["switch", "-q", "-c", "other"]);
    let before = world.manifest();
    let vote = world.prepare(&checkout, &new).unwrap();
    assert!(matches!(vote, CheckoutVote::Nothing), "{vote:?}");
    assert_eq!(world.manifest(), before);
    assert_eq!(
        WorkTree::find(&world.git_dir_of_main(), MAIN).unwrap(),
        None
    );
}

#[test]
fn a_branch_switched_after_prepare_leaves_the_tree_alone_for_good() {
    let world = World::new(FILES);
    let old = world.head();
    let new = world.commit(edit);
    let checkout = world.checkout();
    let redo = world.ready(&checkout, &new);
    world.git(&["switch", "-q", "-c", "other"]);
    die(&world, &checkout, &redo, Some(&new));
    assert_eq!(world.text("a"), "a\n");
    // The machine of the user is started again, and they go back before the plan is recovered.
    std::fs::remove_file(world.root.join(".git/index.lock")).unwrap();
    world.git(&["switch", "-q", "main"]);
    let mut done = || Ok(());
    checkout
        .apply(&world.runner(), &redo, (&Work::silent(), &mut done))
        .unwrap();
    world.assert_clean();
    assert_eq!(world.text("a"), "a2\n");
    world.git(&["switch", "-q", "other"]);
    world.take_back(&checkout, &redo, &old).unwrap();
    assert_eq!((world.text("a"), world.head()), ("a\n".into(), old));
    assert_eq!(world.git(&["status", "--porcelain"]), "");
}

#[test]
fn a_status_of_the_user_at_any_time_is_no_change() {
    let world = World::new(FILES);
    let old = world.head();
    let new = world.commit(edit);
    let checkout = world.checkout();
    let touch = || {
        let now = std::fs::File::options()
            .write(true)
            .open(world.root.join("kept"))
            .unwrap();
        now.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        drop(world.git(&["update-index", "--really-refresh"]));
        let later = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(9);
        now.set_modified(later).unwrap();
        let index = |world: &World| world.root.join(".git/index").metadata().unwrap().ino();
        let before = index(&world);
        drop(world.git(&["status", "--porcelain"]));
        assert_ne!(index(&world), before, "the index was written again");
    };
    let redo = world.ready(&checkout, &new);
    touch();
    world.apply(&checkout, &redo, &new).unwrap();
    world.assert_clean();
    touch();
    for _ in 0..2 {
        world.take_back(&checkout, &redo, &old).unwrap();
        assert_eq!(world.git(&["status", "--porcelain"]), "");
        assert_eq!((world.text("a"), world.has("new")), ("a\n".into(), false));
    }
    checkout.clear().unwrap();
    world.follow(&new);
    world.assert_clean();
}

#[test]
fn what_the_user_does_after_the_apply_is_a_hazard_and_kept() {
    let world = World::new(FILES);
    let old = world.head();
    let new = world.commit(edit);
    let checkout = world.checkout();
    let redo = world.ready(&checkout, &new);
    world.apply(&checkout, &redo, &new).unwrap();
    world.put("a", "mine\n");
    world.put("staged", "mine\n");
    world.git(&["add", "staged"]);
    let taken = world.take_back(&checkout, &redo, &old);
    assert_eq!(fault(taken), Fault::Hazard);
    assert_eq!(
        (world.text("a"), world.text("gone")),
        ("mine\n".into(), "gone\n".into())
    );
    assert!(world.git(&["ls-files", "staged"]) == "staged");
    assert!(!world.root.join(".git/index.lock").exists());
    assert_eq!(fault(checkout.clear()), Fault::Hazard);
    let mut back = || Ok(());
    let work = Work::silent().keeping_theirs(true);
    checkout
        .take_back(&world.runner(), &redo, (&work, &mut back))
        .unwrap();
    assert_eq!(world.text("a"), "mine\n");
    checkout.discard(&Work::silent()).unwrap();
    world.assert_swept();
}

#[test]
fn a_linked_work_tree_that_was_removed_meanwhile_is_none() {
    let mut world = World::new(FILES);
    world.git(&["switch", "-q", "-c", "other"]);
    let linked = world.real.path().join("linked");
    world.git(&["worktree", "add", "-q", linked.to_str().unwrap(), "main"]);
    let new = world.commit(edit);
    let checkout = world.checkout();
    let redo = world.ready(&checkout, &new);
    world.git(&["worktree", "remove", linked.to_str().unwrap()]);
    world.apply(&checkout, &redo, &new).unwrap();
    checkout.settle(&redo).unwrap();
    checkout.discard(&Work::silent()).unwrap();
    world.root = linked;
    assert!(!world.root.exists());
    assert!(!world.store.path().join("checkout").exists());
}
