//! What can stand in the way of every operation: locks, the journal, the store, the plan itself.

use super::{
    Epoch, Explain, Holder, IllegalMove, Path, PathBuf, PlanId, PlanState, Shown, Stage, io,
};

/// A lock was not taken. Nothing was done; a wait that ran out never proceeds.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Somebody else holds it, and the caller asked not to wait.
    #[error("{key} is busy: held by {}", holder_text(holder.as_deref()))]
    Busy {
        /// The plan id or resource key.
        key: String,
        /// Who holds it, as far as is known.
        holder: Option<Box<Holder>>,
    },
    /// The wait ran out.
    #[error(
        "waited {waited_ms} ms for {key}, still held by {}", holder_text(holder.as_deref())
    )]
    TimedOut {
        /// The plan id or resource key.
        key: String,
        /// How long the caller waited, in milliseconds.
        waited_ms: u64,
        /// Who holds it, as far as is known.
        holder: Option<Box<Holder>>,
    },
    /// This thread already holds it: a call back into a plan from its own participant.
    #[error(
        "{key} is already held by this thread ({operation}); a participant may not call back into its own plan"
    )]
    Reentrant {
        /// The plan id or resource key.
        key: String,
        /// What this thread is doing with it.
        operation: String,
    },
    /// The lock file cannot be used.
    #[error("the lock file {} cannot be used", Shown(path))]
    File {
        /// The lock file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
}

fn holder_text(holder: Option<&Holder>) -> String {
    holder.map_or_else(
        || "somebody who left no name".to_owned(),
        ToString::to_string,
    )
}

impl Explain for LockError {
    fn code(&self) -> &'static str {
        match self {
            Self::Busy { .. } => "busy",
            Self::TimedOut { .. } => "lock-timeout",
            Self::Reentrant { .. } => "reentrant",
            Self::File { .. } => "lock-file",
        }
    }
    fn is_retryable(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::TimedOut { .. })
    }
    fn next_step(&self) -> String {
        match self {
            Self::Busy { .. } | Self::TimedOut { .. } => {
                "wait for the holder to finish, or give a longer lock timeout"
            }
            Self::Reentrant { .. } => "call the manager after the participant has returned",
            Self::File { .. } => "check the owner and mode of the store directory",
        }
        .to_owned()
    }
    fn path(&self) -> Option<&Path> {
        match self {
            Self::File { path, .. } => Some(path),
            _ => None,
        }
    }
    fn stage(&self) -> Option<Stage> {
        Some(Stage::Lock)
    }
}

/// The journal could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The store refused or failed.
    #[error("the journal {} failed to {action}", Shown(path))]
    Store {
        /// The journal file.
        path: PathBuf,
        /// What was being done.
        action: &'static str,
        /// What the store said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A record does not match its checksum, or is not one of ours. Nothing is guessed.
    #[error(
        "the journal {} holds a record that cannot be trusted ({what})",
        Shown(path)
    )]
    Corrupt {
        /// The journal file.
        path: PathBuf,
        /// Which record, and what is wrong with it.
        what: String,
    },
    /// A newer planbox wrote it; it is left untouched.
    #[error(
        "the journal {} has format {found}; this planbox knows up to {known}",
        Shown(path)
    )]
    Newer {
        /// The journal file.
        path: PathBuf,
        /// The format found.
        found: i64,
        /// The newest format known here.
        known: i64,
    },
    /// A durable write failed: its outcome is unknown, and this journal takes no more writes.
    #[error(
        "a durable write to the journal {} failed; what it wrote may or may not be there",
        Shown(path)
    )]
    Poisoned {
        /// The journal file.
        path: PathBuf,
    },
    /// A newer taking of the plan's lease exists: this one may decide nothing.
    #[error("plan {plan} was taken over: epoch {held} is older than {now}")]
    Fenced {
        /// The plan.
        plan: PlanId,
        /// The epoch this executor holds.
        held: Epoch,
        /// The epoch in the journal.
        now: Epoch,
    },
}

impl Explain for JournalError {
    fn code(&self) -> &'static str {
        match self {
            Self::Store { .. } => "journal",
            Self::Corrupt { .. } => "journal-corrupt",
            Self::Newer { .. } => "journal-newer",
            Self::Poisoned { .. } => "journal-poisoned",
            Self::Fenced { .. } => "fenced",
        }
    }
    fn is_retryable(&self) -> bool {
        false
    }
    fn next_step(&self) -> String {
        match self {
            Self::Store { .. } => {
                "see the cause: free space or repair access to the store, then try again"
            }
            Self::Corrupt { .. } => "stop, keep a copy of the store and run `planbox doctor`",
            Self::Newer { .. } => "use the planbox that wrote this store, or a newer one",
            Self::Poisoned { .. } => "open the store again and run `planbox recover`",
            Self::Fenced { .. } => "do nothing: another executor owns the plan now",
        }
        .to_owned()
    }
    fn plan(&self) -> Option<&PlanId> {
        match self {
            Self::Fenced { plan, .. } => Some(plan),
            _ => None,
        }
    }
    fn path(&self) -> Option<&Path> {
        match self {
            Self::Store { path, .. }
            | Self::Corrupt { path, .. }
            | Self::Newer { path, .. }
            | Self::Poisoned { path } => Some(path),
            Self::Fenced { .. } => None,
        }
    }
}

