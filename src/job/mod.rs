//! Jobs: long work that several threads and processes watch, steer and report on.
//!
//! A [`JobStore`] keeps one record for each job: state, progress, log, result. A record is changed
//! only under its lock, in one durable step, and is read whole, without waiting.
//!
//! ```
//! use planbox::JobId;
//! use planbox::job::{JobPatch, JobStore, NewJob};
//!
//! # fn main() -> Result<(), planbox::Error> {
//! let jobs = JobStore::in_memory();
//! let id = JobId::new("restyle-7")?;
//! jobs.create(&id, NewJob::new("restyle").set("profile", "warm"))?;
//!
//! let owner = jobs.start(&id)?; // owned: a lease that dies with us
//! owner.append_log("pass 1", Some(40))?;
//! owner.update(JobPatch::new().progress(90).set("preview", "a.png"))?;
//! owner.complete(&serde_json::json!({ "video": "a.mp4" }))?;
//!
//! let job = jobs.read(&id)?.expect("it is there");
//! assert!(job.state.is_terminal() && job.progress == 100 && job.result.is_some());
//! assert!(owner.fail("too late").is_err(), "the first end stands");
//! # Ok(())
//! # }
//! ```
//!
//! # The lock of a record
//! Every change is one transaction of the store's journal: it reads the row, judges, and writes.
//! The journal's one writer and SQLite's write lock let one such transaction happen at a time, in all
//! processes; that is the lock of each record, and changes that wait for it share a flush. What is
//! more than one transaction, taking a job and removing it, is done under the job's lock in
//! `LockTable<JobId>`, and then its lease.
//!
//! # What is durable when
//! Everything but log lines ([`JobStore::append_log`], [`JobHandle::append_log`]), mere progress
//! ([`JobHandle::progress`]) and [`JobStore::prune`] is on disk when it returns. These are seen by
//! everybody when they return, survive the death of the process, and are on disk with the next
//! flushed write; a power cut may undo them, whole steps from the end.

use crate::error::{JobError, LockError};
use crate::id::JobId;
use crate::journal::{
    Durability, Early, JobChanges, JobRow, JobTx, JobWork, JournalStore, LineRow, MemoryJournal,
};
use crate::lock::{KeyGuard, LockTable, LockWait};
use crate::state::{JobEvent, JobState};
use crate::sync::{Rank, stage};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, OnceLock};

mod json;
mod lease;
mod owner;
mod patch;
mod planted;
mod prune;
mod record;
mod rules;
#[cfg(feature = "sqlite")]
mod store;
#[cfg(test)]
mod tests;
mod watch;

pub use crate::journal::LOG_LINES_MAX;
pub use json::{Json, Secret};
pub use owner::JobHandle;
pub use patch::{JobPatch, LOG_LINE_MAX_BYTES, NewJob, PATCH_LINES_MAX};
#[doc(hidden)]
pub use planted::JobFault;
pub use prune::{Prune, Pruned};
pub use record::{Job, LogLine, RECORD_MAX_BYTES};
pub use watch::{CHANGES_MAX, Changes, WATCH_EVERY, Watch};

use lease::Leases;
use planted::Planted;
use record::Record;
use rules::{Dead, Ruled, Who};
use watch::Bell;

/// A store of jobs. Cheap to clone; every clone is the same store.
///
/// # Locks
/// Reading takes none. A change of one record is one transaction. [`JobStore::start`],
/// [`JobStore::retry`] and [`JobStore::prune`] take the lock of the job (rank `job`), then its lease.
#[derive(Debug, Clone)]
pub struct JobStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    journal: Arc<dyn JournalStore>,
    locks: LockTable<JobId>,
    leases: Leases,
    bell: Bell,
    wait: LockWait,
    planted: Planted,
}

