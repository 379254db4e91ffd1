//! What a scan finds, in trees of every shape and size.

use super::exclude::Exclusions;
use super::manifest::Manifest;
use super::scan::{Difference, Scan};
use super::tree_tests::{Pair, chmod, lines, set_time};
use super::view::ViewChoice;
use crate::error::Fault;
use crate::fs::testing::{Scratch, make_deep, make_wide};
use crate::fs::{self, Cursor};
use crate::sandbox::{Progress, Work};
use std::ffi::OsStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

#[test]
fn a_name_that_was_left_out_shows_up_as_added() {
    let pair = Pair::new();
    rustix::fs::mkfifoat(pair.base.dir(), "pipe", rustix::fs::Mode::RUSR).unwrap();
    let (manifest, ..) = pair.make();
    pair.view.put("pipe", b"a file now");
    let found = pair.scan(&manifest);
    assert_eq!(lines(&manifest, &found), ["Added pipe 0/1"]);
    assert_eq!(found.touched[0].was, manifest.lookup("pipe".as_ref()));
}

#[test]
fn every_kind_of_change_is_found() {
    let pair = Pair::new();
    for path in [
        "edit", "replace", "touch", "mode", "same", "gone", "f-to-d", "f-to-l",
    ] {
        pair.base.put(path, b"1234");
    }
    for path in [
        "d/keep",
        "d-to-f/x/y",
        "d-to-l/x",
        "gone-d/x/y",
        "mode-d/f",
        "time-d/f",
    ] {
        pair.base.put(path, b"12");
    }
    std::os::unix::fs::symlink("a", pair.in_base("link")).unwrap();
    let (manifest, ..) = pair.make();
    assert_eq!(pair.scan(&manifest), Scan::default());
    pair.view.put("edit", b"4321");
    pair.view.put("fresh", b"12345678");
    std::fs::remove_file(pair.in_view("replace")).unwrap();
    pair.view.put("replace", b"1234");
    set_time(pair.in_view("touch"), 12);
    chmod(pair.in_view("mode"), 0o600);
    chmod(pair.in_view("mode-d"), 0o700);
    set_time(pair.in_view("time-d"), 12);
    for path in ["gone", "f-to-d", "f-to-l", "link"] {
        std::fs::remove_file(pair.in_view(path)).unwrap();
    }
    for name in ["d-to-f", "d-to-l", "gone-d"] {
        fs::remove_tree(pair.view.dir(), name.as_ref(), &mut |_| Ok(())).unwrap();
    }
    std::os::unix::fs::symlink("b", pair.in_view("link")).unwrap();
    std::os::unix::fs::symlink("b", pair.in_view("f-to-l")).unwrap();
    std::os::unix::fs::symlink("/", pair.in_view("d-to-l")).unwrap();
    pair.view.put("d-to-f", b"");
    pair.view.put("f-to-d/x/y", b"123");
    pair.view.put("d/new/x/y", b"123");
    std::fs::create_dir(pair.in_view("d/empty")).unwrap();
    let found = pair.scan(&manifest);
    assert_eq!(
        lines(&manifest, &found),
        [
            "TypeChanged d-to-f 3/1",
            "TypeChanged d-to-l 2/1",
            "Modified edit 1/1",
            "TypeChanged f-to-d 1/3",
            "TypeChanged f-to-l 1/1",
            "Added fresh 0/1",
            "Removed gone 1/0",
            "Removed gone-d 3/0",
            "Modified link 1/1",
            "MetaOnly mode 1/1",
            "MetaOnly mode-d 1/1",
            "Modified replace 1/1",
            "MetaOnly time-d 1/1",
            "Modified touch 1/1",
            "Added d/empty 0/1",
            "Added d/new 0/3",
        ]
    );
    let bytes = |name: &str| {
        let touched = found.touched.iter().find(|t| t.name == name).unwrap();
        touched.bytes_now
    };
    assert_eq!((bytes("fresh"), bytes("new"), bytes("gone-d")), (8, 3, 0));
}

#[test]
fn a_write_with_the_time_set_back_is_found() {
    let pair = Pair::new();
    pair.base.put("f", b"1234");
    set_time(pair.in_base("f"), 1_000_000_000);
    let (manifest, ..) = pair.make();
    pair.view.put("f", b"4321");
    set_time(pair.in_view("f"), 1_000_000_000);
    let kinds: Vec<_> = pair
        .scan(&manifest)
        .touched
        .iter()
        .map(|t| t.kind)
        .collect();
    assert_eq!(kinds, [Difference::Modified]);
}

