//! A directory for one scenario, removed at its end.

use super::Tried;
use crate::clock;
use crate::fs;
use std::path::{Path, PathBuf};

/// A private directory below the system's directory for temporary files.
#[derive(Debug)]
pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// A fresh one.
    pub(super) fn new() -> Tried<Self> {
        let name = format!("planbox-conformance-{}", clock::fresh_token());
        let path = std::env::temp_dir().join(name);
        drop(fs::make_private_dirs(&path)?);
        Ok(Self(path))
    }

    /// A fresh directory in it.
    pub(super) fn make(&self, name: &str) -> Tried<PathBuf> {
        let path = self.0.join(name);
        drop(fs::make_private_dirs(&path)?);
        Ok(path)
    }

    /// A path in it, of which nothing is made.
    #[cfg(feature = "sqlite")]
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let (Some(parent), Some(name)) = (self.0.parent(), self.0.file_name()) else {
            return;
        };
        let removed = fs::Dir::open(parent)
            .and_then(|parent| fs::remove_tree(&parent, name, &mut |_| Ok(())));
        if let Err(error) = removed {
            tracing::warn!(%error, path = %self.0.display(), "a scratch directory stays");
        }
    }
}

/// The names in a directory, sorted, one per line; nothing if it is gone.
pub(super) fn names(path: &Path) -> Tried<String> {
    match fs::Dir::open(path) {
        Ok(dir) => {
            let names = dir.entries()?.sorted();
            let names = names.iter().map(|name| name.to_string_lossy().into_owned());
            Ok(names.collect::<Vec<_>>().join("\n"))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error.into()),
    }
}
