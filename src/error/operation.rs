//! One enum per operation of a manager, so that a caller sees only what can happen.

use super::{
    Explain, IdError, JournalError, ParticipantError, Path, PathBuf, PlanFault, PlanId,
    ResourceName, Shown, Stage, io,
};

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
    } => "plan {plan}: {resource} and {with} are the same thing, or one lies inside the other",
        "overlap", "open only one of them (the outer one has both), or use two plans",
    /// The plan already has a marker resource, and only one can decide for it.
    SecondMarker {
        /// The plan.
        plan: PlanId,
        /// The name asked for.
        resource: ResourceName,
        /// The marker resource that the plan has.
        with: ResourceName
    } => "plan {plan}: {resource} cannot decide for the plan, because {with} does", "second-marker",
        "open it as a resource that votes, or use two plans",
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
