//! Names that a directory sandbox neither shows nor changes.
//!
//! A name is matched exactly, byte by byte, as one component at any level. Left out by default are
//! the stores of version-control systems, because a commit into half of one would corrupt it:
//! `.git`, `.hg`, `.svn`, `.bzr`, `.jj`, `.pijul`, `_darcs`. `CVS` is not among them: outside of a
//! very old tool it is somebody's own folder. Our own staging name is always left out.

use crate::error::{Fault, ParticipantError};
use crate::sandbox::Outcome;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

/// The name of our own staging inside a root.
pub(crate) const STAGING_NAME: &str = ".planbox";

/// The stores of version-control systems.
const VCS_NAMES: [&str; 7] = [".bzr", ".git", ".hg", ".jj", ".pijul", ".svn", "_darcs"];

/// The longest name that can be excluded, in bytes: the longest that Linux has.
const NAME_MAX_BYTES: usize = 255;

/// A set of names that are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exclusions {
    /// Sorted, without duplicates and without [`STAGING_NAME`].
    names: Vec<OsString>,
}

impl Default for Exclusions {
    /// The stores of version-control systems.
    fn default() -> Self {
        Self {
            names: VCS_NAMES.map(OsString::from).to_vec(),
        }
    }
}

impl Exclusions {
    /// Nothing but our own staging.
    #[must_use]
    pub(crate) fn none() -> Self {
        Self { names: Vec::new() }
    }

    /// These, and `name` too.
    ///
    /// # Errors
    /// [`Fault::Refused`] if `name` is not exactly one component of 1 to 255 bytes.
    pub(crate) fn with(mut self, name: impl Into<OsString>) -> Outcome<Self> {
        let name = name.into();
        if !is_component(name.as_bytes()) {
            return Err(ParticipantError::new(
                Fault::Refused,
                "an excluded name must be one component of a path, 1 to 255 bytes",
            )
            .at(name));
        }
        if let (Err(at), true) = (self.names.binary_search(&name), name != STAGING_NAME) {
            self.names.insert(at, name);
        }
        Ok(self)
    }

    /// True if `name` is left out.
    #[must_use]
    pub(crate) fn excludes(&self, name: &OsStr) -> bool {
        name == STAGING_NAME
            || self
                .names
                .binary_search_by(|kept| kept.as_os_str().cmp(name))
                .is_ok()
    }

    /// The names, sorted; without our own staging name.
    #[cfg(test)]
    pub(crate) fn names(&self) -> impl Iterator<Item = &OsStr> {
        self.names.iter().map(OsString::as_os_str)
    }
}

fn is_component(name: &[u8]) -> bool {
    (1..=NAME_MAX_BYTES).contains(&name.len())
        && name != b"."
        && name != b".."
        && !name.iter().any(|byte| matches!(byte, b'/' | 0))
}

/// A name in JSON: text where it is UTF-8, else its bytes.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Stored {
    Text(String),
    Bytes(Vec<u8>),
}

impl Serialize for Exclusions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.names.iter().map(|name| match name.to_str() {
            Some(text) => Stored::Text(text.to_owned()),
            None => Stored::Bytes(name.as_bytes().to_vec()),
        }))
    }
}

impl<'de> Deserialize<'de> for Exclusions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = Vec::<Stored>::deserialize(deserializer)?;
        stored.into_iter().try_fold(Self::none(), |all, name| {
            let name = match name {
                Stored::Text(text) => OsString::from(text),
                Stored::Bytes(bytes) => OsString::from_vec(bytes),
            };
            all.with(name).map_err(D::Error::custom)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_matched_whole_and_byte_by_byte() {
        let all = Exclusions::default().with("target").unwrap();
        for name in [".git", ".jj", "target", STAGING_NAME] {
            assert!(all.excludes(OsStr::new(name)), "{name}");
        }
        for name in [".gitignore", ".GIT", "git", "targets", "CVS", ""] {
            assert!(!all.excludes(OsStr::new(name)), "{name}");
        }
        assert!(!Exclusions::none().excludes(OsStr::new(".git")));
        assert!(Exclusions::none().excludes(OsStr::new(STAGING_NAME)));
        assert_eq!(all.names().count(), 8);
    }

    #[test]
    fn what_is_no_component_is_refused() {
        let long = "x".repeat(256);
        for name in ["", ".", "..", "a/b", "/", "a\0b", long.as_str()] {
            let error = Exclusions::none().with(name).unwrap_err();
            assert_eq!(error.fault, Fault::Refused, "{name:?}");
        }
    }

    #[test]
    fn it_survives_json_with_names_of_any_bytes() {
        let odd = OsString::from_vec(vec![b'a', 0xff, b'\n']);
        let all = Exclusions::default().with(odd.clone()).unwrap();
        let json = serde_json::to_string(&all).unwrap();
        let back: Exclusions = serde_json::from_str(&json).unwrap();
        assert_eq!(back, all);
        assert!(back.excludes(&odd));
        assert!(serde_json::from_str::<Exclusions>("[\"a/b\"]").is_err());
    }
}