/// What can stand in the way of any operation on a plan.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanFault {
    /// The store knows no such plan.
    #[error("there is no plan {plan} in this store")]
    Unknown {
        /// The plan asked for.
        plan: PlanId,
    },
    /// The plan is past the state that the operation needs.
    #[error("plan {plan} is {state}: {wanted}")]
    WrongState {
        /// The plan.
        plan: PlanId,
        /// The state it is in.
        state: PlanState,
        /// What the operation would have needed.
        wanted: &'static str,
    },
    /// The plan lock or a resource lock was not taken.
    #[error("plan {plan} could not be locked")]
    Lock {
        /// The plan.
        plan: PlanId,
        /// Why not.
        #[source]
        source: LockError,
    },
    /// The journal could not be read or written.
    #[error("the journal failed for plan {plan}")]
    Journal {
        /// The plan.
        plan: PlanId,
        /// Why.
        #[source]
        source: JournalError,
    },
    /// A step was asked for that the table of states does not have.
    #[error("plan {plan}: illegal step")]
    Illegal {
        /// The plan.
        plan: PlanId,
        /// The step.
        #[source]
        source: IllegalMove,
    },
    /// The handle belongs to an earlier life of the plan.
    #[error("this handle belongs to an earlier plan {plan}")]
    Stale {
        /// The plan.
        plan: PlanId,
    },
}

impl Explain for PlanFault {
    fn code(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "unknown-plan",
            Self::WrongState { state, .. } if state.needs_recovery() => "recovery-needed",
            Self::WrongState { .. } => "wrong-state",
            Self::Lock { source, .. } => source.code(),
            Self::Journal { source, .. } => source.code(),
            Self::Illegal { .. } => "illegal-step",
            Self::Stale { .. } => "stale-handle",
        }
    }
    fn is_retryable(&self) -> bool {
        match self {
            Self::Lock { source, .. } => source.is_retryable(),
            Self::Journal { source, .. } => source.is_retryable(),
            _ => false,
        }
    }
    fn next_step(&self) -> String {
        match self {
            Self::Unknown { .. } => "list the plans with `planbox status`".to_owned(),
            Self::WrongState { plan, state, .. } if state.needs_recovery() => {
                format!("run `planbox recover {plan}`")
            }
            Self::WrongState { .. } => "use a new plan id".to_owned(),
            Self::Lock { source, .. } => source.next_step(),
            Self::Journal { source, .. } => source.next_step(),
            Self::Illegal { .. } => "this is a defect of planbox: please report it".to_owned(),
            Self::Stale { .. } => "open the sandbox again".to_owned(),
        }
    }
    fn plan(&self) -> Option<&PlanId> {
        match self {
            Self::Unknown { plan }
            | Self::WrongState { plan, .. }
            | Self::Lock { plan, .. }
            | Self::Journal { plan, .. }
            | Self::Illegal { plan, .. }
            | Self::Stale { plan } => Some(plan),
        }
    }
    fn path(&self) -> Option<&Path> {
        match self {
            Self::Lock { source, .. } => source.path(),
            Self::Journal { source, .. } => source.path(),
            _ => None,
        }
    }
    fn stage(&self) -> Option<Stage> {
        matches!(self, Self::Lock { .. }).then_some(Stage::Lock)
    }
    fn needs_recovery(&self) -> bool {
        matches!(self, Self::WrongState { state, .. } if state.needs_recovery())
    }
}

/// The store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The directory cannot be a store: owner, mode, a link in its place, or not creatable.
    #[error("{} cannot be a store: {reason}", Shown(path))]
    Store {
        /// The directory.
        path: PathBuf,
        /// Why not.
        reason: String,
        /// What the operating system said, if it did.
        #[source]
        source: Option<io::Error>,
    },
    /// No store was named and the user has no state directory.
    #[error("no store was named and no state directory could be found")]
    NoHome,
    /// The journal could not be opened.
    #[error("the store has no usable journal")]
    Journal(#[from] JournalError),
}

impl Explain for OpenError {
    fn code(&self) -> &'static str {
        match self {
            Self::Store { .. } => "bad-store",
            Self::NoHome => "no-store",
            Self::Journal(source) => source.code(),
        }
    }
    fn is_retryable(&self) -> bool {
        false
    }
    fn next_step(&self) -> String {
        match self {
            Self::Store { .. } => {
                "name a directory of your own with --store or PLANBOX_STORE".to_owned()
            }
            Self::NoHome => "set HOME, PLANBOX_STORE or --store".to_owned(),
            Self::Journal(source) => source.next_step(),
        }
    }
    fn path(&self) -> Option<&Path> {
        match self {
            Self::Store { path, .. } => Some(path),
            Self::NoHome => None,
            Self::Journal(source) => source.path(),
        }
    }
    fn stage(&self) -> Option<Stage> {
        Some(Stage::Open)
    }
}
