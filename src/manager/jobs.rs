//! The jobs of a manager's store.

use super::SandboxManager;
use crate::error::{GcError, JobError};
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

    /// Writes down which jobs are interrupted and removes what the dead left of them.
    pub(super) fn sweep_jobs(&self) -> Result<(), GcError> {
        match self.inner.jobs.sweep() {
            Err(JobError::Journal(source)) => Err(source.into()),
            other => {
                if let Err(error) = other {
                    tracing::warn!(%error, "the jobs were not swept");
                }
                Ok(())
            }
        }
    }
}
