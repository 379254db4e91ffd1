//! The jobs of a manager's store.

use super::SandboxManager;
use crate::job::JobStore;

impl SandboxManager {
    /// The jobs of this store: records that live in the same journal, behind the same writer, as its
    /// plans. Every call gives the same store.
    ///
    /// It takes no more writes once the manager is gone.
    #[must_use]
    pub fn jobs(&self) -> JobStore {
        self.inner.jobs.clone()
    }
}
