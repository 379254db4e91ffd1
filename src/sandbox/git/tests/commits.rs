//! Commits, merges, conflicts and undoing.

use super::*;
use crate::sandbox::Action;

#[test]
fn a_branch_that_nobody_has_checked_out_gets_one_commit() {
    let world = World::new();
    let base = world.git(&["rev-parse", "main"]);
    let resource = world
        .resource()
        .message("hello\n\nworld")
        .author("Bob", "bob@x");
    let mut sandbox = world.open_as("one", &resource);
    edit(&*sandbox, "a.txt", "changed\n");
    edit(&*sandbox, "new/deep.txt", "new\n");
    std::fs::remove_file(sandbox.path().unwrap().join("dir/b.txt")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", sandbox.path().unwrap().join("link")).unwrap();
    let before = world.state();
    let diff = sandbox.diff(&work()).unwrap();
    let told: Vec<_> = diff
        .entries
        .iter()
        .map(|c| (c.path.as_str(), c.action, c.bytes))
        .collect();
    assert_eq!(
        told,
        [
            ("a.txt", Action::Modified, 8),
            ("dir/b.txt", Action::Removed, 0),
            ("link", Action::Added, 11),
            ("new/deep.txt", Action::Added, 4),
        ]
    );
    let redo = prepared(&mut *sandbox);
    let ours = world.git(&["for-each-ref", "--format=%(refname)", "refs/planbox"]);
    assert_eq!(ours, "refs/planbox/one/commit");
    assert_eq!(
        world.git(&["rev-parse", "main"]),
        base,
        "nothing real before apply"
    );
    sandbox.apply(&redo, &work()).unwrap();
    sandbox.apply(&redo, &work()).unwrap();
    sandbox.settle(&redo).unwrap();
    sandbox.discard(&work()).unwrap();
    sandbox.discard(&work()).unwrap();
    assert_ne!(world.state(), before);
    assert_eq!(world.git(&["show", "main:a.txt"]), "changed");
    assert_eq!(world.git(&["show", "main:link"]), "/etc/passwd");
    assert_eq!(world.git(&["rev-parse", "main^"]), base);
    let who = world.git(&["log", "-1", "--format=%an <%ae> %cn <%ce>|%B", "main"]);
    assert_eq!(who, "Bob <bob@x> Bob <bob@x>|hello\n\nworld");
    let log = world.git(&["reflog", "-1", "main"]);
    assert!(log.ends_with("planbox: plan one"), "{log}");
    world.no_refs_of_ours();
    assert_eq!(
        world.git(&["status", "--porcelain"]),
        "",
        "the checkout of trunk is untouched"
    );
}

#[test]
fn a_moved_branch_is_merged_and_the_history_stays_a_line() {
    let world = World::new();
    let mut sandbox = world.open();
    edit(&*sandbox, "a.txt", "one\ntwo\nTHREE\n");
    world.move_main("theirs.txt", "theirs\n");
    let theirs = world.git(&["rev-parse", "main"]);
    commit(&mut *sandbox);
    assert_eq!(
        world
            .git(&["rev-list", "--parents", "-1", "main"])
            .split(' ')
            .nth(1),
        Some(&*theirs)
    );
    assert_eq!(world.git(&["show", "main:a.txt"]), "one\ntwo\nTHREE");
    assert_eq!(world.git(&["show", "main:theirs.txt"]), "theirs");
    sandbox.discard(&work()).unwrap();
    world.no_refs_of_ours();
}

#[test]
fn a_conflict_names_every_path_and_changes_nothing() {
    let world = World::new();
    let mut sandbox = world.open();
    edit(&*sandbox, "a.txt", "ours\n");
    std::fs::remove_file(sandbox.path().unwrap().join("dir/b.txt")).unwrap();
    world.move_main("a.txt", "theirs\n");
    world.move_main("dir/b.txt", "theirs too\n");
    let before = world.state();
    let found = conflicts(&mut *sandbox);
    let told: Vec<_> = found.iter().map(|c| c.place.as_str()).collect();
    assert_eq!(told, ["a.txt", "dir/b.txt"]);
    assert!(found[0].theirs.starts_with("a file (") && found[0].theirs != found[0].ours);
    assert_eq!(found[1].ours, "nothing");
    sandbox.stand_down();
    sandbox.unseal().unwrap();
    assert_eq!(world.state(), before);
    sandbox.discard(&work()).unwrap();
    assert_eq!(world.state(), before);
}

#[test]
fn a_branch_that_is_gone_or_rewritten_is_not_overwritten() {
    let world = World::new();
    let mut sandbox = world.open();
    edit(&*sandbox, "a.txt", "ours\n");
    world.git(&["branch", "-D", "main"]);
    let found = conflicts(&mut *sandbox);
    assert_eq!(
        (found[0].place.as_str(), found[0].theirs.as_str()),
        ("refs/heads/main", "gone")
    );
    // Another history that does not contain the base: still three ways.
    world.git(&["checkout", "-q", "--orphan", "fresh"]);
    world.git(&["commit", "-qm", "fresh start"]);
    world.git(&["branch", "-f", "main", "fresh"]);
    world.git(&["checkout", "-q", "trunk"]);
    let redo = prepared(&mut *sandbox);
    sandbox.apply(&redo, &work()).unwrap();
    assert_eq!(world.git(&["show", "main:a.txt"]), "ours");
    assert_eq!(
        world.git(&["log", "-1", "--format=%s", "main^"]),
        "fresh start"
    );
    sandbox.discard(&work()).unwrap();
}

#[test]
fn apply_never_overwrites_and_counts_what_was_built_on_top() {
    let world = World::new();
    let mut sandbox = world.open();
    edit(&*sandbox, "a.txt", "ours\n");
    let redo = prepared(&mut *sandbox);
    world.move_main("theirs.txt", "theirs\n");
    let theirs = world.git(&["rev-parse", "main"]);
    let refused = sandbox.apply(&redo, &work()).unwrap_err();
    assert_eq!(
        (refused.fault, refused.conflicts.len()),
        (Fault::Conflict, 1)
    );
    sandbox.take_back(&redo, &work()).unwrap();
    assert_eq!(
        world.git(&["rev-parse", "main"]),
        theirs,
        "nothing of ours was there"
    );
    let redo = prepared(&mut *sandbox);
    sandbox.apply(&redo, &work()).unwrap();
    world.move_main("more.txt", "on top\n");
    let top = world.git(&["rev-parse", "main"]);
    let mut again = reopened(&*sandbox, &world.place("one"));
    again.apply(&redo, &work()).unwrap();
    let hazard = again.take_back(&redo, &work()).unwrap_err();
    assert_eq!(hazard.fault, Fault::Hazard);
    again
        .take_back(&redo, &work().keeping_theirs(true))
        .unwrap();
    assert_eq!(world.git(&["rev-parse", "main"]), top);
    again.discard(&work()).unwrap();
}

#[test]
fn take_back_puts_the_branch_where_it_was() {
    let world = World::new();
    let base = world.git(&["rev-parse", "main"]);
    let mut sandbox = world.open();
    edit(&*sandbox, "a.txt", "ours\n");
    let redo = prepared(&mut *sandbox);
    sandbox.take_back(&redo, &work()).unwrap();
    sandbox.apply(&redo, &work()).unwrap();
    let mut other = reopened(&*sandbox, &world.place("one"));
    other.take_back(&redo, &work()).unwrap();
    other.take_back(&redo, &work()).unwrap();
    assert_eq!(world.git(&["rev-parse", "main"]), base);
    other.unseal().unwrap();
    world.no_refs_of_ours();
    // The plan goes on and commits after all.
    edit(&*other, "a.txt", "ours again\n");
    commit(&mut *other);
    assert_eq!(world.git(&["show", "main:a.txt"]), "ours again");
}

#[test]
fn what_is_sealed_is_committed_whatever_the_view_becomes() {
    let world = World::new();
    let mut sandbox = world.open();
    edit(&*sandbox, "a.txt", "sealed\n");
    let sealed = sandbox.seal(&work()).unwrap();
    edit(&*sandbox, "a.txt", "later\n");
    edit(&*sandbox, "late.txt", "late\n");
    let mut other = reopened(&*sandbox, &world.place("one"));
    assert_eq!(other.seal(&work()).unwrap(), sealed);
    assert_eq!(other.diff(&work()).unwrap(), sealed.changes);
    commit(&mut *other);
    assert_eq!(world.git(&["show", "main:a.txt"]), "sealed");
    assert!(
        !raw(&world.repo(), &["cat-file", "-e", "main:late.txt"])
            .status
            .success()
    );
}

#[test]
fn nothing_changed_is_nothing_to_do() {
    let world = World::new();
    let mut sandbox = world.open();
    assert!(sandbox.diff(&work()).unwrap().is_empty());
    sandbox.seal(&work()).unwrap();
    assert!(matches!(sandbox.prepare(&work()).unwrap(), Vote::ReadOnly));
    sandbox.unseal().unwrap();
    // The same change, made by somebody else meanwhile.
    edit(&*sandbox, "a.txt", "same\n");
    world.move_main("a.txt", "same\n");
    sandbox.seal(&work()).unwrap();
    assert!(matches!(sandbox.prepare(&work()).unwrap(), Vote::ReadOnly));
}

#[test]
fn a_collection_of_garbage_takes_nothing_that_is_needed() {
    let world = World::new();
    world.move_main("only.txt", "only on main\n");
    let mut sandbox = world.open();
    let base = world.git(&["rev-parse", "main"]);
    edit(&*sandbox, "a.txt", "ours\n");
    let collect = || {
        world.git(&["reflog", "expire", "--expire=now", "--all"]);
        world.git(&["gc", "-q", "--prune=now"]);
    };
    // The base is nobody's any more.
    world.git(&["branch", "-f", "main", "trunk"]);
    collect();
    assert!(
        !raw(&world.repo(), &["cat-file", "-e", &base])
            .status
            .success()
    );
    sandbox.diff(&work()).unwrap();
    let redo = prepared(&mut *sandbox);
    collect();
    sandbox.apply(&redo, &work()).unwrap();
    assert_eq!(world.git(&["show", "main:a.txt"]), "ours");
    assert!(
        !raw(&world.repo(), &["cat-file", "-e", "main:only.txt"])
            .status
            .success()
    );
    sandbox.discard(&work()).unwrap();
}

#[test]
fn many_files_travel_as_one_pack() {
    let world = World::new();
    let mut sandbox = world.open();
    for number in 0..200 {
        edit(
            &*sandbox,
            &format!("many/{number}.txt"),
            &format!("{number}\n"),
        );
    }
    let flushes = crate::fs::flushes();
    commit(&mut *sandbox);
    assert!(crate::fs::flushes() > flushes);
    assert_eq!(
        world
            .git(&["ls-tree", "-r", "--name-only", "main", "many"])
            .lines()
            .count(),
        200
    );
    let packs = std::fs::read_dir(world.repo().join(".git/objects/pack")).unwrap();
    assert!(packs.count() >= 2);
}
