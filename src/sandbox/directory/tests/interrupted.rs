//! Apply and take-back, killed anywhere.

use super::super::ops::{RedoFile, RedoText};
use super::super::record::{Firmness, REDO, load, store};
use super::*;

/// The same redo, cut off after `count` operations: what a process that died there carried out.
fn prefix(world: &World, redo: &Redo, count: usize) -> Redo {
    let dir = Dir::open(world.store.path()).unwrap();
    let text: RedoText = serde_json::from_str(&redo.0).unwrap();
    let mut file: RedoFile = load(&dir, REDO, &text.digest).unwrap();
    file.ops.truncate(count);
    // It died before it came to the times.
    for dir in &mut file.times {
        dir.new = None;
    }
    let digest = store(&dir, REDO, &file, Firmness::Visible).unwrap();
    Redo(serde_json::to_string(&RedoText { digest, ..text }).unwrap())
}

/// Puts the whole redo back.
fn whole(world: &World, saved: &[u8]) {
    write(&world.store.path().join(REDO), saved);
}

fn furnish(world: &World) {
    for name in ["a", "b", "sub/x", "sub/deep/y", "gone/1", "gone/2"] {
        world.put(name, name);
    }
    for dir in ["sub/deep", "sub", "gone", "."] {
        set_mtime(&world.real(dir), 1_000_000_000);
    }
}

fn work(world: &World) {
    world.edit("a", "ours");
    world.edit("sub/x", "ours");
    world.edit("sub/new/tree", "ours");
    chmod(&world.view("sub/new"), 0o500);
    remove(&world.view("gone"));
    std::fs::remove_file(world.view("sub/deep/y")).unwrap();
    std::fs::remove_file(world.view("b")).unwrap();
    world.edit("b/now/a/tree", "ours");
    chmod(&world.view("sub"), 0o711);
}

#[test]
fn any_prefix_of_apply_can_be_finished_or_taken_back() {
    for inside in [false, true] {
        let mut count = 0;
        loop {
            let world = if inside {
                World::inside()
            } else {
                World::new()
            };
            furnish(&world);
            let old = world.before();
            let mut sandbox = world.open();
            work(&world);
            let new = snapshot(&world.view(""));
            let redo = ready(&mut *sandbox);
            let total = serde_json::from_str::<RedoText>(&redo.0).unwrap().ops;
            let saved = std::fs::read(world.store.path().join(REDO)).unwrap();
            let cut = prefix(&world, &redo, count);
            sandbox.apply(&cut, &Work::silent()).unwrap();
            drop(sandbox.record());
            whole(&world, &saved);

            let mut second = world.reopen(&*sandbox);
            second.apply(&redo, &Work::silent()).unwrap();
            assert_same(&world.before(), &new, "finished");
            second.take_back(&redo, &Work::silent()).unwrap();
            assert_same(&world.before(), &old, "taken back when done");

            // Once more, taken back from the middle, itself in two goes.
            let redo = ready(&mut *second);
            let saved = std::fs::read(world.store.path().join(REDO)).unwrap();
            let cut = prefix(&world, &redo, count);
            second.apply(&cut, &Work::silent()).unwrap();
            let less = prefix(&world, &redo_of(&world), count.saturating_sub(2));
            second.take_back(&less, &Work::silent()).unwrap();
            whole(&world, &saved);
            second.take_back(&redo, &Work::silent()).unwrap();
            assert_same(&world.before(), &old, "taken back from the middle");
            count += 1;
            if count as u64 > total {
                break;
            }
        }
        assert!(count > 7);
    }
}

/// The redo that is stored now.
fn redo_of(world: &World) -> Redo {
    let bytes = std::fs::read(world.store.path().join(REDO)).unwrap();
    let ops = serde_json::from_slice::<RedoFile>(&bytes)
        .unwrap()
        .ops
        .len() as u64;
    let digest = blake3::hash(&bytes).to_hex().to_string();
    let text = RedoText {
        version: super::super::ops::FORMAT,
        ops,
        digest,
    };
    Redo(serde_json::to_string(&text).unwrap())
}

#[test]
fn a_half_made_staging_is_thrown_away() {
    let world = World::inside();
    furnish(&world);
    let old = world.before();
    let mut sandbox = world.open();
    let unsealed = sandbox.record();
    work(&world);
    // Sealed by a process that died before the seal was recorded.
    sandbox.seal(&Work::silent()).unwrap();
    let mut second = DirectoryKind.reopen(&unsealed, &world.place()).unwrap();
    assert!(world.real(".planbox/tok-1/new").exists());
    let new = snapshot(&world.view(""));
    commit(&mut *second);
    assert_same(&world.before(), &new, "committed");
    drop(old);
    let mut third = DirectoryKind.reopen(&unsealed, &world.place()).unwrap();
    third.discard(&Work::silent()).unwrap();
    assert!(!world.real(".planbox").exists());
}

#[test]
fn a_damaged_or_foreign_redo_is_refused() {
    let world = World::new();
    furnish(&world);
    let mut sandbox = world.open();
    work(&world);
    let redo = ready(&mut *sandbox);
    let before = world.before();
    for text in ["", "{}", "{\"version\":9,\"ops\":1,\"digest\":\"\"}"] {
        let redo = Redo(text.to_owned());
        fault(sandbox.apply(&redo, &Work::silent()), Fault::Corrupt);
        fault(sandbox.take_back(&redo, &Work::silent()), Fault::Corrupt);
    }
    let path = world.store.path().join(REDO);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    write(&path, &bytes);
    fault(sandbox.apply(&redo, &Work::silent()), Fault::Corrupt);
    std::fs::remove_file(&path).unwrap();
    fault(sandbox.apply(&redo, &Work::silent()), Fault::Lost);
    assert_same(&world.before(), &before, "nothing happened");
}

#[test]
fn staging_that_was_tampered_with_is_lost() {
    let world = World::new();
    furnish(&world);
    let mut sandbox = world.open();
    world.edit("a", "ours");
    sandbox.seal(&Work::silent()).unwrap();
    write(&world.store.path().join("staging/new/0"), b"evil");
    fault(sandbox.prepare(&Work::silent()), Fault::Lost);
    sandbox.unseal().unwrap();
    commit(&mut *sandbox);
    assert_eq!(std::fs::read(world.real("a")).unwrap(), b"ours");
}
