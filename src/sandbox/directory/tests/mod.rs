//! The participant through its traits, on real trees.

mod conflicts;
mod interrupted;
mod operations;
mod refusals;
mod shapes;

use super::{Directory, DirectoryKind};
use crate::error::{Fault, ParticipantError};
use crate::fs::testing::Scratch;
use crate::fs::{Dir, read_xattrs};
use crate::sandbox::{Kind as _, Place, Redo, Resource as _, Sandbox, Vote, Work};
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// A real directory, a place for one sandbox of it, and how the sandbox is to be made.
struct World {
    real: Scratch,
    store: Scratch,
    inside: bool,
}

impl World {
    fn new() -> Self {
        Self {
            real: Scratch::new(),
            store: Scratch::new(),
            inside: false,
        }
    }

    /// In memory where that is possible, for trees so large that the disk would be measured.
    fn in_memory() -> Self {
        let shm = Path::new("/dev/shm");
        if !shm.is_dir() {
            return Self::new();
        }
        Self {
            real: Scratch::within(shm),
            store: Scratch::within(shm),
            inside: false,
        }
    }

    /// With staging inside the real directory.
    fn inside() -> Self {
        Self {
            inside: true,
            ..Self::new()
        }
    }

    fn place(&self) -> Place {
        Place {
            dir: self.store.path().to_path_buf(),
            token: "tok-1".to_owned(),
            label: "a plan".to_owned(),
        }
    }

    /// What a plan does after an `open` that failed.
    fn empty_place(&self) {
        let dir = Dir::open(self.store.path()).unwrap();
        for name in dir.entries().unwrap().sorted() {
            crate::fs::remove_tree(&dir, &name, &mut |_| Ok(())).unwrap();
        }
    }

    fn directory(&self) -> Directory {
        let directory = Directory::at(self.real.path());
        if self.inside {
            directory.staging_inside()
        } else {
            directory
        }
    }

    fn open(&self) -> Box<dyn Sandbox> {
        self.directory()
            .open(&self.place(), &Work::silent())
            .unwrap()
    }

    /// The same sandbox, as another process would have it.
    fn reopen(&self, sandbox: &dyn Sandbox) -> Box<dyn Sandbox> {
        DirectoryKind
            .reopen(&sandbox.record(), &self.place())
            .unwrap()
    }

    fn real(&self, path: impl AsRef<Path>) -> PathBuf {
        self.real.path().join(path)
    }

    /// A file of the real directory.
    fn put(&self, path: impl AsRef<Path>, text: &str) {
        write(&self.real(path), text.as_bytes());
    }

    /// A file of the view.
    fn edit(&self, path: impl AsRef<Path>, text: &str) {
        write(&self.view(path), text.as_bytes());
    }

    fn view(&self, path: impl AsRef<Path>) -> PathBuf {
        self.store.path().join("view").join(path)
    }

    fn before(&self) -> Snapshot {
        snapshot(self.real.path())
    }
}

/// Everything about a tree that a commit or its undoing must get right, by path.
type Snapshot = BTreeMap<String, String>;

fn snapshot(top: &Path) -> Snapshot {
    let mut found = Snapshot::new();
    let mut pending = vec![top.to_path_buf()];
    while let Some(path) = pending.pop() {
        let stat = std::fs::symlink_metadata(&path).unwrap();
        let below = path.strip_prefix(top).unwrap();
        if below == Path::new(".planbox") {
            continue;
        }
        let content = if stat.is_dir() {
            for entry in std::fs::read_dir(&path).unwrap() {
                pending.push(entry.unwrap().path());
            }
            let xattrs = read_xattrs(Dir::open(&path).unwrap()).unwrap().carried;
            format!("dir {xattrs:?}")
        } else if stat.is_symlink() {
            format!("link {:?}", std::fs::read_link(&path).unwrap())
        } else {
            let file = std::fs::File::open(&path).unwrap();
            let bytes = std::fs::read(&path).unwrap();
            let xattrs = read_xattrs(&file).unwrap().carried;
            format!("file {} {} {xattrs:?}", bytes.escape_ascii(), stat.nlink())
        };
        let line = format!(
            "{content} mode {:o} mtime {}.{}",
            stat.mode() & 0o7777,
            stat.mtime(),
            stat.mtime_nsec()
        );
        found.insert(
            below.as_os_str().as_bytes().escape_ascii().to_string(),
            line,
        );
    }
    found
}

/// What differs, for a readable failure.
fn assert_same(one: &Snapshot, other: &Snapshot, what: &str) {
    for key in one.keys().chain(other.keys()) {
        assert_eq!(one.get(key), other.get(key), "{what}: {key:?}");
    }
}

/// Makes or overwrites a file in place, with its directories.
fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = std::fs::File::create(path).unwrap();
    std::io::Write::write_all(&mut file, bytes).unwrap();
}

/// Removes a tree.
fn remove(path: &Path) {
    let parent = Dir::open(path.parent().unwrap()).unwrap();
    crate::fs::remove_tree(&parent, path.file_name().unwrap(), &mut |_| Ok(())).unwrap();
}

fn rename(from: &Path, to: &Path) {
    rustix::fs::rename(from, to).unwrap();
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn set_mtime(path: &Path, seconds: u64) {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    let file = std::fs::File::open(path).unwrap();
    file.set_times(std::fs::FileTimes::new().set_modified(time))
        .unwrap();
}

/// Seals and prepares; the redo.
fn ready(sandbox: &mut dyn Sandbox) -> Redo {
    sandbox.seal(&Work::silent()).unwrap();
    match sandbox.prepare(&Work::silent()).unwrap() {
        Vote::Ready { redo, changes } => {
            assert!(!changes.is_empty());
            redo
        }
        other => panic!("{other:?}"),
    }
}

/// Seals, prepares, applies, settles.
fn commit(sandbox: &mut dyn Sandbox) -> Redo {
    let redo = ready(sandbox);
    sandbox.apply(&redo, &Work::silent()).unwrap();
    sandbox.settle(&redo).unwrap();
    redo
}

/// The conflicting places of a vote, sorted.
fn conflicting(sandbox: &mut dyn Sandbox) -> Vec<String> {
    sandbox.seal(&Work::silent()).unwrap();
    match sandbox.prepare(&Work::silent()).unwrap() {
        Vote::Conflict(conflicts) => {
            let mut places: Vec<_> = conflicts.into_iter().map(|c| c.place).collect();
            places.sort();
            places
        }
        other => panic!("{other:?}"),
    }
}

/// Says that a test did not run.
#[expect(
    clippy::print_stdout,
    reason = "a skipped test must not look like a passed one"
)]
fn skip(why: &str) {
    println!("skipped: {why}");
}

fn lines(sandbox: &dyn Sandbox) -> Vec<String> {
    let changes = sandbox.diff(&Work::silent()).unwrap();
    changes
        .entries
        .iter()
        .map(|change| format!("{} {} {}", change.action.mark(), change.path, change.what))
        .collect()
}

fn fault<T: std::fmt::Debug>(result: Result<T, ParticipantError>, fault: Fault) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.fault, fault, "{error}");
    error.to_string()
}
