//! Failures as plain data: one enum per operation, all of them fitting one [`Error`].
//!
//! Every failure answers the questions of [`Explain`]: a stable `code`, whether trying again can
//! help, which plan, resource, path and stage it is about, whether reality may be in between, and
//! what to do next. `Display` says what happened and never repeats its source.

use crate::id::{Epoch, IdError, PlanId, ResourceName, rfc3339};
use crate::state::{IllegalMove, PlanState};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

mod commit;
mod fault;
mod job;
mod operation;
mod participant;

pub use commit::CommitError;
pub use fault::{JournalError, LockError, OpenError, PlanFault};
pub use job::JobError;
pub use operation::{
    DiffError, GcError, OpenSandboxError, RecoverError, RollbackError, SealError, StatusError,
};
pub use participant::{Conflict, Fault, ParticipantError};

/// The step of an operation in which something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Stage {
    /// Taking the plan lock or a resource lock.
    Lock,
    /// Making the private view.
    Open,
    /// Finding out what the plan changed.
    Diff,
    /// Freezing what the plan changed.
    Seal,
    /// Comparing every touched pre-image with reality.
    Validate,
    /// Making the redo durable.
    Prepare,
    /// Writing the decision.
    Decide,
    /// Carrying out the redo.
    Apply,
    /// Syncing the effects.
    Settle,
    /// Taking a decided plan back.
    TakeBack,
    /// Removing views and staging.
    Discard,
    /// Finishing what a crash left.
    Recover,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lock => "lock",
            Self::Open => "open",
            Self::Diff => "diff",
            Self::Seal => "seal",
            Self::Validate => "validate",
            Self::Prepare => "prepare",
            Self::Decide => "decide",
            Self::Apply => "apply",
            Self::Settle => "settle",
            Self::TakeBack => "take-back",
            Self::Discard => "discard",
            Self::Recover => "recover",
        })
    }
}

/// Who holds a lock: named in every error about waiting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Holder {
    /// The key that is held: a plan id or a resource key.
    pub key: String,
    /// What the holder is doing, for example `commit`.
    pub operation: String,
    /// Process id of the holder.
    pub pid: u32,
    /// Name or number of the holding thread.
    pub thread: String,
    /// Host name of the holder.
    pub host: String,
    /// When it took the lock: milliseconds since the Unix epoch, by the holder's wall clock.
    pub since_unix_ms: u64,
}

impl Holder {
    /// A holder as the lock floor records it.
    #[must_use]
    pub fn new(key: String, operation: &str, pid: u32, thread: String, at: (String, u64)) -> Self {
        let (host, since_unix_ms) = at;
        Self {
            key,
            operation: operation.to_owned(),
            pid,
            thread,
            host,
            since_unix_ms,
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            operation,
            pid,
            thread,
            host,
            since_unix_ms,
            ..
        } = self;
        write!(
            f,
            "process {pid} ({thread}) on {host}, doing {operation} since {}",
            rfc3339(*since_unix_ms)
        )
    }
}

/// Shows a path for people: printable UTF-8 as it is, everything else escaped.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a>(pub &'a Path);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.to_str() {
            Some(text) if !text.chars().any(char::is_control) => f.write_str(text),
            _ => {
                use std::os::unix::ffi::OsStrExt as _;
                write!(f, "{}", self.0.as_os_str().as_bytes().escape_ascii())
            }
        }
    }
}

/// What every failure can say about itself.
pub trait Explain: std::error::Error {
    /// A stable kebab-case code; branch on it, not on the text.
    fn code(&self) -> &'static str;
    /// True if the same call may succeed later without anybody changing anything first.
    fn is_retryable(&self) -> bool;
    /// What the caller should do next, as one sentence.
    fn next_step(&self) -> String;
    /// The plan it is about.
    fn plan(&self) -> Option<&PlanId> {
        None
    }
    /// The resource it is about.
    fn resource(&self) -> Option<&ResourceName> {
        None
    }
    /// The path it is about.
    fn path(&self) -> Option<&Path> {
        None
    }
    /// The step in which it happened.
    fn stage(&self) -> Option<Stage> {
        None
    }
    /// True only if reality may be between old and new until `recover` has run.
    fn needs_recovery(&self) -> bool {
        false
    }
}

macro_rules! any_error {
    ($($(#[$doc:meta])* $name:ident($inner:ty)),+ $(,)?) => {
        /// Any failure of planbox.
        #[derive(Debug, thiserror::Error)]
        #[non_exhaustive]
        pub enum Error {
            $($(#[$doc])* #[error(transparent)] $name(#[from] $inner),)+
        }

        impl Explain for Error {
            fn code(&self) -> &'static str {
                match self { $(Self::$name(inner) => inner.code(),)+ }
            }
            fn is_retryable(&self) -> bool {
                match self { $(Self::$name(inner) => inner.is_retryable(),)+ }
            }
            fn next_step(&self) -> String {
                match self { $(Self::$name(inner) => inner.next_step(),)+ }
            }
            fn plan(&self) -> Option<&PlanId> {
                match self { $(Self::$name(inner) => inner.plan(),)+ }
            }
            fn resource(&self) -> Option<&ResourceName> {
                match self { $(Self::$name(inner) => inner.resource(),)+ }
            }
            fn path(&self) -> Option<&Path> {
                match self { $(Self::$name(inner) => inner.path(),)+ }
            }
            fn stage(&self) -> Option<Stage> {
                match self { $(Self::$name(inner) => inner.stage(),)+ }
            }
            fn needs_recovery(&self) -> bool {
                match self { $(Self::$name(inner) => inner.needs_recovery(),)+ }
            }
        }
    };
}

any_error! {
    /// A text is not an id.
    Id(IdError),
    /// The store could not be opened.
    Open(OpenError),
    /// A sandbox could not be opened.
    OpenSandbox(OpenSandboxError),
    /// A plan could not be sealed.
    Seal(SealError),
    /// The changes of a plan could not be found out.
    Diff(DiffError),
    /// A plan was not committed, or not certainly.
    Commit(CommitError),
    /// A plan was not given up.
    Rollback(RollbackError),
    /// A plan could not be recovered.
    Recover(RecoverError),
    /// The state of a plan could not be read.
    Status(StatusError),
    /// Cleaning failed.
    Gc(GcError),
    /// A job was not changed or not read.
    Job(JobError),
    /// A participant refused or failed outside any operation of a manager.
    Participant(ParticipantError),
}

impl Explain for IdError {
    fn code(&self) -> &'static str {
        "bad-id"
    }
    fn is_retryable(&self) -> bool {
        false
    }
    fn next_step(&self) -> String {
        "choose 1 to 200 bytes of printable UTF-8".to_owned()
    }
}
