//! A versioned value that many threads read while it is replaced.
//!
//! A [`VersionRegister`] holds one immutable triple of version, value and generation behind one
//! pointer. A reader takes a [`Snapshot`] without waiting and keeps it for as long as it likes; it
//! never sees the version of one value with another. Replacing is compare-and-swap on the
//! generation, which grows with each change and never comes back. Loading happens outside of every
//! lock, and *unloaded* is a state of its own.
//!
//! Several processes agree through a row of a database: [`VersionRegister::refresh`].

use crate::clock;
use crate::error::{Explain, Stage};
use crate::sync::{Mutex, Rank, Swap, witness};
use snapshot::Held;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

mod draft;
mod planted;
mod snapshot;
mod stored;

pub(crate) use draft::{Draft, DraftError, Wish};
use planted::Planted;
#[doc(hidden)]
pub use planted::RegisterFault;
pub use snapshot::Snapshot;
pub use stored::{Refreshed, Stored};

/// A value under a version, replaced as one. Cheap to clone; clones are the same register.
pub struct VersionRegister<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    id: String,
    /// What readers look at. It changes only under the latch below.
    current: Swap<Held<T>>,
    /// A leaf latch, held to compare and swap, never by a reader; no value is loaded or dropped
    /// under it.
    inner: Mutex<Inner<T>>,
    planted: Planted,
}

struct Inner<T> {
    /// The token of the draft that was promised the next change.
    promised: Option<String>,
    /// True while a refresh loads.
    loading: bool,
    drafts: BTreeMap<String, Draft<T>>,
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

/// Why [`VersionRegister::activate_with`] changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ActivateError<E> {
    /// The register refused.
    #[error(transparent)]
    Refused(#[from] RegisterError),
    /// The loader failed; what it said.
    #[error("the value could not be loaded: {0}")]
    Load(E),
}

impl<E: fmt::Debug + fmt::Display> Explain for ActivateError<E> {
    fn code(&self) -> &'static str {
        match self {
            Self::Refused(refused) => refused.code(),
            Self::Load(_) => "register-load-failed",
        }
    }
    fn is_retryable(&self) -> bool {
        matches!(self, Self::Refused(refused) if refused.is_retryable())
    }
    fn next_step(&self) -> String {
        match self {
            Self::Refused(refused) => refused.next_step(),
            Self::Load(_) => "nothing has changed; see what the loader said".to_owned(),
        }
    }
    fn stage(&self) -> Option<Stage> {
        None
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
        Self::holding(version.into(), Some(Arc::new(value)), Planted::default())
    }

    /// The same with a fault in it, for a negative control: a test that must notice.
    #[doc(hidden)]
    #[cfg(debug_assertions)]
    #[must_use]
    pub fn with_fault(version: impl Into<String>, value: T, fault: RegisterFault) -> Self {
        let fault = Some(fault);
        Self::holding(version.into(), Some(Arc::new(value)), Planted { fault })
    }

    /// A register that holds no value yet, at generation 1.
    #[must_use]
    pub fn unloaded() -> Self {
        Self::holding(String::new(), None, Planted::default())
    }

    fn holding(version: String, value: Option<Arc<T>>, planted: Planted) -> Self {
        let held = Held {
            version,
            generation: 1,
            stored: None,
            value,
        };
        let inner = Inner {
            promised: None,
            loading: false,
            drafts: BTreeMap::new(),
        };
        Self {
            shared: Arc::new(Shared {
                id: clock::fresh_token(),
                current: Swap::new(Arc::new(held)),
                inner: Mutex::new(Rank::Leaf, "register", inner),
                planted,
            }),
        }
    }

    /// Text that no other register of this machine has.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.shared.id
    }

    /// What the register holds now. Takes no lock and waits for nobody.
    #[must_use]
    #[inline]
    pub fn snapshot(&self) -> Snapshot<T> {
        Snapshot::loaded(self.shared.current.load())
    }

    /// Replaces version and value if nobody else did since `expected_generation`; answers the new
    /// generation. A refusal changes nothing. Takes the register's latch for the swap.
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
        self.change(expected_generation, version.into(), Some(value))
    }

    /// As [`VersionRegister::activate`], with the value that `load` gives. It is called without any
    /// lock, only if the register is as expected, and may take as long as it likes: readers go on,
    /// and so do other activations, in which case this one is refused in the end.
    ///
    /// # Errors
    /// [`ActivateError::Load`] with what `load` returned, [`ActivateError::Refused`] as `activate`.
    /// Nothing has changed then.
    ///
    /// # Panics
    /// In a debug build, if the calling thread holds a latch of this crate.
    pub fn activate_with<E>(
        &self,
        expected_generation: u64,
        version: impl Into<String>,
        load: impl FnOnce() -> Result<Arc<T>, E>,
    ) -> Result<u64, ActivateError<E>> {
        self.expect(expected_generation)?;
        witness::about_to_block("loading the value of a register");
        let value = load().map_err(ActivateError::Load)?;
        Ok(self.activate(expected_generation, version, value)?)
    }

    /// Takes the value out if nobody else changed the register since `expected_generation`; answers
    /// the new generation. The version stays, to say what was unloaded; snapshots taken before keep
    /// the value. Takes the register's latch for the swap.
    ///
    /// # Errors
    /// As [`VersionRegister::activate`].
    pub fn unload(&self, expected_generation: u64) -> Result<u64, RegisterError> {
        let version = self.snapshot().version().to_owned();
        self.change(expected_generation, version, None)
    }

    fn change(
        &self,
        expected: u64,
        version: String,
        value: Option<Arc<T>>,
    ) -> Result<u64, RegisterError> {
        let held = Held {
            version,
            generation: expected.saturating_add(1),
            stored: None,
            value,
        };
        let now = self.replace(expected, Arc::new(held))?;
        Ok(now.generation())
    }

    /// Refuses unless the register is at this generation.
    fn expect(&self, expected: u64) -> Result<(), RegisterError> {
        let current = self.shared.current.load();
        if current.generation == expected {
            return Ok(());
        }
        Err(RegisterError::Moved {
            expected,
            found: current.generation,
            version: current.version.clone(),
        })
    }

    /// The one compare-and-swap: puts `next` in if the register is at `expected` and promised to
    /// nobody.
    fn replace(&self, expected: u64, next: Arc<Held<T>>) -> Result<Snapshot<T>, RegisterError> {
        let inner = self.shared.inner.lock();
        let planted = self.shared.planted;
        let refusal = match self.expect(expected) {
            _ if planted.is(RegisterFault::NoComparison) => None,
            Ok(()) if inner.promised.is_none() || planted.is(RegisterFault::NoPromise) => None,
            Ok(()) => Some(RegisterError::Promised),
            Err(error) => Some(error),
        };
        if let Some(error) = refusal {
            // A value may take its time to go, or look into this register: not under the latch.
            drop(inner);
            drop(next);
            return Err(error);
        }
        let now = Snapshot::of(Arc::clone(&next));
        let old = self.shared.current.replace(next);
        drop(inner);
        drop(old);
        Ok(now)
    }
}

#[cfg(test)]
mod tests;
