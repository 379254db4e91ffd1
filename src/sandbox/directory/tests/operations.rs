//! Every kind of operation, both ways.

use super::*;
use std::os::unix::fs::symlink;

/// What the plan does, and what `diff` says then.
struct Case {
    name: &'static str,
    work: fn(&World),
    diff: &'static [&'static str],
}

/// A tree with one of everything, old enough that nothing is racy by accident.
fn furnish(world: &World) {
    world.put("a.txt", "a");
    world.put("b.txt", "b");
    world.put("sub/deep/x", "x");
    world.put("sub/y", "y");
    world.put("empty/.keep", "");
    std::fs::remove_file(world.real("empty/.keep")).unwrap();
    symlink("a.txt", world.real("link")).unwrap();
    world.put("one/name", "linked");
    std::fs::hard_link(world.real("one/name"), world.real("one/other")).unwrap();
    chmod(&world.real("b.txt"), 0o640);
    for dir in ["sub/deep", "sub", "empty", "one", "."] {
        set_mtime(&world.real(dir), 1_000_000_000);
    }
}

const CASES: &[Case] = &[
    Case {
        name: "change in place",
        work: |w| w.edit("a.txt", "changed"),
        diff: &["M a.txt file"],
    },
    Case {
        name: "new file, new directory tree, new link",
        work: |w| {
            w.edit("new.txt", "n");
            w.edit("tree/of/files", "f");
            std::fs::create_dir(w.view("tree/empty")).unwrap();
            symlink("../nowhere\n", w.view("sub/dangling")).unwrap();
        },
        diff: &[
            "A new.txt file",
            "A sub/dangling symlink",
            "A tree directory",
            "A tree/empty directory",
            "A tree/of directory",
            "A tree/of/files file",
        ],
    },
    Case {
        name: "delete a file, a link and an empty directory",
        work: |w| {
            std::fs::remove_file(w.view("a.txt")).unwrap();
            std::fs::remove_file(w.view("link")).unwrap();
            std::fs::remove_dir(w.view("empty")).unwrap();
        },
        diff: &["D a.txt file", "D empty directory", "D link symlink"],
    },
    Case {
        name: "delete a tree",
        work: |w| remove(&w.view("sub")),
        diff: &[
            "D sub directory",
            "D sub/deep directory",
            "D sub/deep/x file",
            "D sub/y file",
        ],
    },
    Case {
        name: "mode of a file and of directories",
        work: |w| {
            chmod(&w.view("a.txt"), 0o755);
            chmod(&w.view("sub"), 0o700);
            chmod(&w.view(""), 0o711);
        },
        diff: &["M . directory", "M a.txt file", "M sub directory"],
    },
    Case {
        name: "time of a file and of a directory",
        work: |w| {
            set_mtime(&w.view("a.txt"), 5);
            set_mtime(&w.view("sub"), 7);
        },
        diff: &["M a.txt file", "M sub directory"],
    },
    Case {
        name: "file becomes directory and link, directory becomes file, link becomes directory",
        work: |w| {
            std::fs::remove_file(w.view("a.txt")).unwrap();
            w.edit("a.txt/inside", "i");
            std::fs::remove_file(w.view("b.txt")).unwrap();
            symlink("/etc/passwd", w.view("b.txt")).unwrap();
            std::fs::remove_file(w.view("sub/deep/x")).unwrap();
            std::fs::remove_dir(w.view("sub/deep")).unwrap();
            w.edit("sub/deep", "now a file");
            std::fs::remove_file(w.view("link")).unwrap();
            std::fs::create_dir(w.view("link")).unwrap();
        },
        diff: &[
            "M a.txt directory",
            "A a.txt/inside file",
            "M b.txt symlink",
            "M link directory",
            "M sub/deep file",
            "D sub/deep/x file",
        ],
    },
    Case {
        name: "directory becomes link",
        work: |w| {
            std::fs::remove_dir(w.view("empty")).unwrap();
            symlink("sub", w.view("empty")).unwrap();
        },
        diff: &["M empty symlink"],
    },
    Case {
        name: "linked names change together",
        work: |w| w.edit("one/name", "both"),
        diff: &["M one/name file", "M one/other file"],
    },
    Case {
        name: "rename of a directory",
        work: |w| rename(&w.view("sub"), &w.view("moved")),
        diff: &[
            "A moved directory",
            "A moved/deep directory",
            "A moved/deep/x file",
            "A moved/y file",
            "D sub directory",
            "D sub/deep directory",
            "D sub/deep/x file",
            "D sub/y file",
        ],
    },
    Case {
        name: "a directory that its owner may not write",
        work: |w| {
            w.edit("locked/in", "in");
            chmod(&w.view("locked"), 0o555);
        },
        diff: &["A locked directory", "A locked/in file"],
    },
];

