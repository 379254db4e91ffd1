//! One enum per operation of a manager, so that a caller sees only what can happen.

use super::{
    Conflict, Epoch, Explain, Holder, IdError, IllegalMove, ParticipantError, Path, PathBuf,
    PlanId, PlanState, ResourceName, Shown, Stage, io,
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

macro_rules! participant_operation {
    (
        $(#[$doc:meta])* $name:ident, $text:literal, $stage:ident
        $(, $(#[$vdoc:meta])* $variant:ident { $($(#[$fdoc:meta])* $field:ident: $ty:ty),* } =>
            $vtext:literal, $vcode:literal, $vnext:literal)* $(,)?
    ) => {
        $(#[$doc])*
        #[derive(Debug, thiserror::Error)]
        #[non_exhaustive]
        pub enum $name {
            /// The plan, its lock or the journal stands in the way; nothing was changed.
            #[error(transparent)]
            Plan(#[from] PlanFault),
            /// A participant refused or failed; nothing real was changed.
            #[error($text)]
            Participant {
                /// The plan.
                plan: PlanId,
                /// The resource.
                resource: ResourceName,
                /// The step in which it happened.
                stage: Stage,
                /// What the participant said.
                #[source]
                source: Box<ParticipantError>,
            },
            $($(#[$vdoc])* #[error($vtext)] $variant { $($(#[$fdoc])* $field: $ty),* },)*
        }

        impl Explain for $name {
            fn code(&self) -> &'static str {
                match self {
                    Self::Plan(fault) => fault.code(),
                    Self::Participant { source, .. } => source.code(),
                    $(Self::$variant { .. } => $vcode,)*
                }
            }
            fn is_retryable(&self) -> bool {
                match self {
                    Self::Plan(fault) => fault.is_retryable(),
                    Self::Participant { source, .. } => source.is_retryable(),
                    $(Self::$variant { .. } => false,)*
                }
            }
            fn next_step(&self) -> String {
                match self {
                    Self::Plan(fault) => fault.next_step(),
                    Self::Participant { source, .. } => source.next_step(),
                    $(Self::$variant { .. } => $vnext.to_owned(),)*
                }
            }
            fn plan(&self) -> Option<&PlanId> {
                match self {
                    Self::Plan(fault) => fault.plan(),
                    Self::Participant { plan, .. } => Some(plan),
                    $(Self::$variant { plan, .. } => Some(plan),)*
                }
            }
            fn resource(&self) -> Option<&ResourceName> {
                match self {
                    Self::Plan(_) => None,
                    Self::Participant { resource, .. } => Some(resource),
                    $(Self::$variant { resource, .. } => Some(resource),)*
                }
            }
            fn path(&self) -> Option<&Path> {
                match self {
                    Self::Plan(fault) => fault.path(),
                    Self::Participant { source, .. } => source.path(),
                    $(Self::$variant { .. } => None,)*
                }
            }
            fn stage(&self) -> Option<Stage> {
                match self {
                    Self::Plan(fault) => fault.stage(),
                    Self::Participant { stage, .. } => Some(*stage),
                    $(Self::$variant { .. } => Some(Stage::$stage),)*
                }
            }
            fn needs_recovery(&self) -> bool {
                match self {
                    Self::Plan(fault) => fault.needs_recovery(),
                    Self::Participant { source, .. } => source.needs_recovery(),
                    $(Self::$variant { .. } => false,)*
                }
            }
        }
    };
}

participant_operation! {
    /// A sandbox could not be opened; nothing real was changed.
    OpenSandboxError, "plan {plan}: {resource} could not be opened", Open,
    /// The name is taken by another real thing in this plan.
    NameTaken {
        /// The plan.
        plan: PlanId,
        /// The name.
        resource: ResourceName,
        /// What has it.
        by: String
    } => "plan {plan}: the name {resource} already stands for {by}", "name-taken",
        "give the second resource a name of its own",
    /// The real thing is already in the plan, under another name or inside another root.
    Overlap {
        /// The plan.
        plan: PlanId,
        /// The name asked for.
        resource: ResourceName,
        /// The sandbox that already covers it, in whole or in part.
        with: ResourceName
    } => "plan {plan}: {resource} overlaps {with}", "overlap",
        "open the outer one only, or use two plans",
}

participant_operation! {
    /// A plan could not be sealed; nothing real was changed.
    SealError, "plan {plan}: {resource} could not be sealed", Seal,
}

participant_operation! {
    /// The changes of a plan could not be found out; nothing real was changed.
    DiffError, "plan {plan}: the changes of {resource} could not be found out", Diff,
}

participant_operation! {
    /// A plan was not given up completely; nothing real was changed, and it can be tried again.
    RollbackError, "plan {plan}: the sandbox of {resource} could not be removed", Discard,
}

/// A plan was not committed, or not certainly.
///
/// Every variant but [`CommitError::InDoubt`] and [`CommitError::Hazard`] means: everything real is
/// as it was, and the sandboxes are kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The plan, its lock or the journal stands in the way; nothing was changed.
    #[error(transparent)]
    Plan(#[from] PlanFault),
    /// Somebody else changed what the plan touched; nothing was written.
    #[error("plan {plan} conflicts with changes made by others in {} place(s): {}", conflicts.len(), list(conflicts))]
    Conflict {
        /// The plan.
        plan: PlanId,
        /// Every conflicting place, of every resource.
        conflicts: Vec<Conflict>,
    },
    /// A participant refused or failed before the decision; nothing was changed.
    #[error("plan {plan} was not committed: {resource} failed to {stage}; nothing was changed")]
    Refused {
        /// The plan.
        plan: PlanId,
        /// The resource.
        resource: ResourceName,
        /// The step in which it happened.
        stage: Stage,
        /// What the participant said.
        #[source]
        source: Box<ParticipantError>,
    },
    /// A participant failed for good while applying; everything was taken back and is old again.
    #[error(
        "plan {plan} was taken back: {resource} failed to {stage}; everything is as it was, the sandboxes are kept"
    )]
    TakenBack {
        /// The plan.
        plan: PlanId,
        /// The resource.
        resource: ResourceName,
        /// The step in which it happened.
        stage: Stage,
        /// What the participant said.
        #[source]
        source: Box<ParticipantError>,
    },
    /// The outcome is not certain; `recover` ends it.
    #[error("the outcome of plan {plan} is in doubt after {stage}")]
    InDoubt {
        /// The plan.
        plan: PlanId,
        /// The step in which it happened.
        stage: Stage,
        /// What failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A foreign change met the decided plan; both versions are kept.
    #[error("plan {plan} met a foreign change in {resource}; both versions are kept")]
    Hazard {
        /// The plan.
        plan: PlanId,
        /// The resource.
        resource: ResourceName,
        /// What the participant found.
        #[source]
        source: Box<ParticipantError>,
    },
}

fn list(conflicts: &[Conflict]) -> String {
    let mut text: String = conflicts
        .iter()
        .take(5)
        .map(|conflict| format!("\n  {conflict}"))
        .collect();
    if conflicts.len() > 5 {
        text.push_str(&format!("\n  and {} more", conflicts.len() - 5));
    }
    text
}

impl Explain for CommitError {
    fn code(&self) -> &'static str {
        match self {
            Self::Plan(fault) => fault.code(),
            Self::Conflict { .. } => "conflict",
            Self::Refused { source, .. } | Self::TakenBack { source, .. } => source.code(),
            Self::InDoubt { .. } => "in-doubt",
            Self::Hazard { .. } => "hazard",
        }
    }
    fn is_retryable(&self) -> bool {
        match self {
            Self::Plan(fault) => fault.is_retryable(),
            Self::Refused { source, .. } | Self::TakenBack { source, .. } => source.is_retryable(),
            _ => false,
        }
    }
    fn next_step(&self) -> String {
        match self {
            Self::Plan(fault) => fault.next_step(),
            Self::Conflict { plan, .. } => format!(
                "look with `planbox diff {plan}`; bring their change into the sandbox and open it \
                 again, or give up with `planbox rollback {plan}`"
            ),
            Self::Refused { source, .. } | Self::TakenBack { source, .. } => source.next_step(),
            Self::InDoubt { plan, .. } => format!("run `planbox recover {plan}`"),
            Self::Hazard { plan, .. } => {
                format!("compare both versions, then run `planbox recover {plan}`")
            }
        }
    }
    fn plan(&self) -> Option<&PlanId> {
        match self {
            Self::Plan(fault) => fault.plan(),
            Self::Conflict { plan, .. }
            | Self::Refused { plan, .. }
            | Self::TakenBack { plan, .. }
            | Self::InDoubt { plan, .. }
            | Self::Hazard { plan, .. } => Some(plan),
        }
    }
    fn resource(&self) -> Option<&ResourceName> {
        match self {
            Self::Plan(_) | Self::InDoubt { .. } => None,
            Self::Conflict { conflicts, .. } => conflicts
                .first()
                .and_then(|conflict| conflict.resource.as_ref()),
            Self::Refused { resource, .. }
            | Self::TakenBack { resource, .. }
            | Self::Hazard { resource, .. } => Some(resource),
        }
    }
    fn path(&self) -> Option<&Path> {
        match self {
            Self::Plan(fault) => fault.path(),
            Self::Conflict { conflicts, .. } => {
                conflicts.first().map(|conflict| Path::new(&conflict.place))
            }
            Self::Refused { source, .. }
            | Self::TakenBack { source, .. }
            | Self::Hazard { source, .. } => source.path(),
            Self::InDoubt { .. } => None,
        }
    }
    fn stage(&self) -> Option<Stage> {
        match self {
            Self::Plan(fault) => fault.stage(),
            Self::Conflict { .. } => Some(Stage::Validate),
            Self::Refused { stage, .. }
            | Self::TakenBack { stage, .. }
            | Self::InDoubt { stage, .. } => Some(*stage),
            Self::Hazard { .. } => Some(Stage::Apply),
        }
    }
    fn needs_recovery(&self) -> bool {
        match self {
            Self::Plan(fault) => fault.needs_recovery(),
            Self::InDoubt { .. } | Self::Hazard { .. } => true,
            _ => false,
        }
    }
}

/// A plan could not be recovered now; nothing that was certain became uncertain.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoverError {
    /// The plan, its lock or the journal stands in the way.
    #[error(transparent)]
    Plan(#[from] PlanFault),
    /// The journal could not be listed.
    #[error("the journal could not be read")]
    Journal(#[from] JournalError),
    /// A participant could not finish its part; it will be tried again.
    #[error("plan {plan}: {resource} could not be recovered")]
    Participant {
        /// The plan.
        plan: PlanId,
        /// The resource.
        resource: ResourceName,
        /// What the participant said.
        #[source]
        source: Box<ParticipantError>,
    },
}

impl Explain for RecoverError {
    fn code(&self) -> &'static str {
        match self {
            Self::Plan(fault) => fault.code(),
            Self::Journal(source) => source.code(),
            Self::Participant { source, .. } => source.code(),
        }
    }
    fn is_retryable(&self) -> bool {
        match self {
            Self::Plan(fault) => fault.is_retryable(),
            Self::Journal(source) => source.is_retryable(),
            Self::Participant { .. } => true,
        }
    }
    fn next_step(&self) -> String {
        match self {
            Self::Plan(fault) => fault.next_step(),
            Self::Journal(source) => source.next_step(),
            Self::Participant { source, .. } => source.next_step(),
        }
    }
    fn plan(&self) -> Option<&PlanId> {
        match self {
            Self::Plan(fault) => fault.plan(),
            Self::Journal(source) => source.plan(),
            Self::Participant { plan, .. } => Some(plan),
        }
    }
    fn resource(&self) -> Option<&ResourceName> {
        match self {
            Self::Participant { resource, .. } => Some(resource),
            _ => None,
        }
    }
    fn path(&self) -> Option<&Path> {
        match self {
            Self::Plan(fault) => fault.path(),
            Self::Journal(source) => source.path(),
            Self::Participant { source, .. } => source.path(),
        }
    }
    fn stage(&self) -> Option<Stage> {
        Some(Stage::Recover)
    }
    fn needs_recovery(&self) -> bool {
        match self {
            Self::Plan(fault) => fault.needs_recovery(),
            Self::Journal(_) => false,
            Self::Participant { .. } => true,
        }
    }
}

macro_rules! journal_operation {
    ($(#[$doc:meta])* $name:ident, $text:literal) => {
        $(#[$doc])*
        #[derive(Debug, thiserror::Error)]
        #[non_exhaustive]
        pub enum $name {
            /// The plan, its lock or the journal stands in the way.
            #[error(transparent)]
            Plan(#[from] PlanFault),
            /// The journal could not be read or written.
            #[error($text)]
            Journal(#[from] JournalError),
            /// A file of the store could not be used.
            #[error("{} could not be used", Shown(path))]
            File {
                /// The file.
                path: PathBuf,
                /// What the operating system said.
                #[source]
                source: io::Error,
            },
        }

        impl Explain for $name {
            fn code(&self) -> &'static str {
                match self {
                    Self::Plan(fault) => fault.code(),
                    Self::Journal(source) => source.code(),
                    Self::File { .. } => "io",
                }
            }
            fn is_retryable(&self) -> bool {
                match self {
                    Self::Plan(fault) => fault.is_retryable(),
                    Self::Journal(source) => source.is_retryable(),
                    Self::File { .. } => false,
                }
            }
            fn next_step(&self) -> String {
                match self {
                    Self::Plan(fault) => fault.next_step(),
                    Self::Journal(source) => source.next_step(),
                    Self::File { .. } => "check the owner and mode of the store".to_owned(),
                }
            }
            fn plan(&self) -> Option<&PlanId> {
                match self {
                    Self::Plan(fault) => fault.plan(),
                    Self::Journal(source) => source.plan(),
                    Self::File { .. } => None,
                }
            }
            fn path(&self) -> Option<&Path> {
                match self {
                    Self::Plan(fault) => fault.path(),
                    Self::Journal(source) => source.path(),
                    Self::File { path, .. } => Some(path),
                }
            }
            fn needs_recovery(&self) -> bool {
                matches!(self, Self::Plan(fault) if fault.needs_recovery())
            }
        }
    };
}

journal_operation! {
    /// The state of a plan could not be read.
    StatusError, "the journal could not be read"
}

journal_operation! {
    /// Cleaning stopped; whatever was not cleaned is still listed.
    GcError, "the journal could not be cleaned"
}

impl OpenSandboxError {
    /// The id error of a resource that was given a bad name, as a refusal.
    #[must_use]
    pub fn bad_name(plan: PlanId, resource: ResourceName, source: &IdError) -> Self {
        let source = ParticipantError::new(super::Fault::Refused, source.to_string());
        Self::Participant {
            plan,
            resource,
            stage: Stage::Open,
            source: Box::new(source),
        }
    }
}
