//! View, manifest and scan together, on trees of every shape.

use super::exclude::Exclusions;
use super::manifest::{LeftOut, Manifest};
use super::scan::{Difference, Scan, scan};
use super::view::{ViewChoice, ViewKind, make_view};
use crate::error::Fault;
use crate::fs::testing::{Scratch, in_a_child, is_child, limit_descriptors, make_deep, make_wide};
use crate::fs::{self, Cursor, Dir, FileKind};
use crate::sandbox::{Outcome, Progress, Work};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A base and the place of its view.
struct Pair {
    base: Scratch,
    view: Scratch,
}

impl Pair {
    fn new() -> Self {
        Self {
            base: Scratch::new(),
            view: Scratch::new(),
        }
    }

    fn make(&self) -> (Manifest, ViewKind, Vec<String>) {
        self.try_make(ViewChoice::Auto, &Exclusions::default(), &Work::silent())
            .unwrap()
    }

    fn try_make(
        &self,
        choice: ViewChoice,
        exclusions: &Exclusions,
        work: &Work<'_>,
    ) -> Outcome<(Manifest, ViewKind, Vec<String>)> {
        make_view(self.base.dir(), self.view.dir(), choice, exclusions, work)
    }

    fn scan(&self, manifest: &Manifest) -> Scan {
        scan(self.view.dir(), manifest, &Work::silent()).unwrap()
    }

    fn in_view(&self, path: impl AsRef<Path>) -> PathBuf {
        self.view.path().join(path)
    }

    fn in_base(&self, path: impl AsRef<Path>) -> PathBuf {
        self.base.path().join(path)
    }
}

/// What a scan found, in one line each.
fn lines(manifest: &Manifest, scan: &Scan) -> Vec<String> {
    let line = |t: &super::scan::Touched| {
        let path = manifest.path_in(t.parent, &t.name);
        format!(
            "{:?} {} {}/{}",
            t.kind,
            path.display(),
            t.entries_was,
            t.entries_now
        )
    };
    scan.touched.iter().map(line).collect()
}

