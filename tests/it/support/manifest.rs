//! A manifest of a tree: everything that a commit may and may not change, one line an entry.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Relative path -> type, mode, content and modification time of a tree.
pub(crate) type Manifest = BTreeMap<PathBuf, String>;

/// The manifest of the tree at `root`, with modification times.
pub(crate) fn manifest(root: &Path) -> Manifest {
    let mut found = Manifest::new();
    visit(root, Path::new(""), &mut found);
    found
}

/// The manifest without modification times of directories: a disjoint change of somebody else
/// moves those.
pub(crate) fn contents(root: &Path) -> Manifest {
    let mut found = manifest(root);
    for line in found.values_mut() {
        if line.starts_with("dir") {
            line.truncate(line.find(" mtime").unwrap_or(line.len()));
        }
    }
    found
}

fn visit(root: &Path, below: &Path, found: &mut Manifest) {
    let path = root.join(below);
    let meta = std::fs::symlink_metadata(&path).unwrap();
    let kind = if meta.is_dir() {
        "dir"
    } else if meta.is_symlink() {
        "link"
    } else {
        "file"
    };
    let mut line = format!("{kind} {:o}", meta.mode() & 0o7777);
    if meta.is_file() {
        let bytes = std::fs::read(&path).unwrap();
        write!(line, " {} {}", bytes.len(), blake3::hash(&bytes).to_hex()).unwrap();
    }
    if meta.is_symlink() {
        let target = std::fs::read_link(&path).unwrap();
        write!(line, " -> {}", target.as_os_str().as_bytes().escape_ascii()).unwrap();
    }
    write!(line, " mtime {}.{}", meta.mtime(), meta.mtime_nsec()).unwrap();
    found.insert(below.to_owned(), line);
    if meta.is_dir() {
        for entry in std::fs::read_dir(&path).unwrap() {
            visit(root, &below.join(entry.unwrap().file_name()), found);
        }
    }
}