fn run(case: &Case, inside: bool) {
    let world = if inside {
        World::inside()
    } else {
        World::new()
    };
    furnish(&world);
    let old = world.before();
    let mut sandbox = world.open();
    (case.work)(&world);
    let wanted = snapshot(&world.view(""));
    let mut expected: Vec<String> = case.diff.iter().map(|&line| line.to_owned()).collect();
    let mut found = lines(&*sandbox);
    expected.sort();
    found.sort();
    assert_eq!(found, expected, "{}", case.name);

    let redo = ready(&mut *sandbox);
    assert_same(&world.before(), &old, "sealed and prepared");
    sandbox.apply(&redo, &Work::silent()).unwrap();
    assert_same(&world.before(), &wanted, case.name);
    sandbox.apply(&redo, &Work::silent()).unwrap();
    assert_same(&world.before(), &wanted, "applied again");

    let mut other = world.reopen(&*sandbox);
    other.take_back(&redo, &Work::silent()).unwrap();
    assert_same(&world.before(), &old, "taken back");
    other.take_back(&redo, &Work::silent()).unwrap();
    other.settle(&redo).unwrap();
    assert_same(&world.before(), &old, "taken back again");

    let redo = commit(&mut *other);
    assert_same(&world.before(), &wanted, "committed after all");
    other.settle(&redo).unwrap();
    other.discard(&Work::silent()).unwrap();
    other.discard(&Work::silent()).unwrap();
    assert_same(&world.before(), &wanted, "discarded");
    assert!(!world.real(".planbox").exists(), "{}", case.name);
    assert!(
        snapshot(world.store.path()).len() == 1,
        "the place is empty"
    );
}

#[test]
fn every_operation_goes_both_ways() {
    for case in CASES {
        run(case, false);
    }
}

#[test]
fn every_operation_goes_both_ways_with_staging_inside() {
    for case in CASES {
        run(case, true);
    }
}

#[test]
fn nothing_to_do_is_read_only() {
    let world = World::new();
    furnish(&world);
    let mut sandbox = world.open();
    // Touched, but the same: rewritten with the same content, time and mode.
    let stat = std::fs::metadata(world.view("a.txt")).unwrap();
    world.edit("a.txt", "a");
    let file = std::fs::File::open(world.view("a.txt")).unwrap();
    file.set_times(std::fs::FileTimes::new().set_modified(stat.modified().unwrap()))
        .unwrap();
    chmod(&world.view("b.txt"), 0o600);
    chmod(&world.view("b.txt"), 0o640);
    world.edit("passing", "by");
    std::fs::remove_file(world.view("passing")).unwrap();
    assert!(lines(&*sandbox).is_empty());
    let sealed = sandbox.seal(&Work::silent()).unwrap();
    assert!(sealed.changes.is_empty());
    assert!(matches!(
        sandbox.prepare(&Work::silent()).unwrap(),
        Vote::ReadOnly
    ));
    assert!(!world.store.path().join("staging").exists());
}