fn chmod(path: impl AsRef<Path>, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn set_time(path: impl AsRef<Path>, seconds: u64) {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    let file = std::fs::File::open(path).unwrap();
    file.set_modified(time).unwrap();
}

#[test]
fn everything_ordinary_is_kept() {
    let pair = Pair::new();
    pair.base.put("a/b/file", b"content");
    pair.base.put("a/empty", b"");
    std::fs::create_dir(pair.in_base("a/nothing")).unwrap();
    let odd = OsString::from_vec(b"\xff\n\x1b*$(x) ".to_vec());
    pair.base.put(&odd, b"odd");
    let target = OsString::from_vec([&[0xfe; 4_000][..], b"/../.."].concat());
    let names = ["loop", "out", "odd-target"];
    let targets = [OsStr::new("loop"), OsStr::new("/etc/passwd"), &target];
    for (name, target) in names.iter().zip(targets) {
        std::os::unix::fs::symlink(target, pair.in_base(name)).unwrap();
    }
    chmod(pair.in_base("a/b/file"), 0o640);
    chmod(pair.in_base("a/b"), 0o2755);
    chmod(pair.in_base("a"), 0o555);
    for path in ["a/b/file", "a/nothing", "a/b", "a", "."] {
        set_time(pair.in_base(path), 1_000_000_000);
    }
    let (manifest, _, notes) = pair.make();
    assert_eq!(notes, Vec::<String>::new());
    assert_eq!(std::fs::read(pair.in_view("a/b/file")).unwrap(), b"content");
    assert_eq!(std::fs::read(pair.in_view(&odd)).unwrap(), b"odd");
    for (name, target) in names.iter().zip(targets) {
        assert_eq!(std::fs::read_link(pair.in_view(name)).unwrap(), target);
    }
    for path in ["a/b/file", "a/b", "a", "a/nothing", "a/empty", "loop", "."] {
        let [was, is] = [pair.in_base(path), pair.in_view(path)]
            .map(|path| std::fs::symlink_metadata(path).unwrap());
        assert_eq!(
            (is.mode(), is.mtime(), is.mtime_nsec()),
            (was.mode(), was.mtime(), was.mtime_nsec()),
            "{path}"
        );
    }
    assert_eq!(manifest.entries().len(), 10);
    let file = manifest.lookup("a/b/file".as_ref()).unwrap();
    assert_eq!(manifest.path_of(file), Path::new("a/b/file"));
    assert_eq!(manifest.get(file).unwrap().base.size, 7);
    let link = manifest
        .get(manifest.lookup("out".as_ref()).unwrap())
        .unwrap();
    assert_eq!(link.link_target(), Some(OsStr::new("/etc/passwd")));
    assert_eq!(manifest.lookup("a/absent".as_ref()), None);
    assert_eq!(manifest.lookup("../a".as_ref()), None);
    assert_eq!(pair.scan(&manifest), Scan::default());
}

#[test]
fn hard_links_holes_and_attributes_are_kept() {
    let pair = Pair::new();
    pair.base.put("one", b"shared");
    std::fs::create_dir(pair.in_base("d")).unwrap();
    for name in ["d/two", "three"] {
        std::fs::hard_link(pair.in_base("one"), pair.in_base(name)).unwrap();
    }
    let sparse = std::fs::File::create(pair.in_base("sparse")).unwrap();
    sparse.set_len(1 << 30).unwrap();
    std::os::unix::fs::FileExt::write_at(&sparse, b"end", (1 << 30) - 3).unwrap();
    let attributes = fs::Xattrs {
        carried: vec![(b"user.colour".to_vec(), b"blue\0".to_vec())],
        has_capability: false,
    };
    let file = pair.base.dir().read_file("one".as_ref()).unwrap();
    let has_attributes = fs::write_xattrs(&file, &attributes).is_ok();
    let (manifest, kind, notes) = pair.make();
    assert_eq!(notes, Vec::<String>::new());
    let inode = |name: &str| std::fs::metadata(pair.in_view(name)).unwrap().ino();
    assert_eq!(
        (inode("one"), inode("one")),
        (inode("d/two"), inode("three"))
    );
    let sparse = std::fs::metadata(pair.in_view("sparse")).unwrap();
    assert_eq!(sparse.len(), 1 << 30);
    assert!(sparse.blocks() * 512 < 1 << 20, "{kind:?} keeps the hole");
    if has_attributes {
        let copy = pair.view.dir().read_file("three".as_ref()).unwrap();
        assert_eq!(fs::read_xattrs(&copy).unwrap(), attributes);
    }
    assert_eq!(pair.scan(&manifest), Scan::default());
    // An in-place write through one name is seen under all of them.
    std::fs::OpenOptions::new()
        .append(true)
        .open(pair.in_view("d/two"))
        .and_then(|mut file| std::io::Write::write_all(&mut file, b"!"))
        .unwrap();
    assert_eq!(
        lines(&manifest, &pair.scan(&manifest)),
        [
            "Modified one 1/1",
            "Modified three 1/1",
            "Modified d/two 1/1"
        ]
    );
}

#[test]
fn what_cannot_be_copied_is_left_out_and_named() {
    let pair = Pair::new();
    pair.base.put(".git/config", b"");
    pair.base.put("d/node_modules/x", b"");
    pair.base.put("d/set-id", b"");
    chmod(pair.in_base("d/set-id"), 0o6755);
    let d = pair.base.dir().child("d".as_ref()).unwrap();
    rustix::fs::mkfifoat(&d, "pipe", rustix::fs::Mode::RUSR).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(pair.in_base("d/socket")).unwrap();
    drop(socket);
    let exclusions = Exclusions::default().with("node_modules").unwrap();
    let (manifest, _, notes) = pair
        .try_make(ViewChoice::Auto, &exclusions, &Work::silent())
        .unwrap();
    assert_eq!(
        notes,
        [
            ".git: left out: excluded by name",
            "d/node_modules: left out: excluded by name",
            "d/pipe: left out: a named pipe",
            "d/set-id: its set-id bits are not in the view",
            "d/socket: left out: a socket",
        ]
    );
    let reason = |path: &str| {
        let index = manifest.lookup(path.as_ref()).unwrap();
        manifest.get(index).unwrap().left_out
    };
    assert_eq!(reason("d/pipe"), Some(LeftOut::Special(FileKind::Fifo)));
    assert_eq!(reason(".git"), Some(LeftOut::Excluded));
    assert_eq!(reason("d/set-id"), None);
    let stripped = std::fs::metadata(pair.in_view("d/set-id")).unwrap();
    assert_eq!(stripped.mode() & 0o7777, 0o755);
    assert_eq!(
        pair.scan(&manifest),
        Scan::default(),
        "left out is not removed"
    );
    // A removal says what it would take along.
    std::fs::remove_file(pair.in_view("d/set-id")).unwrap();
    std::fs::remove_dir(pair.in_view("d")).unwrap();
    pair.view.put(".git/HEAD", b"");
    let found = pair.scan(&manifest);
    assert_eq!(lines(&manifest, &found), ["Removed d 2/0"]);
    assert_eq!((found.touched[0].left_out_was, found.ignored), (3, 1));
}

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
    let pair = Pair::new();
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
    let pair = Pair::new();
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
fn it_stops_on_request() {
    let pair = Pair::new();
    make_wide(pair.base.dir(), 100);
    let cancelled = AtomicBool::new(false);
    let observe = |progress: Progress| cancelled.store(progress.done == 50, Ordering::Relaxed);
    let work = Work::new(&observe, &cancelled);
    let error = pair
        .try_make(ViewChoice::Auto, &Exclusions::none(), &work)
        .unwrap_err();
    assert_eq!(error.fault, Fault::Interrupted);
    assert!(pair.view.dir().entries().unwrap().len() < 60);
}

#[test]
fn a_file_that_never_stands_still_is_refused() {
    let pair = Pair::new();
    pair.base.put("d/busy", &[7; 4096]);
    let cancelled = AtomicBool::new(false);
    let rewrite = |_: Progress| pair.base.put("d/busy", &[8; 5000]);
    let work = Work::new(&rewrite, &cancelled);
    let error = pair
        .try_make(ViewChoice::Auto, &Exclusions::none(), &work)
        .unwrap_err();
    assert_eq!(error.fault, Fault::Io);
    assert!(error.to_string().contains("changed 5 times"), "{error}");
    assert_eq!(error.path, Some(pair.in_base("d/busy")));
}

#[test]
fn a_file_replaced_while_it_is_copied_is_copied_again() {
    let pair = Pair::new();
    pair.base.put("busy", &[7; 4096]);
    let cancelled = AtomicBool::new(false);
    let once = AtomicU64::new(0);
    let replace = |_: Progress| {
        if once.fetch_add(1, Ordering::Relaxed) == 0 {
            std::fs::remove_file(pair.in_base("busy")).unwrap();
            pair.base.put("busy", b"new");
        }
    };
    let work = Work::new(&replace, &cancelled);
    let (manifest, ..) = pair
        .try_make(ViewChoice::Auto, &Exclusions::none(), &work)
        .unwrap();
    assert_eq!(std::fs::read(pair.in_view("busy")).unwrap(), b"new");
    assert_eq!(pair.scan(&manifest), Scan::default());
}

#[test]
fn a_fresh_file_is_hashed_and_an_old_one_is_not() {
    let pair = Pair::new();
    pair.base.put("fresh", b"now");
    let now = crate::clock::now_unix_ms();
    let (manifest, ..) = pair.make();
    let fresh = manifest
        .get(manifest.lookup("fresh".as_ref()).unwrap())
        .unwrap();
    assert!(fresh.base.is_racy(now));
    assert!(!fresh.base.is_racy(now + 10_000));
    if let Some(digest) = fresh.racy_digest() {
        assert_eq!(digest, *blake3::hash(b"now").as_bytes());
    }
}

#[test]
fn a_pinned_view_is_made_or_refused() {
    let pair = Pair::new();
    pair.base.put("f", &[1; 10_000]);
    let copy = ViewChoice::Pinned(ViewKind::Copy);
    let made = pair.try_make(copy, &Exclusions::none(), &Work::silent());
    assert_eq!(made.unwrap().1, ViewKind::Copy);
    let pair = Pair {
        base: pair.base,
        view: Scratch::new(),
    };
    let reflink = ViewChoice::Pinned(ViewKind::Reflink);
    let made = pair.try_make(reflink, &Exclusions::none(), &Work::silent());
    if pair.view.dir().probe_reflink().unwrap() {
        assert_eq!(made.unwrap().1, ViewKind::Reflink);
    } else {
        assert_eq!(made.unwrap_err().fault, Fault::Unsupported);
        assert!(
            pair.view.dir().entries().unwrap().is_empty(),
            "nothing left behind"
        );
    }
}

#[test]
fn a_link_swapped_in_for_a_directory_is_not_followed() {
    let pair = Pair::new();
    pair.base.put("d/f", b"");
    pair.base.put("z", b"");
    let outside = Scratch::new();
    outside.put("secret", b"");
    let cancelled = AtomicBool::new(false);
    let swap = |progress: Progress| {
        if progress.done == 3 {
            std::fs::rename(pair.in_base("d"), pair.in_base("e")).unwrap();
            std::os::unix::fs::symlink(outside.path(), pair.in_base("d")).unwrap();
        }
    };
    let work = Work::new(&swap, &cancelled);
    let error = pair
        .try_make(ViewChoice::Auto, &Exclusions::none(), &work)
        .unwrap_err();
    assert_eq!(error.path, Some(pair.in_base("d")));
    assert!(!pair.in_view("d/secret").exists());
}

#[test]
fn few_descriptors_and_a_closed_umask_are_enough() {
    let name = "sandbox::directory::tree_tests::few_descriptors_and_a_closed_umask_are_enough";
    if !is_child(name) {
        return in_a_child(name);
    }
    let pair = Pair::new();
    make_deep(pair.base.dir(), 300);
    pair.base.put("d/f", b"content");
    chmod(pair.in_base("d/f"), 0o640);
    std::fs::hard_link(pair.in_base("d/f"), pair.in_base("g")).unwrap();
    limit_descriptors(80);
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o777));
    let (manifest, ..) = pair.make();
    assert_eq!(pair.scan(&manifest), Scan::default());
    let made = std::fs::metadata(pair.in_view("d/f")).unwrap();
    assert_eq!((made.mode() & 0o777, made.nlink()), (0o640, 2));
}

#[test]
fn the_owner_is_kept_where_permitted() {
    let pair = Pair::new();
    pair.base.put("d/f", b"content");
    let owned = std::os::unix::fs::chown(pair.in_base("d/f"), Some(12_345), Some(54_321));
    if owned.is_err() {
        return;
    }
    let (manifest, _, notes) = pair.make();
    assert_eq!(notes, Vec::<String>::new());
    let made = std::fs::metadata(pair.in_view("d/f")).unwrap();
    assert_eq!((made.uid(), made.gid()), (12_345, 54_321));
    assert_eq!(pair.scan(&manifest), Scan::default());
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

#[test]
fn names_stay_bytes() {
    let names: Vec<&[u8]> = vec![b"\xc3\x28", b"-rf", b" ", b"a\tb"];
    let pair = Pair::new();
    let long = vec![b'n'; 255];
    for name in names.iter().copied().chain([&*long]) {
        pair.base.put(OsStr::from_bytes(name), name);
    }
    let (manifest, ..) = pair.make();
    assert_eq!(pair.scan(&manifest), Scan::default());
    let view: &Dir = pair.view.dir();
    assert_eq!(
        view.entries().unwrap().sorted(),
        pair.base.dir().entries().unwrap().sorted()
    );
}
