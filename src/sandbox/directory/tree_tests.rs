//! View, manifest and scan together, on trees of every shape.

use super::exclude::Exclusions;
use super::manifest::{LeftOut, Manifest};
use super::scan::{Scan, scan};
use super::view::{ViewChoice, ViewKind, make_view};
use crate::error::Fault;
use crate::fs::testing::{
    Scratch, become_nobody, in_a_child, is_child, limit_descriptors, make_deep, make_wide,
};
use crate::fs::{self, Dir, FileKind};
use crate::sandbox::{Outcome, Progress, Work};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A base and the place of its view.
pub(super) struct Pair {
    pub(super) base: Scratch,
    pub(super) view: Scratch,
}

impl Pair {
    pub(super) fn new() -> Self {
        Self {
            base: Scratch::new(),
            view: Scratch::new(),
        }
    }

    /// In memory where the machine allows it: for very many files.
    pub(super) fn quick() -> Self {
        Self {
            base: Scratch::quick(),
            view: Scratch::quick(),
        }
    }

    pub(super) fn make(&self) -> (Manifest, ViewKind, Vec<String>) {
        self.try_make(ViewChoice::Auto, &Exclusions::default(), &Work::silent())
            .unwrap()
    }

    pub(super) fn try_make(
        &self,
        choice: ViewChoice,
        exclusions: &Exclusions,
        work: &Work<'_>,
    ) -> Outcome<(Manifest, ViewKind, Vec<String>)> {
        make_view(self.base.dir(), self.view.dir(), choice, exclusions, work)
    }

    pub(super) fn scan(&self, manifest: &Manifest) -> Scan {
        scan(self.view.dir(), manifest, &Work::silent()).unwrap()
    }

    pub(super) fn in_view(&self, path: impl AsRef<Path>) -> PathBuf {
        self.view.path().join(path)
    }

    pub(super) fn in_base(&self, path: impl AsRef<Path>) -> PathBuf {
        self.base.path().join(path)
    }
}

/// What a scan found, in one line each.
pub(super) fn lines(manifest: &Manifest, scan: &Scan) -> Vec<String> {
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

pub(super) fn chmod(path: impl AsRef<Path>, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

pub(super) fn set_time(path: impl AsRef<Path>, seconds: u64) {
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
    // The longest that every file system takes.
    let target = OsString::from_vec([&[0xfe; 1_000][..], b"/../.."].concat());
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
        let pair = Pair::new();
        pair.base.put("f", &[1; 10_000]);
        assert_eq!(pair.make().1, ViewKind::Reflink, "chosen by itself too");
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
            let base = pair.base.dir();
            base.rename_new("d".as_ref(), base, "e".as_ref()).unwrap();
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
#[test]
fn a_file_that_cannot_be_read_is_named() {
    let name = "sandbox::directory::tree_tests::a_file_that_cannot_be_read_is_named";
    if !is_child(name) {
        return in_a_child(name);
    }
    let pair = Pair::new();
    pair.base.put("d/open", b"");
    pair.base.put("d/secret", b"");
    chmod(pair.in_base("d/secret"), 0o200);
    for path in [pair.base.path(), pair.view.path()] {
        chmod(path, 0o777);
    }
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(pair.in_base("d/secret"), Some(65534), None).unwrap();
    }
    let error = std::thread::scope(|scope| {
        let nobody = scope.spawn(|| {
            become_nobody();
            pair.try_make(ViewChoice::Auto, &Exclusions::none(), &Work::silent())
        });
        nobody.join().unwrap().unwrap_err()
    });
    assert_eq!(error.fault, Fault::Denied);
    assert_eq!(error.path, Some(pair.in_base("d/secret")));
}

#[test]
fn devices_and_other_mounts_are_not_entered() {
    let dev = Dir::open(Path::new("/dev")).unwrap();
    let (own, shm) = (dev.stat().unwrap(), dev.stat_at("shm".as_ref()).unwrap());
    let into = Scratch::new();
    let only = Exclusions::none();
    let made = make_view(&dev, into.dir(), ViewChoice::Auto, &only, &Work::silent());
    let manifest = made.unwrap().0;
    let reason = |name: &str| {
        let index = manifest.lookup(name.as_ref())?;
        manifest.get(index)?.left_out
    };
    assert_eq!(reason("null"), Some(LeftOut::Special(FileKind::Char)));
    if shm.is_some_and(|shm| !shm.same_mount(&own)) {
        assert_eq!(reason("shm"), Some(LeftOut::NestedMount));
    }
    assert!(!into.path().join("null").exists());
}
