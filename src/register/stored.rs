//! A register that follows a row: how several processes agree on what is active.

use super::snapshot::Held;
use super::{RegisterError, RegisterFault, Snapshot, VersionRegister};
use crate::sync::witness;
use std::sync::Arc;

/// What a row in a database says is active.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    version: Option<String>,
    generation: u64,
}

impl Stored {
    /// The row names `version`, and every change of the row gives it another `generation`.
    #[must_use]
    pub fn new(version: impl Into<String>, generation: u64) -> Self {
        Self {
            version: Some(version.into()),
            generation,
        }
    }

    /// The row says that nothing is active.
    #[must_use]
    pub fn nothing(generation: u64) -> Self {
        Self {
            version: None,
            generation,
        }
    }

    /// The version, or None if nothing is active.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// Which change of the row it is.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

/// How a register stands to its row after [`VersionRegister::refresh`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Refreshed<T> {
    /// The register agrees with the row as it was read during the call.
    Current(Snapshot<T>),
    /// The row says something else, and somebody in this process is bringing it: another refresh is
    /// loading it, or a plan that changes row and register is being committed. This is what the
    /// register held meanwhile.
    Pending(Snapshot<T>),
}

impl<T> Refreshed<T> {
    /// What to answer from.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot<T> {
        match self {
            Self::Current(snapshot) | Self::Pending(snapshot) => snapshot,
        }
    }

    /// What to answer from, to keep.
    #[must_use]
    pub fn into_snapshot(self) -> Snapshot<T> {
        match self {
            Self::Current(snapshot) | Self::Pending(snapshot) => snapshot,
        }
    }

    /// True if the register agrees with the row.
    #[must_use]
    pub fn is_current(&self) -> bool {
        matches!(self, Self::Current(_))
    }
}

/// The one refresh of a register that loads; the others do not load the same once more.
struct Loading<'a, T>(&'a VersionRegister<T>);

impl<T> Drop for Loading<'_, T> {
    fn drop(&mut self) {
        self.0.shared.inner.lock().loading = false;
    }
}

impl<T> VersionRegister<T> {
    /// Has the register agree with a row that other processes change, too.
    ///
    /// `read` reads the row, `load` loads the version that it names; neither runs under a lock, and
    /// a failure of either changes nothing. The row is read *after* the register was looked at, and
    /// the register changes only if nobody else changed it in between: a thread that read an older
    /// row and was overtaken is refused and reads again. So the register follows the row whatever
    /// its numbers do (a restored backup counts back), and never goes back to a row of the past.
    ///
    /// One thread at a time loads; the others are told that it is [`Refreshed::Pending`]. When the
    /// register agrees, this costs what `read` costs: ask with each request if that is cheap, or
    /// with a tick.
    ///
    /// # Errors
    /// What `read` or `load` returned.
    ///
    /// # Panics
    /// In a debug build, if the calling thread holds a latch of this crate.
    pub fn refresh<E>(
        &self,
        mut read: impl FnMut() -> Result<Stored, E>,
        mut load: impl FnMut(&str) -> Result<Arc<T>, E>,
    ) -> Result<Refreshed<T>, E> {
        loop {
            let seen = self.snapshot();
            witness::about_to_block("the row of a register");
            let row = read()?;
            if seen.agrees_with(&row) {
                return Ok(Refreshed::Current(seen));
            }
            let Some(loading) = self.begin_loading() else {
                return Ok(Refreshed::Pending(seen));
            };
            let value = row.version().map(&mut load).transpose()?;
            let version = row.version().unwrap_or(seen.version()).to_owned();
            let held = Held {
                version,
                generation: seen.generation() + 1,
                stored: Some(row.generation()),
                value,
            };
            let expected = if self.shared.planted.is(RegisterFault::OldRow) {
                self.snapshot().generation()
            } else {
                seen.generation()
            };
            let outcome = self.replace(expected, Arc::new(held));
            drop(loading);
            match outcome {
                Ok(now) => return Ok(Refreshed::Current(now)),
                Err(RegisterError::Promised) => return Ok(Refreshed::Pending(self.snapshot())),
                Err(RegisterError::Moved { .. }) => (),
            }
        }
    }

    /// Says that this thread loads, unless somebody else is about to change the register.
    fn begin_loading(&self) -> Option<Loading<'_, T>> {
        let mut inner = self.shared.inner.lock();
        let busy = inner.loading && !self.shared.planted.is(RegisterFault::NoTurn);
        if busy || inner.promised.is_some() {
            return None;
        }
        inner.loading = true;
        Some(Loading(self))
    }
}
