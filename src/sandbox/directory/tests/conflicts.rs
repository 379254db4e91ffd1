//! Somebody else changes what the plan touched: nothing of theirs is lost, whenever it happens.

use super::*;
use std::os::unix::fs::symlink;

fn furnish(world: &World) {
    for name in ["a", "b", "c", "d", "sub/x", "sub/y", "dir/in"] {
        world.put(name, name);
    }
}

/// One foreign change against one change of the plan: the places that conflict.
type Case = (
    &'static str,
    fn(&World),
    fn(&World),
    &'static [&'static str],
);

const CASES: &[Case] = &[
    (
        "both edit",
        |w| w.edit("a", "ours"),
        |w| w.put("a", "theirs!"),
        &["a"],
    ),
    (
        "they edit and set size and time back",
        |w| w.edit("a", "ours"),
        |w| {
            let old = std::fs::metadata(w.real("a")).unwrap().modified().unwrap();
            w.put("a", "A");
            let file = std::fs::File::open(w.real("a")).unwrap();
            file.set_times(std::fs::FileTimes::new().set_modified(old))
                .unwrap();
        },
        &["a"],
    ),
    (
        "they replace by rename",
        |w| w.edit("a", "ours"),
        |w| {
            w.put("tmp", "a");
            rename(&w.real("tmp"), &w.real("a"));
        },
        &["a"],
    ),
    (
        "they remove what we edit",
        |w| w.edit("a", "ours"),
        |w| std::fs::remove_file(w.real("a")).unwrap(),
        &["a"],
    ),
    (
        "they edit what we delete",
        |w| std::fs::remove_file(w.view("a")).unwrap(),
        |w| w.put("a", "theirs"),
        &["a"],
    ),
    (
        "both create, and they chmod what we edit",
        |w| {
            w.edit("new", "ours");
            w.edit("b", "ours");
        },
        |w| {
            w.put("new", "theirs");
            chmod(&w.real("b"), 0o600);
        },
        &["b", "new"],
    ),
    (
        "they put a dangling link where we create",
        |w| w.edit("new", "ours"),
        |w| symlink("/nowhere", w.real("new")).unwrap(),
        &["new"],
    ),
    (
        "they add to a tree that we delete",
        |w| remove(&w.view("sub")),
        |w| w.put("sub/more", "theirs"),
        &["sub/more"],
    ),
    (
        "they remove, edit and add below a tree that we replace",
        |w| {
            remove(&w.view("sub"));
            w.edit("sub", "a file");
        },
        |w| {
            std::fs::remove_file(w.real("sub/x")).unwrap();
            w.put("sub/y", "edited");
            w.put("sub/.git/new", "excluded, but theirs");
        },
        &["sub/.git", "sub/x", "sub/y"],
    ),
    (
        "they move the directory in which we edit",
        |w| {
            w.edit("sub/x", "ours");
            w.edit("sub/new", "ours");
            std::fs::remove_file(w.view("sub/y")).unwrap();
        },
        |w| {
            rename(&w.real("sub"), &w.real("elsewhere"));
            w.put("sub/x", "another");
        },
        &["sub/new", "sub/x", "sub/y"],
    ),
    (
        "they put a link where our directory was",
        |w| w.edit("sub/x", "ours"),
        |w| {
            rename(&w.real("sub"), &w.real("elsewhere"));
            symlink("elsewhere", w.real("sub")).unwrap();
        },
        &["sub/x"],
    ),
    (
        "both set the mode of a directory",
        |w| chmod(&w.view("sub"), 0o700),
        |w| chmod(&w.real("sub"), 0o750),
        &["sub"],
    ),
];

#[test]
fn a_conflict_is_found_before_anything_is_written() {
    for (name, ours, theirs, places) in CASES {
        for inside in [false, true] {
            let world = if inside {
                World::inside()
            } else {
                World::new()
            };
            furnish(&world);
            let mut sandbox = world.open();
            ours(&world);
            theirs(&world);
            let before = world.before();
            assert_eq!(&conflicting(&mut *sandbox), places, "{name}");
            assert_same(&world.before(), &before, name);
            // The work is kept, and can be looked at.
            assert!(!lines(&*sandbox).is_empty());
            sandbox.discard(&Work::silent()).unwrap();
            assert_same(&world.before(), &before, name);
        }
    }
}

#[test]
fn what_the_plan_did_not_touch_is_kept_as_others_left_it() {
    let world = World::new();
    furnish(&world);
    let mut sandbox = world.open();
    world.edit("a", "ours");
    world.edit("sub/new", "ours");
    std::fs::remove_file(world.view("c")).unwrap();
    remove(&world.view("dir"));
    world.put("b", "theirs");
    world.put("sub/x", "theirs");
    world.put("sub/other", "theirs");
    std::fs::remove_file(world.real("d")).unwrap();
    let redo = commit(&mut *sandbox);
    let read = |path: &str| std::fs::read_to_string(world.real(path)).ok();
    for (path, content) in [
        ("a", Some("ours")),
        ("sub/new", Some("ours")),
        ("c", None),
        ("dir", None),
        ("b", Some("theirs")),
        ("sub/x", Some("theirs")),
        ("sub/other", Some("theirs")),
        ("d", None),
    ] {
        assert_eq!(read(path).as_deref(), content, "{path}");
    }
    sandbox.take_back(&redo, &Work::silent()).unwrap();
    assert_eq!(read("a").as_deref(), Some("a"));
    assert_eq!(read("c").as_deref(), Some("c"));
    assert_eq!(read("dir/in").as_deref(), Some("dir/in"));
    assert_eq!(read("sub/other").as_deref(), Some("theirs"));
    assert_eq!(read("sub/new"), None);
}

