//! The rows of jobs: what is kept of one, and the door to change it.
//!
//! The journal keeps rows and their counts; what a job may do is judged one floor up, by a piece of
//! work that runs inside the transaction, between its first look and its last write.

use super::Journaled;
use super::rules::{Counter, Rows, next};
use super::{Durability, JournalError};
use crate::id::JobId;
use crate::state::JobState;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Most lines kept of the log of one job. A line more takes the place of the oldest.
pub const LOG_LINES_MAX: u64 = 1_000;

/// A job, as the journal knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JobRow {
    /// The job.
    pub(crate) job: JobId,
    /// Which life of this id it is: a counter of the whole store.
    pub(crate) generation: u64,
    /// Where it is in its life.
    pub(crate) state: JobState,
    /// How often it was taken by an owner.
    pub(crate) attempt: u64,
    /// Percent.
    pub(crate) progress: u64,
    /// True if somebody asked the owner to stop.
    pub(crate) cancel: bool,
    /// The number of its last change among the changes of all jobs.
    pub(crate) revision: u64,
    /// How many lines its log ever had.
    pub(crate) lines: u64,
    /// When it was made: milliseconds since the Unix epoch.
    pub(crate) created_unix_ms: u64,
    /// When `revision` grew last.
    pub(crate) changed_unix_ms: u64,
    /// Everything else: a JSON object, opaque here.
    pub(crate) record: String,
}

impl JobRow {
    /// How many lines of its log are kept.
    #[must_use]
    pub(crate) fn kept(&self) -> u64 {
        self.lines.min(LOG_LINES_MAX)
    }
}

/// A line of the log of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LineRow {
    /// The life of the job that it belongs to.
    pub(crate) generation: u64,
    /// Its number in the log of the job, from 1.
    pub(crate) seq: u64,
    /// The attempt during which it was written.
    pub(crate) attempt: u64,
    /// When: milliseconds since the Unix epoch.
    pub(crate) at_unix_ms: u64,
    /// The line.
    pub(crate) text: String,
}

impl LineRow {
    /// Its place in the ring: the line that was [`LOG_LINES_MAX`] lines earlier had it before.
    #[must_use]
    pub(super) fn slot(&self) -> u64 {
        self.seq % LOG_LINES_MAX
    }
}

/// What somebody saw of a job before the transaction: for a negative control.
#[derive(Debug, Clone)]
#[cfg_attr(
    not(debug_assertions),
    expect(dead_code, reason = "a release build believes nothing")
)]
pub(crate) struct Early(pub(crate) Option<JobRow>);

/// The jobs of a store, inside one transaction.
pub(crate) struct JobTx<'a> {
    rows: &'a mut dyn Rows,
    #[cfg(debug_assertions)]
    early: Option<Early>,
    /// The time of the transaction.
    pub(crate) now_unix_ms: u64,
}

impl<'a> JobTx<'a> {
    pub(super) fn new(rows: &'a mut dyn Rows, now_unix_ms: u64) -> Self {
        Self {
            rows,
            #[cfg(debug_assertions)]
            early: None,
            now_unix_ms,
        }
    }