impl JobStore {
    /// A store that lives in memory and goes with its last clone.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::over(Arc::new(MemoryJournal::new()), None, LockWait::Block)
    }

    /// A store in memory with a fault in it, for a negative control: a test that must notice.
    #[doc(hidden)]
    #[cfg(debug_assertions)]
    #[must_use]
    pub fn with_fault(fault: JobFault) -> Self {
        let fault = Some(fault);
        let journal = Arc::new(MemoryJournal::new());
        Self::planted((journal, None, LockWait::Block), Planted { fault })
    }

    /// The jobs of `journal`, with their leases in the directory `leases`.
    pub(crate) fn over(
        journal: Arc<dyn JournalStore>,
        leases: Option<&Path>,
        wait: LockWait,
    ) -> Self {
        Self::planted((journal, leases, wait), Planted::default())
    }

    fn planted(
        (journal, leases, wait): (Arc<dyn JournalStore>, Option<&Path>, LockWait),
        planted: Planted,
    ) -> Self {
        let leases = leases.map_or_else(Leases::list, |path| Leases::Files(path.to_owned()));
        Self {
            inner: Arc::new(Inner {
                journal,
                locks: LockTable::new(Rank::Job),
                leases,
                bell: Bell::new(),
                wait,
                planted,
            }),
        }
    }

    /// Makes a job, queued. Returns its revision. On disk when it returns.
    ///
    /// # Errors
    /// [`JobError::Exists`]; [`JobError::Secret`] or [`JobError::Unstorable`] if a value may not be
    /// stored; [`JobError::Journal`].
    pub fn create(&self, job: &JobId, new: NewJob) -> Result<u64, JobError> {
        let (kind, extra) = new.check(job)?;
        let text = Record::new(kind, extra).to_text();
        let text = text.map_err(|error| patch::unstorable(job, "record", error.to_string()))?;
        let id = job.clone();
        self.transact(job, Durability::Flushed, move |tx| {
            rules::create(tx, &id, &text)
        })
    }

    /// Takes a queued job and begins its first attempt. On disk when it returns.
    ///
    /// # Errors
    /// [`JobError::Lock`] if somebody owns it, [`JobError::WrongState`] or [`JobError::Over`] if it
    /// was started before, [`JobError::NotFound`], [`JobError::Journal`].
    pub fn start(&self, job: &JobId) -> Result<JobHandle, JobError> {
        self.claim(job, JobEvent::Start, "start a job")
    }

    /// Takes a job that failed, was cancelled or interrupted, and begins its next attempt: from 0
    /// percent, without the old error, with the old log. Late writes of the old attempt are refused.
    /// On disk when it returns.
    ///
    /// # Errors
    /// [`JobError::Lock`] if its owner is alive, [`JobError::Over`] if it is completed,
    /// [`JobError::WrongState`] if it was never started, [`JobError::NotFound`],
    /// [`JobError::Journal`].
    pub fn retry(&self, job: &JobId) -> Result<JobHandle, JobError> {
        self.claim(job, JobEvent::Retry, "retry a job")
    }

    /// Changes several fields in one durable step; returns the new revision. On disk when it
    /// returns. Anybody may do it; an owner uses its handle, whose writes are fenced.
    ///
    /// # Errors
    /// [`JobError::NotFound`]; [`JobError::Over`] or [`JobError::WrongState`] if the patch has
    /// progress or log lines and nobody can work on the job any more; [`JobError::Secret`],
    /// [`JobError::Unstorable`], [`JobError::Journal`]. Nothing was changed.
    pub fn update(&self, job: &JobId, patch: JobPatch) -> Result<u64, JobError> {
        self.patch(job, patch, None)
    }

    /// As [`JobStore::update`], if the job still has this revision.
    ///
    /// # Errors
    /// As there, and [`JobError::Changed`].
    pub fn update_if(&self, job: &JobId, revision: u64, patch: JobPatch) -> Result<u64, JobError> {
        self.patch(job, patch, Some(revision))
    }

    /// Adds a line to the log and says how far the job is, in one step. The progress is clamped to
    /// 0..=100 and never decreases within an attempt; the log keeps the newest [`LOG_LINES_MAX`]
    /// lines. Lazy: see the module.
    ///
    /// # Errors
    /// [`JobError::NotFound`], [`JobError::Over`], [`JobError::WrongState`], [`JobError::Journal`].
    pub fn append_log(
        &self,
        job: &JobId,
        line: &str,
        progress: Option<i64>,
    ) -> Result<u64, JobError> {
        let change = patch::Change::line(line, progress);
        self.write(job, (change, None), Durability::Lazy)
    }

    /// Asks the owner to stop, and leaves the rest to it: the job goes on until the owner says that
    /// it is cancelled, or ends otherwise. A job that nobody works on is cancelled at once. Returns
    /// the state it is in now. On disk when it returns.
    ///
    /// # Errors
    /// [`JobError::NotFound`], [`JobError::Over`], [`JobError::Journal`].
    pub fn cancel(&self, job: &JobId) -> Result<JobState, JobError> {
        let (id, dead) = (job.clone(), self.dead(job)?);
        self.transact(job, Durability::Flushed, move |tx| {
            rules::cancel(tx, &id, dead)
        })
    }

    /// The whole job, as of one moment; `None` if there is none. Never waits for a write.
    ///
    /// A job that runs, but whose owner is dead, is given as interrupted.
    ///
    /// # Errors
    /// [`JobError::Journal`].
    pub fn read(&self, job: &JobId) -> Result<Option<Job>, JobError> {
        self.read_after(job, 0)
    }

    /// As [`JobStore::read`], with only those lines of the log whose number is greater than `seq`.
    ///
    /// # Errors
    /// As there.
    pub fn read_after(&self, job: &JobId, seq: u64) -> Result<Option<Job>, JobError> {
        let found = self.inner.journal.job_and_log(job, seq)?;
        let again = || Ok(self.inner.journal.job_and_log(job, seq)?);
        let Some((row, lines)) = self.as_it_is(found, |(row, _)| row, again)? else {
            return Ok(None);
        };
        Self::job_of(row, lines).map(Some)
    }

    /// Every job, in the order of their ids, without their logs. Never waits for a write.
    ///
    /// # Errors
    /// [`JobError::Journal`].
    pub fn list(&self) -> Result<Vec<Job>, JobError> {
        let mut jobs = Vec::new();
        for row in self.rows()? {
            if let Some(row) = self.settled(row)? {
                jobs.push(Self::job_of(row, Vec::new())?);
            }
        }
        Ok(jobs)
    }

    /// Watches for changes after revision `since`: 0 for all, [`JobStore::revision`] for those from
    /// now on.
    #[must_use]
    pub fn watch(&self, since: u64) -> Watch {
        Watch::new(self, since)
    }

    /// The number of the newest change of any job.
    ///
    /// # Errors
    /// [`JobError::Journal`].
    pub fn revision(&self) -> Result<u64, JobError> {
        Ok(self.changes(u64::MAX, 0)?.newest)
    }

    /// Writes down which jobs are interrupted, and returns them: those who watch are told then. Also
    /// removes the lease files that the dead left behind.
    ///
    /// Not needed for the truth: a reader sees it at once, and the next writer writes it down.
    ///
    /// # Errors
    /// [`JobError::Journal`].
    pub fn sweep(&self) -> Result<Vec<JobId>, JobError> {
        let mut interrupted = Vec::new();
        let mut owned = BTreeSet::new();
        for row in self.rows()? {
            if row.state == JobState::Running {
                owned.insert(row.job.file_name());
            }
            let job = row.job.clone();
            let Some(dead) = self.dead_at(row)? else {
                continue;
            };
            let id = job.clone();
            let run = move |tx: &mut JobTx<'_>| rules::interrupt(tx, &id, dead);
            match self.transact(&job, Durability::Flushed, run) {
                Ok(true) => {
                    owned.remove(&job.file_name());
                    interrupted.push(job);
                }
                Ok(false) | Err(JobError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.leases().sweep(&owned);
        Ok(interrupted)
    }

    /// How many jobs have a lock in this process now.
    #[must_use]
    pub fn locks(&self) -> usize {
        self.inner.locks.len()
    }

    fn claim(
        &self,
        job: &JobId,
        event: JobEvent,
        operation: &'static str,
    ) -> Result<JobHandle, JobError> {
        let _lock = self.lock(job, operation)?;
        let Some(row) = self.row(job)? else {
            return Err(JobError::NotFound { job: job.clone() });
        };
        // The end of an attempt is seen by all a moment before its owner lets go.
        let wait = if row.state.is_terminal() {
            self.inner.wait
        } else {
            LockWait::Try
        };
        let taken = self.inner.leases.take(job, (operation, wait));
        let (lease, me) = taken.map_err(|source| Self::lock_error(job, source))?;
        crate::crash::point("job.taken");
        let (id, owner) = (job.clone(), owner::owner_json(job, &me)?);
        let ticket = self.transact(job, Durability::Flushed, move |tx| {
            rules::claim(tx, &id, (event, &owner))
        })?;
        Ok(JobHandle::new(self, job, ticket, lease))
    }

    fn patch(&self, job: &JobId, patch: JobPatch, seen: Option<u64>) -> Result<u64, JobError> {
        let change = patch.check(job)?;
        self.write(job, (change, seen), Durability::Flushed)
    }

    fn write(
        &self,
        job: &JobId,
        (change, seen): (patch::Change, Option<u64>),
        durability: Durability,
    ) -> Result<u64, JobError> {
        let (id, dead) = (job.clone(), self.dead(job)?);
        self.transact(job, durability, move |tx| {
            rules::write(tx, &id, (Who::Anybody(seen), dead), &change)
        })
    }

    /// Runs `rule` as one transaction and gives back what it said.
    fn transact<T: Clone + Send + Sync + 'static>(
        &self,
        job: &JobId,
        durability: Durability,
        rule: impl Fn(&mut JobTx<'_>) -> Ruled<T> + Send + Sync + 'static,
    ) -> Result<T, JobError> {
        let said = Arc::new(OnceLock::new());
        let leave = Arc::clone(&said);
        let early = self.early(job)?;
        stage("jobs.work");
        let work = JobWork::new(move |tx| {
            tx.believe(early.as_ref());
            drop(leave.set(rule(tx)?));
            Ok(())
        });
        self.inner.journal.work(work, durability)?;
        self.ring();
        let said = said.get().cloned();
        let said = said.unwrap_or_else(|| unreachable!("work that was done has said something"));
        said.map_err(|refusal| refusal.about(job))
    }

    /// What a store with that fault in it takes for the row, whatever the transaction finds.
    fn early(&self, job: &JobId) -> Result<Option<Early>, JobError> {
        if !self.is_planted(JobFault::EarlyLook) {
            return Ok(None);
        }
        Ok(Some(Early(self.row(job)?)))
    }

    fn is_planted(&self, fault: JobFault) -> bool {
        self.inner.planted.is(fault)
    }

    fn lock(&self, job: &JobId, operation: &'static str) -> Result<KeyGuard<JobId>, JobError> {
        let locked = self.inner.locks.lock(job, self.inner.wait, operation);
        let lock = locked.map_err(|source| Self::lock_error(job, source))?;
        lock.stamp();
        Ok(lock)
    }

    fn lock_error(job: &JobId, source: LockError) -> JobError {
        let job = job.clone();
        JobError::Lock { job, source }
    }

    /// The attempt of `job` that runs without an owner, if there is one.
    fn dead(&self, job: &JobId) -> Result<Dead, JobError> {
        match self.row(job)? {
            Some(row) => self.dead_at(row),
            None => Ok(None),
        }
    }

    fn dead_at(&self, row: JobRow) -> Result<Dead, JobError> {
        if row.state != JobState::Running {
            return Ok(None);
        }
        let row = self.settled(row)?;
        let dead = row.filter(|row| row.state == JobState::Interrupted);
        Ok(dead.map(|row| rules::ticket(&row)))
    }

    /// The row as it is to be shown: interrupted if its owner is dead; `None` if it was removed.
    fn settled(&self, row: JobRow) -> Result<Option<JobRow>, JobError> {
        let job = row.job.clone();
        self.as_it_is(Some(row), |row| row, || self.row(&job))
    }

    /// What was found, with the row in it as it is to be shown; looked at again if its owner seems
    /// to be dead: the lease may just have gone with the end of the attempt.
    fn as_it_is<T>(
        &self,
        found: Option<T>,
        row_of: fn(&mut T) -> &mut JobRow,
        again: impl FnOnce() -> Result<Option<T>, JobError>,
    ) -> Result<Option<T>, JobError> {
        let Some(mut found) = found else {
            return Ok(None);
        };
        let row = row_of(&mut found);
        stage("jobs.read");
        if row.state != JobState::Running || self.inner.leases.is_taken(&row.job) {
            return Ok(Some(found));
        }
        let dead = rules::ticket(row);
        let mut found = if self.is_planted(JobFault::HastyVerdict) {
            Some(found)
        } else {
            again()?
        };
        let row = found.as_mut().map(row_of);
        if let Some(row) = row
            && row.state == JobState::Running
            && rules::ticket(row) == dead
        {
            row.state = JobState::Interrupted;
        }
        Ok(found)
    }

    fn row(&self, job: &JobId) -> Result<Option<JobRow>, JobError> {
        Ok(self.inner.journal.job(job)?)
    }

    fn rows(&self) -> Result<Vec<JobRow>, JobError> {
        Ok(self.inner.journal.jobs()?)
    }

    fn changes(&self, since: u64, most: usize) -> Result<JobChanges, JobError> {
        Ok(self.inner.journal.job_changes(since, most)?)
    }

    fn job_of(row: JobRow, lines: Vec<LineRow>) -> Result<Job, JobError> {
        Ok(Job::of(row, lines, Path::new("journal.db"))?)
    }

    fn leases(&self) -> &Leases {
        &self.inner.leases
    }

    fn bell(&self) -> &Bell {
        &self.inner.bell
    }

    fn ring(&self) {
        if self.is_planted(JobFault::NoBell) {
            return;
        }
        self.inner.bell.ring();
    }

    fn is_in_memory(&self) -> bool {
        matches!(self.inner.leases, Leases::List(_))
    }
}
