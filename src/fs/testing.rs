//! Helpers for tests that make trees no other tool removes.

use super::{Cursor, Dir, remove_tree};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// A directory that is removed at the end by our own means, whatever its depth.
pub(crate) struct Scratch {
    path: PathBuf,
    dir: Dir,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        Self::within(&std::env::temp_dir())
    }

    /// In memory where the machine allows it.
    pub(crate) fn quick() -> Self {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() {
            return Self::within(memory);
        }
        Self::new()
    }

    pub(crate) fn within(parent: &Path) -> Self {
        let path = tempfile::tempdir_in(parent).unwrap().keep();
        let dir = Dir::open(&path).unwrap();
        Self { path, dir }
    }

    pub(crate) fn dir(&self) -> &Dir {
        &self.dir
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the directory `name` and opens it.
    pub(crate) fn sub(&self, name: &str) -> Dir {
        self.dir.make_dir(OsStr::new(name), 0o755).unwrap();
        self.dir.child(OsStr::new(name)).unwrap()
    }

    /// Writes a file below, making its directories.
    pub(crate) fn put(&self, path: impl AsRef<Path>, bytes: &[u8]) {
        let path = self.path.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = std::fs::File::create(path).unwrap();
        std::io::Write::write_all(&mut file, bytes).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let parent = Dir::open(self.path.parent().unwrap()).unwrap();
        let name = self.path.file_name().unwrap();
        let removed = remove_tree(&parent, name, &mut |_| Ok(()));
        if !std::thread::panicking() {
            removed.unwrap();
        }
    }
}

/// Makes `depth` directories, each in the one before.
pub(crate) fn make_deep(top: &Dir, depth: usize) {
    let mut cursor = Cursor::new(top).unwrap();
    for _ in 0..depth {
        cursor.dir().make_dir(OsStr::new("d"), 0o755).unwrap();
        cursor.enter(OsStr::new("d")).unwrap();
    }
}

/// Makes `width` empty files.
pub(crate) fn make_wide(top: &Dir, width: usize) {
    for number in 0..width {
        let name = OsString::from(format!("f{number:06}"));
        drop(top.create_private(&name).unwrap());
    }
}

/// Runs the test `name` once more in a process of its own, where `is_child` is true.
pub(crate) fn in_a_child(name: &str) {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env("PLANBOX_TEST_CHILD", name)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// True in the process that [`in_a_child`] started for the test `name`.
pub(crate) fn is_child(name: &str) -> bool {
    std::env::var_os("PLANBOX_TEST_CHILD").is_some_and(|child| child == name)
}

/// Limits the descriptors of this process.
pub(crate) fn limit_descriptors(most: u64) {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let limit = Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    setrlimit(Resource::Nofile, limit).unwrap();
}

/// Gives up root in this thread; nothing to do for anybody else.
pub(crate) fn become_nobody() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let gid = rustix::process::Gid::from_raw(65534);
    let uid = rustix::process::Uid::from_raw(65534);
    rustix::thread::set_thread_groups(&[]).unwrap();
    rustix::thread::set_thread_res_gid(gid, gid, gid).unwrap();
    rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
}
