//! A store of jobs in a directory.

use super::JobStore;
use crate::error::OpenError;
use crate::journal::{Home, SqliteJournal};
use crate::lock::LockWait;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long a job's lock is waited for in this process. It is held for one write at a time.
const LOCK_WAIT: LockWait = LockWait::For(Duration::from_secs(30));

impl JobStore {
    /// Opens the store at `path`, making it if it is not there. It is the store of a
    /// [`SandboxManager`](crate::SandboxManager): both may have it open at once, in any number of
    /// processes. No thread is started before the first write.
    ///
    /// # Errors
    /// [`OpenError`] if the directory cannot be a store (a link, another owner, a mode that lets
    /// others in, a foreign or newer format) or the journal cannot be opened. Nothing was written.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let home = Home::open(path.as_ref())?;
        let journal = Arc::new(SqliteJournal::open(&home.root)?);
        Ok(Self::over(journal, Some(&home.job_leases()), LOCK_WAIT))
    }
}