#[test]
fn a_seal_is_fixed_and_can_be_undone() {
    let world = World::new();
    furnish(&world);
    let mut sandbox = world.open();
    world.edit("a.txt", "sealed");
    let sealed = sandbox.seal(&Work::silent()).unwrap();
    let record = sandbox.record();
    assert!(record.contains("sealed"));
    // Written by a process of the plan that still runs.
    world.edit("a.txt", "too late");
    world.edit("late.txt", "late");
    assert_eq!(sandbox.seal(&Work::silent()).unwrap(), sealed);
    assert_eq!(lines(&*sandbox), ["M a.txt file"]);
    let mut other = world.reopen(&*sandbox);
    commit(&mut *other);
    assert_eq!(std::fs::read(world.real("a.txt")).unwrap(), b"sealed");
    assert!(!world.real("late.txt").exists());

    let world = World::new();
    furnish(&world);
    let mut sandbox = world.open();
    world.edit("a.txt", "sealed");
    let first = sandbox.seal(&Work::silent()).unwrap();
    sandbox.unseal().unwrap();
    sandbox.unseal().unwrap();
    assert!(!world.store.path().join("staging").exists());
    assert_eq!(sandbox.seal(&Work::silent()).unwrap().digest, first.digest);
    sandbox.unseal().unwrap();
    world.edit("a.txt", "more");
    assert_ne!(sandbox.seal(&Work::silent()).unwrap().digest, first.digest);
    commit(&mut *sandbox);
    assert_eq!(std::fs::read(world.real("a.txt")).unwrap(), b"more");
}

#[test]
fn links_stay_linked_and_a_broken_one_is_noted() {
    let world = World::new();
    furnish(&world);
    let mut sandbox = world.open();
    // A new name of an old file: both are staged, linked.
    std::fs::hard_link(world.view("a.txt"), world.view("a2.txt")).unwrap();
    // One name of a linked pair is replaced: the other keeps the old content.
    std::fs::remove_file(world.view("one/name")).unwrap();
    world.edit("one/name", "alone");
    let notes = sandbox.diff(&Work::silent()).unwrap().notes;
    assert!(notes.iter().any(|n| n.contains("link broken: one/name")));
    commit(&mut *sandbox);
    let ino = |path: &str| std::fs::metadata(world.real(path)).unwrap().ino();
    assert_eq!(ino("a.txt"), ino("a2.txt"));
    assert_eq!(std::fs::read(world.real("one/name")).unwrap(), b"alone");
    assert_eq!(std::fs::read(world.real("one/other")).unwrap(), b"linked");
}

#[test]
fn an_open_mapping_or_descriptor_keeps_the_old_file() {
    let world = World::new();
    furnish(&world);
    let mut sandbox = world.open();
    let held = std::fs::File::open(world.real("a.txt")).unwrap();
    world.edit("a.txt", "new");
    commit(&mut *sandbox);
    let mut text = String::new();
    std::io::Read::read_to_string(&mut &held, &mut text).unwrap();
    assert_eq!(text, "a");
}

#[test]
fn attributes_and_holes_are_kept() {
    let world = World::new();
    furnish(&world);
    let mut sandbox = world.open();
    let view = Dir::open(&world.view("")).unwrap();
    let wanted = crate::fs::Xattrs {
        carried: vec![(b"user.planbox".to_vec(), b"\xff\0v".to_vec())],
        has_capability: false,
    };
    let sparse = view.create_file("sparse".as_ref(), 0o604).unwrap();
    sparse.set_len(1 << 30).unwrap();
    let sub = view.child("sub".as_ref()).unwrap();
    if crate::fs::write_xattrs(&sparse, &wanted).is_err() {
        skip("no user attributes here");
        return;
    }
    crate::fs::write_xattrs(&sub, &wanted).unwrap();
    let redo = commit(&mut *sandbox);
    let real = std::fs::File::open(world.real("sparse")).unwrap();
    assert_eq!(read_xattrs(&real).unwrap(), wanted);
    assert!(real.metadata().unwrap().blocks() < 1_000);
    assert_eq!(real.metadata().unwrap().mode() & 0o7777, 0o604);
    let sub = Dir::open(&world.real("sub")).unwrap();
    assert_eq!(read_xattrs(&sub).unwrap(), wanted);
    sandbox.take_back(&redo, &Work::silent()).unwrap();
    assert!(read_xattrs(&sub).unwrap().carried.is_empty());
}
