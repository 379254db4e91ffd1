//! The owner's side of a job.

use super::JobStore;
use super::json::Json;
use super::lease::Owned;
use super::patch::{Change, JobPatch, json};
use super::record::Job;
use super::rules::{self, End, Ticket, Who};
use crate::crash;
use crate::error::JobError;
use crate::id::JobId;
use crate::journal::Durability;
use crate::sync::{Mutex, Rank};
use serde::Serialize;
use std::fmt;
use std::sync::Arc;

/// One attempt at a job, owned by whoever holds this handle.
///
/// Cheap to clone; a clone is the same attempt and may go to another thread. The job is let go when
/// the attempt has ended or when the last clone is dropped. An attempt that is dropped without an
/// end, or whose process dies, is seen as [interrupted](crate::JobState::Interrupted) at once.
///
/// Every write names the attempt. Once the job was tried again, or taken for dead, each write of the
/// old attempt is refused with [`JobError::Fenced`]; once it is over, with [`JobError::Over`]; once
/// it was removed, with [`JobError::Gone`].
#[derive(Clone)]
#[must_use = "the job is interrupted when this is dropped"]
pub struct JobHandle {
    inner: Arc<Inner>,
}

struct Inner {
    store: JobStore,
    job: JobId,
    ticket: Ticket,
    /// A leaf latch: held to take the lease out, never while it is let go.
    lease: Mutex<Option<Owned>>,
}

impl JobHandle {
    pub(super) fn new(store: &JobStore, job: &JobId, ticket: Ticket, lease: Owned) -> Self {
        let inner = Inner {
            store: store.clone(),
            job: job.clone(),
            ticket,
            lease: Mutex::new(Rank::Leaf, "lease of a job", Some(lease)),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The job.
    #[must_use]
    pub fn id(&self) -> &JobId {
        &self.inner.job
    }

    /// Which attempt this is: 1, 2, ...
    #[must_use]
    pub fn attempt(&self) -> u64 {
        self.inner.ticket.attempt
    }

    /// The job as it is now.
    ///
    /// # Errors
    /// [`JobError::Journal`]; [`JobError::Gone`] if it was removed.
    pub fn read(&self) -> Result<Job, JobError> {
        let job = self.inner.store.read(&self.inner.job)?;
        job.ok_or_else(|| JobError::Gone {
            job: self.inner.job.clone(),
        })
    }

    /// True if somebody asked this attempt to stop. Looks at the store, and waits for nobody. False
    /// once the attempt may not write any more: the next write says so.
    ///
    /// # Errors
    /// [`JobError::Journal`].
    pub fn is_cancel_requested(&self) -> Result<bool, JobError> {
        let row = self.inner.store.row(&self.inner.job)?;
        Ok(row.is_some_and(|row| row.cancel && rules::ticket(&row) == self.inner.ticket))
    }

    /// Changes several fields in one durable step; returns the new revision. On disk when it
    /// returns.
    ///
    /// # Errors
    /// [`JobError`]; nothing was changed.
    pub fn update(&self, patch: JobPatch) -> Result<u64, JobError> {
        let change = patch.check(&self.inner.job)?;
        self.write(change, Durability::Flushed)
    }

    /// Adds a line to the log and says how far the job is, in one step. In the store when it
    /// returns, on disk with the next flushed write; [`JobHandle::update`] with
    /// [`JobPatch::log`] is on disk when it returns.
    ///
    /// # Errors
    /// [`JobError`]; nothing was changed.
    pub fn append_log(&self, line: &str, progress: Option<i64>) -> Result<u64, JobError> {
        self.write(Change::line(line, progress), Durability::Lazy)
    }

    /// Says how far the job is. Lazy, as [`JobHandle::append_log`].
    ///
    /// # Errors
    /// [`JobError`]; nothing was changed.
    pub fn progress(&self, percent: i64) -> Result<u64, JobError> {
        let change = JobPatch::new().progress(percent).check(&self.inner.job)?;
        self.write(change, Durability::Lazy)
    }

    /// Ends the attempt with a result: state, result and 100 percent in one durable step.
    ///
    /// # Errors
    /// [`JobError::Over`] if it has ended otherwise, [`JobError`] else; nothing was changed.
    pub fn complete<T: Serialize + ?Sized>(&self, result: &T) -> Result<u64, JobError> {
        let result = json(&self.inner.job, "result", result)?;
        self.end(End::Completed(result))
    }

    /// Ends the attempt with an error; the progress stays where it is.
    ///
    /// # Errors
    /// [`JobError::Over`] if it has ended otherwise, [`JobError`] else; nothing was changed.
    pub fn fail<T: Serialize + ?Sized>(&self, error: &T) -> Result<u64, JobError> {
        let error = json(&self.inner.job, "error", error)?;
        self.end(End::Failed(error))
    }

    /// Ends the attempt because it was asked to stop, or because its owner wants to.
    ///
    /// # Errors
    /// [`JobError::Over`] if it has ended otherwise, [`JobError`] else; nothing was changed.
    pub fn cancelled(&self) -> Result<u64, JobError> {
        self.end(End::Cancelled)
    }

    fn write(&self, change: Change, durability: Durability) -> Result<u64, JobError> {
        let Inner {
            store, job, ticket, ..
        } = &*self.inner;
        let (id, who) = (job.clone(), Who::Owner(*ticket));
        store.transact(job, durability, move |tx| {
            rules::write(tx, &id, (who, None), &change)
        })
    }

    fn end(&self, end: End) -> Result<u64, JobError> {
        let Inner {
            store, job, ticket, ..
        } = &*self.inner;
        let (id, ticket) = (job.clone(), *ticket);
        let revision = store.transact(job, Durability::Flushed, move |tx| {
            rules::finish(tx, &id, (ticket, &end))
        })?;
        crash::point("job.ended");
        let lease = self.inner.lease.lock().take();
        drop(lease);
        Ok(revision)
    }
}

impl fmt::Debug for JobHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobHandle")
            .field("id", &self.inner.job)
            .field("attempt", &self.inner.ticket.attempt)
            .finish_non_exhaustive()
    }
}

/// The owner's mark in the record of a job.
pub(super) fn owner_json(job: &JobId, owner: &crate::error::Holder) -> Result<Json, JobError> {
    json(job, "owner", owner)
}
