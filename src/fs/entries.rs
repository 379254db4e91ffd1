//! The names in one directory, compactly.

use super::stat::FileKind;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;

/// The names in one directory: one buffer for all of them, so that a million names stay small.
#[derive(Clone, Default)]
pub(crate) struct Names {
    bytes: Vec<u8>,
    ends: Vec<(usize, Option<FileKind>)>,
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Names {
    pub(super) fn push(&mut self, name: &[u8], kind: Option<FileKind>) {
        self.bytes.extend_from_slice(name);
        self.ends.push((self.bytes.len(), kind));
    }

    /// How many names there are.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// True if there are none.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The name at `index`, with its kind where the directory itself tells.
    #[must_use]
    pub(crate) fn get(&self, index: usize) -> Option<(&OsStr, Option<FileKind>)> {
        let (end, kind) = *self.ends.get(index)?;
        let start = match index.checked_sub(1) {
            Some(before) => self.ends.get(before)?.0,
            None => 0,
        };
        Some((OsStr::from_bytes(self.bytes.get(start..end)?), kind))
    }

    /// All names, in the order of the directory.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&OsStr, Option<FileKind>)> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// All names, sorted byte by byte.
    #[must_use]
    pub(crate) fn sorted(&self) -> Vec<OsString> {
        let mut names: Vec<_> = self.iter().map(|(name, _)| name.to_owned()).collect();
        names.sort_unstable();
        names
    }
}
