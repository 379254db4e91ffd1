//! Changes as they happen: for a push channel, a progress bar, a follower of a log.

use super::JobStore;
use super::planted::JobFault;
use super::record::Job;
use crate::clock::Deadline;
use crate::error::JobError;
use crate::sync::{Condvar, Mutex, Rank, stage};
use std::time::Duration;

/// Most jobs in one answer of a [`Watch`].
pub const CHANGES_MAX: usize = 256;

/// How often a watch looks for changes that other processes made. Those of this process wake it.
pub const WATCH_EVERY: Duration = Duration::from_millis(50);

/// Wakes those who watch when this process has changed a job.
#[derive(Debug)]
pub(super) struct Bell {
    rung: Mutex<u64>,
    heard: Condvar,
}

impl Bell {
    pub(super) fn new() -> Self {
        Self {
            rung: Mutex::new(Rank::Leaf, "bell of jobs", 0),
            heard: Condvar::new(),
        }
    }

    pub(super) fn ring(&self) {
        *self.rung.lock() += 1;
        self.heard.notify_all();
    }

    fn count(&self) -> u64 {
        *self.rung.lock()
    }

    /// Waits until the bell was rung more than `before` times, or `longest` is over.
    fn wait(&self, before: u64, longest: Duration) {
        let deadline = Deadline::after(longest);
        let mut rung = self.rung.lock();
        while *rung == before && !deadline.is_over() {
            self.heard.wait_for(&mut rung, deadline.remaining());
        }
    }
}

/// A place in the changes of a store.
///
/// It holds no queue: a watch that is slow, or asleep, costs nothing and is told what it missed. It
/// starts no thread either. While [`Watch::next`] waits, a change of this process wakes it, and one
/// of another process is seen within [`WATCH_EVERY`].
#[derive(Debug)]
pub struct Watch {
    store: JobStore,
    since: u64,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Changes {
    /// The jobs that changed, as they are now, in the order of their revisions; without their logs.
    pub jobs: Vec<Job>,
    /// Revisions that cannot be seen any more: a later change of the same job took their place, or
    /// the job was removed.
    pub missed: u64,
    /// Everything up to this revision was seen or missed.
    pub revision: u64,
}

impl Watch {
    pub(super) fn new(store: &JobStore, since: u64) -> Self {
        Self {
            store: store.clone(),
            since,
        }
    }

    /// Everything up to this revision was seen or missed.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.since
    }

    /// The next changes; waits for them for `longest` at the most, and then says `None`.
    ///
    /// The number of revisions from the last answer to [`Changes::revision`] is the number of jobs
    /// and the missed ones together. An owner that dies writes nothing: who waits for the end of a
    /// job reads it when an answer stays out, or has somebody call [`JobStore::sweep`].
    ///
    /// # Errors
    /// [`JobError::Journal`]; the watch stays where it is.
    pub fn next(&mut self, longest: Duration) -> Result<Option<Changes>, JobError> {
        let deadline = Deadline::after(longest);
        loop {
            // Before the look: a change after it rings once more.
            let mut before = self.store.bell().count();
            if let Some(changes) = self.look()? {
                return Ok(Some(changes));
            }
            stage("jobs.looked");
            if self.store.is_planted(JobFault::LateEar) {
                before = self.store.bell().count();
            }
            if deadline.is_over() {
                return Ok(None);
            }
            let alone = self.store.is_in_memory();
            let left = deadline.remaining();
            let pause = if alone { left } else { left.min(WATCH_EVERY) };
            self.store.bell().wait(before, pause);
        }
    }

    fn look(&mut self) -> Result<Option<Changes>, JobError> {
        let found = self.store.changes(self.since, CHANGES_MAX)?;
        let cut = found.jobs.len() >= CHANGES_MAX;
        let last = found.jobs.last().map(|row| row.revision);
        let revision = last.filter(|_| cut).unwrap_or(found.newest);
        if revision <= self.since {
            return Ok(None);
        }
        let seen = u64::try_from(found.jobs.len()).unwrap_or(u64::MAX);
        let missed = (revision - self.since).saturating_sub(seen);
        let jobs = found.jobs.into_iter();
        let jobs = jobs
            .map(|row| JobStore::job_of(row, Vec::new()))
            .collect::<Result<Vec<Job>, JobError>>()?;
        self.since = revision;
        Ok(Some(Changes {
            jobs,
            missed,
            revision,
        }))
    }
}
