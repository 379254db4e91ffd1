//! Trees and names of every shape.

use super::*;
use crate::fs::testing::{make_deep, make_wide};
use std::ffi::OsStr;
use std::os::unix::fs::symlink;

const NAMES: &[&[u8]] = &[
    b"tab\there",
    b"new\nline",
    b"\x1b[31mred",
    b"\xff\xfe",
    b"-rf",
    b" ",
    b"trailing ",
    b"dot.",
    b"*",
    b"$(x)",
    b"%s%n",
    b"\"quoted\"",
    b"back\\slash",
    b"gr\xc3\xbcn",
];

#[test]
fn any_name_can_be_created_changed_and_deleted() {
    let long = [b'x'; 255];
    let names: Vec<&OsStr> = NAMES
        .iter()
        .copied()
        .chain([&long[..]])
        .map(OsStr::from_bytes)
        .collect();
    let world = World::new();
    for (number, name) in names.iter().enumerate() {
        match number % 3 {
            0 => world.put(name, "changed"),
            1 => world.put(Path::new(name).join("below"), "deleted"),
            _ => {}
        }
    }
    let old = world.before();
    let mut sandbox = world.open();
    for (number, name) in names.iter().enumerate() {
        match number % 3 {
            0 => world.edit(name, "new content"),
            1 => remove(&world.view(name)),
            _ => symlink(name, world.view(name)).unwrap(),
        }
    }
    let new = snapshot(&world.view(""));
    for change in sandbox.diff(&Work::silent()).unwrap().entries {
        assert!(!change.path.chars().any(char::is_control), "{change:?}");
    }
    let redo = commit(&mut *sandbox);
    assert_same(&world.before(), &new, "committed");
    sandbox.take_back(&redo, &Work::silent()).unwrap();
    assert_same(&world.before(), &old, "taken back");
}

#[test]
fn a_whole_new_tree_of_twenty_thousand_levels_is_one_operation() {
    const DEPTH: usize = 20_000;
    // On a small stack: nothing may recurse.
    let deep = || {
        let world = World::in_memory();
        let mut sandbox = world.open();
        make_deep(&Dir::open(&world.view("")).unwrap(), DEPTH);
        let changes = sandbox.diff(&Work::silent()).unwrap();
        assert!(changes.notes.iter().any(|note| note.contains("not listed")));
        let redo = ready(&mut *sandbox);
        assert!(redo.0.contains("\"ops\":1,"), "{}", redo.0);
        sandbox.apply(&redo, &Work::silent()).unwrap();
        assert!(world.real("d/d/d").exists());
        sandbox.take_back(&redo, &Work::silent()).unwrap();
        assert!(!world.real("d").exists());
        commit(&mut *sandbox);
        sandbox.discard(&Work::silent()).unwrap();

        let mut sandbox = world.open();
        remove(&world.view("d"));
        let redo = commit(&mut *sandbox);
        assert!(!world.real("d").exists());
        sandbox.take_back(&redo, &Work::silent()).unwrap();
        assert!(world.real("d/d/d").exists());
        sandbox.discard(&Work::silent()).unwrap();
    };
    std::thread::scope(|scope| {
        let small = std::thread::Builder::new().stack_size(512 * 1024);
        small.spawn_scoped(scope, deep).unwrap().join().unwrap();
    });
}

#[test]
fn a_wide_directory_is_replaced_and_removed() {
    let world = World::new();
    let wide = world.real.sub("wide");
    make_wide(&wide, 5_000);
    let mut sandbox = world.open();
    remove(&world.view("wide"));
    std::fs::create_dir(world.view("other")).unwrap();
    make_wide(&Dir::open(&world.view("other")).unwrap(), 5_000);
    let changes = sandbox.diff(&Work::silent()).unwrap();
    assert_eq!(changes.entries.len(), 10_002);
    let redo = commit(&mut *sandbox);
    assert!(redo.0.contains("\"ops\":2,"));
    assert!(!world.real("wide").exists());
    assert_eq!(
        std::fs::read_dir(world.real("other")).unwrap().count(),
        5_000
    );
    sandbox.discard(&Work::silent()).unwrap();
}

#[test]
fn the_store_may_be_on_another_file_system() {
    let shm = Path::new("/dev/shm");
    let differs = std::fs::metadata(shm)
        .is_ok_and(|stat| stat.dev() != std::fs::metadata(std::env::temp_dir()).unwrap().dev());
    if !differs {
        skip("no second file system here");
        return;
    }
    for swapped in [false, true] {
        let (real, store) = if swapped {
            (Scratch::within(shm), Scratch::new())
        } else {
            (Scratch::new(), Scratch::within(shm))
        };
        let world = World {
            real,
            store,
            inside: false,
        };
        world.put("a", "a");
        world.put("sub/b", "b");
        let old = world.before();
        let mut sandbox = world.open();
        world.edit("a", "ours");
        world.edit("new/tree", "ours");
        remove(&world.view("sub"));
        let new = snapshot(&world.view(""));
        let redo = ready(&mut *sandbox);
        assert!(world.real(".planbox/tok-1").exists());
        let mode = std::fs::metadata(world.real(".planbox")).unwrap().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert_same(&world.before(), &old, "prepared");
        sandbox.apply(&redo, &Work::silent()).unwrap();
        sandbox.settle(&redo).unwrap();
        assert_same(&world.before(), &new, "committed");
        sandbox.take_back(&redo, &Work::silent()).unwrap();
        assert_same(&world.before(), &old, "taken back");
        sandbox.discard(&Work::silent()).unwrap();
        assert!(!world.real(".planbox").exists());
        assert_same(&world.before(), &old, "discarded");
    }
}

#[test]
fn a_file_that_never_stands_still_is_not_sealed_half() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let world = World::new();
    world.put("a", "a");
    let mut sandbox = world.open();
    world.edit("log", "0");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut count = 0_u64;
            while count < 5_000 && !done.load(Ordering::Relaxed) {
                count += 1;
                // Every content is one number, repeated: a torn copy would show.
                let text = format!("{count:08}").repeat(64);
                let temp = world.view(format!(".tmp{count}"));
                write(&temp, text.as_bytes());
                rename(&temp, &world.view("log"));
            }
        });
        for _ in 0..20 {
            match sandbox.seal(&Work::silent()) {
                Ok(_) => {
                    let sealed = std::fs::read(world.store.path().join("staging/new/0"));
                    if let Ok(text) = sealed.map(|bytes| String::from_utf8(bytes).unwrap()) {
                        let mut parts = text.as_bytes().chunks(8);
                        let whole = parts.all(|part| text.as_bytes().starts_with(part));
                        assert!(whole, "{text}");
                    }
                }
                // It was replaced while it was looked at.
                Err(error) => assert!(
                    matches!(error.fault, Fault::Interrupted | Fault::Io),
                    "{error}"
                ),
            }
            sandbox.unseal().unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(!world.real("log").exists());
}
