//! Opening a manager over a store directory; what is in one, `journal::Home` knows.

use super::options::default_store;
use super::recover::RecoveryReport;
use super::{ManagerBuilder, SandboxManager};
use crate::error::OpenError;
use crate::journal::{Home, SqliteJournal};
use crate::plan::Places;
use std::path::Path;
use std::sync::Arc;

impl SandboxManager {
    /// Opens the store at `path`, making it if it is not there, and recovers what a crash left.
    ///
    /// Plans that another living process holds are left to it. What was recovered is in
    /// [`SandboxManager::recovered`]. No thread is started before the first write.
    ///
    /// # Errors
    /// [`OpenError`] if the directory cannot be a store (a link, another owner, a mode that lets
    /// others in, a foreign or newer format) or the journal cannot be opened. Nothing was written.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::builder().store(path.as_ref()).open()
    }
}

impl ManagerBuilder {
    /// Opens the store.
    ///
    /// # Errors
    /// As [`SandboxManager::open`].
    pub fn open(self) -> Result<SandboxManager, OpenError> {
        let path = match &self.store {
            Some(path) => path.clone(),
            None => default_store().ok_or(OpenError::NoHome)?,
        };
        let store = Home::open(&path)?;
        let journal = Arc::new(SqliteJournal::open(&store.root)?);
        let places = Places::new(store.root.join("plans"), store.id.clone());
        let leases = Some((store.plan_leases(), store.job_leases()));
        let recover = self.recover_at_open;
        let mut manager = self.build(journal, places, leases);
        if recover {
            let report = manager.recover();
            let report = report.unwrap_or_else(|error| {
                tracing::error!(%error, "recovery at open failed");
                RecoveryReport::default()
            });
            if let Some(inner) = Arc::get_mut(&mut manager.inner) {
                inner.recovered = report;
            }
        }
        Ok(manager)
    }
}
