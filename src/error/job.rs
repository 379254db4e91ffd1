//! What can go wrong with a job.

use super::{Explain, JournalError, LockError, Path};
use crate::id::JobId;
use crate::state::JobState;

/// A job was not changed, or not read. Nothing of the call was stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// There is a job of this id already.
    #[error("there is a job {job} already")]
    Exists {
        /// The job.
        job: JobId,
    },
    /// The store knows no such job.
    #[error("there is no job {job} in this store")]
    NotFound {
        /// The job asked for.
        job: JobId,
    },
    /// The job of this handle was removed; a new one of the same id is not it.
    #[error("job {job} was removed")]
    Gone {
        /// The job.
        job: JobId,
    },
    /// The job has ended: the first end stands.
    #[error("job {job} is over: it is {state}")]
    Over {
        /// The job.
        job: JobId,
        /// How it ended.
        state: JobState,
    },
    /// The job is not in the state that this needs.
    #[error("job {job} is {state}: {wanted}")]
    WrongState {
        /// The job.
        job: JobId,
        /// The state it is in.
        state: JobState,
        /// What would have been needed.
        wanted: &'static str,
    },
    /// The attempt that writes is not the one that runs: it was taken for dead, or tried again.
    #[error("job {job}: attempt {held} may not write any more; the newest is attempt {now}")]
    Fenced {
        /// The job.
        job: JobId,
        /// The attempt that wrote.
        held: u64,
        /// The newest attempt.
        now: u64,
    },
    /// The job was changed since the revision that the caller had seen.
    #[error("job {job} was changed: it has revision {found}, not {expected}")]
    Changed {
        /// The job.
        job: JobId,
        /// The revision that the caller had seen.
        expected: u64,
        /// The revision it has.
        found: u64,
    },
    /// A secret is never stored.
    #[error("job {job}: {field:?} holds a secret, and secrets are never stored")]
    Secret {
        /// The job.
        job: JobId,
        /// The field of the patch, or `result` or `error`.
        field: String,
    },
    /// A value cannot be stored as it is.
    #[error("job {job}: {field:?} cannot be stored: {reason}")]
    Unstorable {
        /// The job.
        job: JobId,
        /// The field of the patch, or `result` or `error`.
        field: String,
        /// Why not.
        reason: String,
    },
    /// The lock of the job was not taken: somebody owns it.
    #[error("job {job} could not be locked")]
    Lock {
        /// The job.
        job: JobId,
        /// Why not.
        #[source]
        source: LockError,
    },
    /// The journal could not be read or written.
    #[error("the journal of jobs failed")]
    Journal(#[from] JournalError),
}

impl JobError {
    /// The job it is about, if it is about one.
    #[must_use]
    pub fn job(&self) -> Option<&JobId> {
        match self {
            Self::Exists { job }
            | Self::NotFound { job }
            | Self::Gone { job }
            | Self::Over { job, .. }
            | Self::WrongState { job, .. }
            | Self::Fenced { job, .. }
            | Self::Changed { job, .. }
            | Self::Secret { job, .. }
            | Self::Unstorable { job, .. }
            | Self::Lock { job, .. } => Some(job),
            Self::Journal(_) => None,
        }
    }
}

impl Explain for JobError {
    fn code(&self) -> &'static str {
        match self {
            Self::Exists { .. } => "job-exists",
            Self::NotFound { .. } => "unknown-job",
            Self::Gone { .. } => "job-gone",
            Self::Over { .. } => "job-over",
            Self::WrongState { .. } => "job-wrong-state",
            Self::Fenced { .. } => "job-fenced",
            Self::Changed { .. } => "job-changed",
            Self::Secret { .. } => "job-secret",
            Self::Unstorable { .. } => "job-unstorable",
            Self::Lock { source, .. } => source.code(),
            Self::Journal(source) => source.code(),
        }
    }
    fn is_retryable(&self) -> bool {
        match self {
            Self::Lock { source, .. } => source.is_retryable(),
            Self::Journal(source) => source.is_retryable(),
            _ => false,
        }
    }
    fn next_step(&self) -> String {
        match self {
            Self::Exists { .. } => "choose another id, or retry the job that is there",
            Self::NotFound { .. } => "list the jobs with `planbox job list`",
            Self::Gone { .. } => "stop: nobody waits for this job any more",
            Self::Over { .. } => "read the job: what it says now stands",
            Self::WrongState { .. } => "read the job, then start or retry it",
            Self::Fenced { .. } => "stop: another attempt owns the job now",
            Self::Changed { .. } => "read the job again and decide anew",
            Self::Secret { .. } => "leave the secret out, or store where it can be found",
            Self::Unstorable { .. } => "store something smaller, or a place where it can be found",
            Self::Lock { source, .. } => return source.next_step(),
            Self::Journal(source) => return source.next_step(),
        }
        .to_owned()
    }
    fn path(&self) -> Option<&Path> {
        match self {
            Self::Lock { source, .. } => source.path(),
            Self::Journal(source) => source.path(),
            _ => None,
        }
    }
}
