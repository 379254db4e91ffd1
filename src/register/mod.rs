//! A versioned value that many threads read while it is replaced.
//!
//! A [`VersionRegister`] holds one immutable triple of version, value and generation behind one
//! pointer. A reader takes a [`Snapshot`] and keeps it for as long as it likes; it never sees the
//! version of one value with another. Replacing is compare-and-swap on the generation, which grows
//! with each change and never comes back.

use crate::clock;
use crate::error::{Explain, Stage};
use crate::sync::{Rank, RwLock};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

mod draft;

pub(crate) use draft::{Draft, DraftError};

/// A value under a version, replaced as one. Cheap to clone; clones are the same register.
pub struct VersionRegister<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    id: String,
    /// A leaf latch, held to look or to swap; no value is dropped under it.
    inner: RwLock<Inner<T>>,
}

struct Inner<T> {
    current: Snapshot<T>,
    /// The token of the draft that was promised the next change.
    promised: Option<String>,
    drafts: BTreeMap<String, Draft<T>>,
}

/// What a register held at one instant.
pub struct Snapshot<T> {
    held: Arc<Held<T>>,
}

struct Held<T> {
    version: String,
    generation: u64,
    value: Arc<T>,
}

/// Why a register was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// Somebody else changed it first.
    #[error(
        "the register was expected at generation {expected}, but it is at {found} with version {version:?}"
    )]
    Moved {
        /// The generation that the caller expected.
        expected: u64,
        /// The generation that it has.
        found: u64,
        /// The version that is active.
        version: String,
    },
    /// A plan that is being committed was promised the next change.
    #[error("a plan that is being committed was promised the next version of the register")]
    Promised,
}

impl Explain for RegisterError {
    fn code(&self) -> &'static str {
        match self {
            Self::Moved { .. } => "register-moved",
            Self::Promised => "register-promised",
        }
    }
    fn is_retryable(&self) -> bool {
        matches!(self, Self::Promised)
    }
    fn next_step(&self) -> String {
        match self {
            Self::Moved { .. } => "take a new snapshot and decide again",
            Self::Promised => "wait until the plan has ended, then take a new snapshot",
        }
        .to_owned()
    }
    fn stage(&self) -> Option<Stage> {
        None
    }
}

impl<T> Clone for Snapshot<T> {
    fn clone(&self) -> Self {
        Self {
            held: Arc::clone(&self.held),
        }
    }
}

impl<T> fmt::Debug for Snapshot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("version", &self.held.version)
            .field("generation", &self.held.generation)
            .finish_non_exhaustive()
    }
}

impl<T> Snapshot<T> {
    fn new(version: String, generation: u64, value: Arc<T>) -> Self {
        let held = Arc::new(Held {
            version,
            generation,
            value,
        });
        Self { held }
    }

    /// The version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.held.version
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> &T {
        &self.held.value
    }

    /// The value, to keep beyond the snapshot.
    #[must_use]
    pub fn shared(&self) -> Arc<T> {
        Arc::clone(&self.held.value)
    }

    /// Which change of the register brought it: 1 is what the register was made with.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.held.generation
    }

    /// The same version and value as a later change.
    fn as_generation(&self, generation: u64) -> Self {
        Self::new(self.held.version.clone(), generation, self.shared())
    }
}

impl<T> Clone for VersionRegister<T> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<T> fmt::Debug for VersionRegister<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VersionRegister")
            .field("id", &self.shared.id)
            .field("current", &self.snapshot())
            .finish_non_exhaustive()
    }
}

impl<T> VersionRegister<T> {
    /// A register that holds `value` under `version`, at generation 1.
    #[must_use]
    pub fn new(version: impl Into<String>, value: T) -> Self {
        let inner = Inner {
            current: Snapshot::new(version.into(), 1, Arc::new(value)),
            promised: None,
            drafts: BTreeMap::new(),
        };
        Self {
            shared: Arc::new(Shared {
                id: clock::fresh_token(),
                inner: RwLock::new(Rank::Leaf, "register", inner),
            }),
        }
    }

    /// Text that no other register of this machine has.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.shared.id
    }

    /// What the register holds now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot<T> {
        self.shared.inner.read().current.clone()
    }

    /// Replaces version and value if nobody else did since `expected_generation`; answers the new
    /// generation. A refusal changes nothing.
    ///
    /// # Errors
    /// [`RegisterError::Moved`] if the register has another generation,
    /// [`RegisterError::Promised`] while a plan that changes it is being committed.
    pub fn activate(
        &self,
        expected_generation: u64,
        version: impl Into<String>,
        value: Arc<T>,
    ) -> Result<u64, RegisterError> {
        let version = version.into();
        let mut inner = self.shared.inner.write();
        let found = inner.current.generation();
        if found != expected_generation {
            return Err(RegisterError::Moved {
                expected: expected_generation,
                found,
                version: inner.current.version().to_owned(),
            });
        }
        if inner.promised.is_some() {
            return Err(RegisterError::Promised);
        }
        let next = Snapshot::new(version, found + 1, value);
        let old = std::mem::replace(&mut inner.current, next);
        drop(inner);
        // A value may take its time to go, or look into this register: not under the latch.
        drop(old);
        Ok(found + 1)
    }
}

#[cfg(test)]
mod tests;