#[test]
fn a_change_between_prepare_and_apply_is_put_back_and_the_rest_taken_back() {
    for (name, ours, theirs, _) in CASES {
        let world = World::new();
        furnish(&world);
        let mut sandbox = world.open();
        ours(&world);
        // One more operation, which is carried out before or after the conflicting one.
        world.edit("0-first", "ours");
        world.edit("zz-last", "ours");
        let redo = ready(&mut *sandbox);
        theirs(&world);
        let before = names_and_contents(&world);
        let error = sandbox.apply(&redo, &Work::silent()).unwrap_err();
        assert_eq!(error.fault, Fault::Conflict, "{name}: {error}");
        assert!(!error.conflicts.is_empty(), "{name}");
        sandbox.take_back(&redo, &Work::silent()).unwrap();
        assert_eq!(names_and_contents(&world), before, "{name}");
        sandbox.unseal().unwrap();
    }
}

fn names_and_contents(world: &World) -> Vec<(String, String)> {
    world
        .before()
        .into_iter()
        .map(|(path, line)| {
            // Names came and went, so the times of directories may differ.
            let line = if line.starts_with("dir") {
                line.split(" mtime").next().unwrap().to_owned()
            } else {
                line
            };
            (path, line)
        })
        .collect()
}

#[test]
fn a_change_after_apply_is_kept_and_reported_as_a_hazard() {
    let world = World::new();
    furnish(&world);
    let mut sandbox = world.open();
    for name in ["a", "b", "new/in", "new2"] {
        world.edit(name, "ours");
    }
    std::fs::remove_file(world.view("c")).unwrap();
    std::fs::remove_file(world.view("d")).unwrap();
    chmod(&world.view("sub"), 0o700);
    let redo = commit(&mut *sandbox);
    world.put("a", "theirs");
    world.put("new/more", "theirs");
    world.put("c", "theirs");
    chmod(&world.real("sub"), 0o750);
    for _ in 0..2 {
        let error = sandbox.take_back(&redo, &Work::silent()).unwrap_err();
        assert_eq!(error.fault, Fault::Hazard);
        let mut places: Vec<_> = error.conflicts.iter().map(|c| c.place.as_str()).collect();
        places.sort_unstable();
        assert_eq!(places, ["a", "c", "new", "sub"]);
        let text = error.to_string();
        assert!(
            text.contains("staging/new/") && text.contains("staging/old/"),
            "{text}"
        );
    }
    let read = |path: &str| std::fs::read_to_string(world.real(path)).ok();
    assert_eq!(read("a").as_deref(), Some("theirs"));
    assert_eq!(read("new/more").as_deref(), Some("theirs"));
    assert_eq!(read("c").as_deref(), Some("theirs"));
    assert_eq!(read("b").as_deref(), Some("b"), "the others are taken back");
    assert_eq!(read("d").as_deref(), Some("d"));
    assert_eq!(read("new2"), None);
    // The originals are still there, so nothing may throw them away unasked.
    fault(sandbox.unseal(), Fault::Hazard);
}

#[test]
fn a_foreign_removal_after_apply_leaves_nothing_to_take_back() {
    let world = World::new();
    furnish(&world);
    let old = names_and_contents(&world);
    let mut sandbox = world.open();
    world.edit("new", "ours");
    let redo = commit(&mut *sandbox);
    std::fs::remove_file(world.real("new")).unwrap();
    sandbox.take_back(&redo, &Work::silent()).unwrap();
    assert_eq!(names_and_contents(&world), old);
}

#[test]
fn a_second_plan_sees_what_the_first_committed() {
    let world = World::new();
    furnish(&world);
    let other = Scratch::new();
    let place = Place {
        dir: other.path().to_path_buf(),
        token: "tok-2".to_owned(),
        label: "a plan".to_owned(),
    };
    let mut first = world.open();
    let mut second = world.directory().open(&place, &Work::silent()).unwrap();
    world.edit("a", "first");
    world.edit("b", "first");
    write(&other.path().join("view/b"), b"second");
    write(&other.path().join("view/c"), b"second");
    commit(&mut *first);
    assert_eq!(conflicting(&mut *second), ["b"]);
    second.unseal().unwrap();
    // Removing it is a change too.
    std::fs::remove_file(other.path().join("view/b")).unwrap();
    assert_eq!(conflicting(&mut *second), ["b"]);
}