    /// Has the next look find what was seen earlier; nothing, in a release build.
    #[cfg_attr(
        not(debug_assertions),
        expect(clippy::unused_self, reason = "a debug build does something")
    )]
    pub(crate) fn believe(&mut self, early: Option<&Early>) {
        #[cfg(debug_assertions)]
        {
            self.early = early.cloned();
        }
        #[cfg(not(debug_assertions))]
        let _: Option<&Early> = early;
    }

    /// The file, for errors.
    pub(crate) fn file(&self) -> &Path {
        self.rows.file()
    }

    /// The job, if the store knows it.
    ///
    /// # Errors
    /// A [`JournalError`].
    pub(crate) fn job(&mut self, job: &JobId) -> Journaled<Option<JobRow>> {
        #[cfg(debug_assertions)]
        if let Some(early) = self.early.take() {
            return Ok(early.0);
        }
        self.rows.job(job)
    }

    /// Files a new job under a generation of its own. The caller has seen that there is none.
    ///
    /// # Errors
    /// A [`JournalError`].
    pub(crate) fn insert(&mut self, job: &JobId, record: String) -> Journaled<JobRow> {
        let row = JobRow {
            job: job.clone(),
            generation: next(self.rows, Counter::Generation)?,
            state: JobState::Queued,
            attempt: 0,
            progress: 0,
            cancel: false,
            revision: next(self.rows, Counter::JobRevision)?,
            lines: 0,
            created_unix_ms: self.now_unix_ms,
            changed_unix_ms: self.now_unix_ms,
            record,
        };
        next(self.rows, Counter::Jobs)?;
        self.rows.put_job(&row)?;
        Ok(row)
    }

    /// Stores the job with the next revision.
    ///
    /// # Errors
    /// A [`JournalError`].
    pub(crate) fn put(&mut self, row: &mut JobRow) -> Journaled<()> {
        row.revision = next(self.rows, Counter::JobRevision)?;
        row.changed_unix_ms = self.now_unix_ms;
        self.rows.put_job(row)
    }

    /// Adds a line to the log of the job, over the oldest one if the log is full. The job is to be
    /// [put](Self::put) afterwards.
    ///
    /// # Errors
    /// A [`JournalError`].
    pub(crate) fn add_line(&mut self, row: &mut JobRow, text: &str) -> Journaled<()> {
        row.lines += 1;
        self.rows.put_line(&LineRow {
            generation: row.generation,
            seq: row.lines,
            attempt: row.attempt,
            at_unix_ms: self.now_unix_ms,
            text: text.to_owned(),
        })
    }

    /// Removes the job and its log. That is a change of the store, too.
    ///
    /// # Errors
    /// A [`JournalError`].
    pub(crate) fn remove(&mut self, row: &JobRow) -> Journaled<()> {
        next(self.rows, Counter::JobRevision)?;
        let jobs = self.rows.counter(Counter::Jobs)?;
        self.rows
            .set_counter(Counter::Jobs, jobs.saturating_sub(1))?;
        self.rows.remove_job(row)
    }
}

type Run = dyn Fn(&mut JobTx<'_>) -> Journaled<()> + Send + Sync;

/// A piece of work over jobs that is one transaction. It looks first and writes afterwards; what it
/// found out, it leaves where its maker will look. It takes no lock and waits for nothing.
#[derive(Clone)]
pub(crate) struct JobWork(Arc<Run>);

impl JobWork {
    /// The work that `run` does.
    pub(crate) fn new(
        run: impl Fn(&mut JobTx<'_>) -> Journaled<()> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(run))
    }

    pub(super) fn run(&self, tx: &mut JobTx<'_>) -> Journaled<()> {
        (self.0)(tx)
    }
}

impl fmt::Debug for JobWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JobWork")
    }
}

/// What changed since a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JobChanges {
    /// The newest revision of the store.
    pub(crate) newest: u64,
    /// The jobs that changed and are still there, oldest change first.
    pub(crate) jobs: Vec<JobRow>,
}

/// A store of jobs. Every method may fail as those of `JournalStore` do.
pub(crate) trait JobJournal {
    /// Runs `work` as one transaction.
    ///
    /// # Errors
    /// A [`JournalError`]; nothing of the work was stored.
    fn work(&self, work: JobWork, durability: Durability) -> Result<(), JournalError>;

    /// The job, if the store knows it. Never waits for a writer.
    ///
    /// # Errors
    /// A [`JournalError`].
    fn job(&self, job: &JobId) -> Journaled<Option<JobRow>>;

    /// The job and the lines of its log after number `after`, all of one moment. Never waits for a
    /// writer.
    ///
    /// # Errors
    /// A [`JournalError`].
    fn job_and_log(&self, job: &JobId, after: u64) -> Journaled<Option<(JobRow, Vec<LineRow>)>>;

    /// Every job, in the order of their ids.
    ///
    /// # Errors
    /// A [`JournalError`].
    fn jobs(&self) -> Journaled<Vec<JobRow>>;

    /// The `most` oldest changes after revision `since`, all of one moment.
    ///
    /// # Errors
    /// A [`JournalError`].
    fn job_changes(&self, since: u64, most: usize) -> Journaled<JobChanges>;
}
