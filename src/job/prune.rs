//! Removing jobs that are over.

use super::JobStore;
use super::rules;
use crate::clock;
use crate::crash;
use crate::error::{JobError, LockError};
use crate::id::JobId;
use crate::journal::Durability;
use crate::lock::LockWait;
use crate::state::JobState;
use serde::Serialize;
use std::time::Duration;

/// Which jobs to remove. Only those that are completed, failed or cancelled are ever removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "it is carried out by JobStore::prune"]
pub struct Prune {
    ids: Option<Vec<JobId>>,
    older_than: Duration,
}

impl Prune {
    /// All jobs that are over.
    pub fn all() -> Self {
        Self::default()
    }

    /// Only these.
    pub fn ids(mut self, ids: impl IntoIterator<Item = JobId>) -> Self {
        self.ids = Some(ids.into_iter().collect());
        self
    }

    /// Only those that did not change for so long.
    pub fn older_than(mut self, age: Duration) -> Self {
        self.older_than = age;
        self
    }
}

/// What was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Pruned {
    /// Jobs that are gone.
    pub removed: Vec<JobId>,
    /// Jobs that were asked for by name, and stay: they are not over, not old enough, or somebody
    /// is taking them at this moment. With the state they are in.
    pub kept: Vec<(JobId, JobState)>,
    /// Jobs that were asked for by name and are not there.
    pub unknown: Vec<JobId>,
}

impl JobStore {
    /// Removes jobs that are over, with their logs. An id that was removed is free for a new job;
    /// whoever still writes to the old one is refused with [`JobError::Gone`] and does not bring it
    /// back.
    ///
    /// Takes the lock and the lease of each job that it removes, one at a time: a job that somebody
    /// owns, or takes at this moment, stays. Lazy: a power cut may bring a removed job back, whole.
    ///
    /// # Errors
    /// [`JobError`] at the first job that cannot be removed; those before it are gone.
    pub fn prune(&self, prune: &Prune) -> Result<Pruned, JobError> {
        let age = u64::try_from(prune.older_than.as_millis()).unwrap_or(u64::MAX);
        let until = clock::now_unix_ms().saturating_sub(age);
        let mut pruned = Pruned::default();
        if let Some(ids) = &prune.ids {
            for job in ids {
                match self.remove(job, until) {
                    Ok(None) => pruned.removed.push(job.clone()),
                    Ok(Some(state)) => pruned.kept.push((job.clone(), state)),
                    Err(JobError::NotFound { job }) => pruned.unknown.push(job),
                    Err(error) => return Err(error),
                }
            }
            return Ok(pruned);
        }
        for row in self.rows()? {
            if !row.state.is_terminal() || row.changed_unix_ms > until {
                continue;
            }
            match self.remove(&row.job, until) {
                Ok(None) => pruned.removed.push(row.job),
                Ok(Some(_)) | Err(JobError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(pruned)
    }

    /// Removes one job; its state if it stays.
    fn remove(&self, job: &JobId, until: u64) -> Result<Option<JobState>, JobError> {
        let found = self.row(job)?.map(|row| self.settled(row));
        let Some(row) = found.transpose()?.flatten() else {
            return Err(JobError::NotFound { job: job.clone() });
        };
        if !row.state.is_terminal() || row.changed_unix_ms > until {
            return Ok(Some(row.state));
        }
        let _lock = self.lock(job, "prune")?;
        let lease = match self.leases().take(job, ("prune", LockWait::Try)) {
            Ok((lease, _)) => lease,
            Err(LockError::Busy { .. }) => return Ok(Some(row.state)),
            Err(source) => return Err(Self::lock_error(job, source)),
        };
        let id = job.clone();
        let kept = self.transact(job, Durability::Lazy, move |tx| {
            rules::remove(tx, &id, until)
        });
        crash::point("job.removed");
        drop(lease);
        kept
    }
}