#[test]
fn a_changed_attribute_is_found() {
    let pair = Pair::new();
    pair.base.put("d/f", b"");
    let (manifest, ..) = pair.make();
    let attributes = fs::Xattrs {
        carried: vec![(b"user.a".to_vec(), b"1".to_vec())],
        has_capability: false,
    };
    let dir = pair.view.dir().child("d".as_ref()).unwrap();
    if fs::write_xattrs(&dir, &attributes).is_err() {
        return;
    }
    fs::write_xattrs(dir.read_file("f".as_ref()).unwrap(), &attributes).unwrap();
    assert_eq!(
        lines(&manifest, &pair.scan(&manifest)),
        ["MetaOnly d 1/1", "MetaOnly d/f 1/1"]
    );
}

#[test]
fn twenty_thousand_levels() {
    let pair = Pair::quick();
    make_deep(pair.base.dir(), 20_000);
    let (manifest, ..) = pair.make();
    assert_eq!(manifest.entries().len(), 20_001);
    assert_eq!(pair.scan(&manifest), Scan::default());
    let last = manifest.path_of(20_000);
    assert_eq!(last.as_os_str().len(), 2 * 20_000 - 1);
    assert_eq!(manifest.lookup(&last), Some(20_000));
    let mut bytes = Vec::new();
    manifest.write_to(&mut bytes).unwrap();
    assert!(bytes.len() < 200 * 20_001, "linear: {} bytes", bytes.len());
    assert_eq!(Manifest::read_from(&*bytes).unwrap(), manifest);
    // A change at the very end, a deep new tree, and the removal of all.
    let mut cursor = Cursor::new(pair.view.dir()).unwrap();
    cursor.go_to(&vec!["d"; 20_000]).unwrap();
    drop(cursor.dir().create_file("f".as_ref(), 0o644).unwrap());
    drop(cursor);
    make_deep(&pair.view.sub("new"), 3_000);
    let found = pair.scan(&manifest);
    let counts: Vec<_> = found
        .touched
        .iter()
        .map(|t| (t.parent, t.entries_now))
        .collect();
    assert_eq!(counts, [(0, 3_001), (20_000, 1)]);
    fs::remove_tree(pair.view.dir(), "d".as_ref(), &mut |_| Ok(())).unwrap();
    let found = pair.scan(&manifest);
    assert_eq!(found.touched[0].entries_was, 20_000);
}

#[test]
fn a_hundred_thousand_names() {
    let pair = Pair::quick();
    make_wide(pair.base.dir(), 100_000);
    let seen = AtomicU64::new(0);
    let cancelled = AtomicBool::new(false);
    let observe = |progress: Progress| seen.store(progress.done, Ordering::Relaxed);
    let work = Work::new(&observe, &cancelled);
    let (manifest, ..) = pair
        .try_make(ViewChoice::Auto, &Exclusions::none(), &work)
        .unwrap();
    assert_eq!(seen.load(Ordering::Relaxed), 100_001);
    pair.view.put("f050000", b"x");
    std::fs::remove_file(pair.in_view("f099999")).unwrap();
    pair.view.put("g", b"x");
    assert_eq!(
        lines(&manifest, &pair.scan(&manifest)),
        ["Modified f050000 1/1", "Removed f099999 1/0", "Added g 0/1"]
    );
}

#[test]
fn it_is_stored_and_read_back() {
    let pair = Pair::new();
    pair.base.put(".git/x", b"");
    pair.base.put("d/f", b"content");
    std::os::unix::fs::symlink("x", pair.in_base("d/l")).unwrap();
    let (manifest, ..) = pair.make();
    let store = Scratch::new();
    let name = OsStr::new("base");
    assert_eq!(manifest.boot(), fs::boot_id());
    let missing = Manifest::load(store.dir(), name).unwrap_err();
    assert_eq!(missing.fault, Fault::Lost);
    for _ in 0..2 {
        manifest.save(store.dir(), name).unwrap();
        assert_eq!(Manifest::load(store.dir(), name).unwrap(), manifest);
    }
    assert_eq!(store.dir().entries().unwrap().len(), 1, "no temporary name");
    store.put(
        "base",
        &std::fs::read(store.path().join("base")).unwrap()[..100],
    );
    let damaged = Manifest::load(store.dir(), name).unwrap_err();
    assert_eq!(damaged.fault, Fault::Corrupt);
    assert_eq!(damaged.path, Some(store.path().join("base")));
}
