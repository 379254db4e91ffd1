//! What a register held at one instant.

use super::stored::Stored;
use crate::sync::Loaded;
use std::fmt;
use std::sync::Arc;

/// What a register held at one instant: a version, and the value of that version, if it is loaded.
///
/// Taking one never waits, and it stays what it was for as long as it is kept: take it once for a
/// request, and answer everything from it. It keeps its value alive. A thread can have eight of them
/// at once that cost no reference count; further ones cost one.
pub struct Snapshot<T> {
    held: Loaded<Held<T>>,
}

/// The immutable content that a register points to.
pub(super) struct Held<T> {
    pub(super) version: String,
    pub(super) generation: u64,
    /// The generation of the row that named the version, if a row did.
    pub(super) stored: Option<u64>,
    /// None is the state *unloaded*.
    pub(super) value: Option<Arc<T>>,
}

impl<T> Held<T> {
    /// The same as a later change.
    pub(super) fn at(&self, generation: u64) -> Self {
        Self {
            version: self.version.clone(),
            generation,
            stored: self.stored,
            value: self.value.clone(),
        }
    }
}

impl<T> Clone for Snapshot<T> {
    fn clone(&self) -> Self {
        Self::of(self.held.share())
    }
}

impl<T> fmt::Debug for Snapshot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("version", &self.held.version)
            .field("generation", &self.held.generation)
            .field("stored", &self.held.stored)
            .field("is_loaded", &self.is_loaded())
            .finish_non_exhaustive()
    }
}

impl<T> Snapshot<T> {
    pub(super) fn loaded(held: Loaded<Held<T>>) -> Self {
        Self { held }
    }

    pub(super) fn of(held: Arc<Held<T>>) -> Self {
        Self::loaded(Loaded::of(held))
    }

    /// The version. Of an unloaded register it is the version of the value that it held last, and
    /// empty if it never held one.
    #[must_use]
    #[inline]
    pub fn version(&self) -> &str {
        &self.held.version
    }

    /// The value, or None if the register was unloaded.
    #[must_use]
    #[inline]
    pub fn value(&self) -> Option<&T> {
        self.held.value.as_deref()
    }

    /// The value, to keep beyond the snapshot.
    #[must_use]
    pub fn shared(&self) -> Option<Arc<T>> {
        self.held.value.clone()
    }

    /// True if there is a value.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.held.value.is_some()
    }

    /// Which change of this register brought it: 1 is what the register was made with. It says
    /// nothing about other registers, nor about other processes.
    #[must_use]
    #[inline]
    pub fn generation(&self) -> u64 {
        self.held.generation
    }

    /// The generation of the row that named this version, if a row did: the number that processes
    /// compare.
    #[must_use]
    pub fn stored(&self) -> Option<u64> {
        self.held.stored
    }

    /// True if this is what `row` says.
    #[must_use]
    pub fn agrees_with(&self, row: &Stored) -> bool {
        self.stored() == Some(row.generation())
            && match row.version() {
                Some(version) => self.is_loaded() && version == self.version(),
                None => !self.is_loaded(),
            }
    }

    /// The same version and value as a later change.
    pub(super) fn as_generation(&self, generation: u64) -> Arc<Held<T>> {
        Arc::new(self.held.at(generation))
    }
}
