//! How a commit can fail, and what each failure means for the real things.

use super::{
    Conflict, Explain, JournalError, ParticipantError, Path, PlanFault, PlanId, RecoverError,
    ResourceName, Stage,
};

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
    #[error(
        "plan {plan} conflicts with changes made by others in {}",
        list(conflicts)
    )]
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
    #[error(
        "the outcome of plan {plan} is in doubt: {} failed at {stage}",
        resource.as_ref().map_or("planbox", ResourceName::as_str)
    )]
    InDoubt {
        /// The plan.
        plan: PlanId,
        /// The participant that it happened in; none if it was the journal.
        resource: Option<ResourceName>,
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

/// How many places, and the first few of them.
fn list(conflicts: &[Conflict]) -> String {
    let mut text = match conflicts.len() {
        1 => "1 place:".to_owned(),
        count => format!("{count} places:"),
    };
    for conflict in conflicts.iter().take(5) {
        text.push_str("\n  ");
        text.push_str(&conflict.to_string());
    }
    if let more @ 1.. = conflicts.len().saturating_sub(5) {
        text.push_str("\n  and ");
        text.push_str(&more.to_string());
        text.push_str(" more");
    }
    text
}

/// The file that a doubt is about, if what failed names one.
fn place_of<'a>(source: &'a (dyn std::error::Error + 'static)) -> Option<&'a Path> {
    let journal = source.downcast_ref().and_then(JournalError::path);
    let recovery = || source.downcast_ref().and_then(RecoverError::path);
    let participant = || source.downcast_ref().and_then(ParticipantError::path);
    journal.or_else(recovery).or_else(participant)
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
                "look with `planbox diff {plan}`, keep what you need of the sandbox (`planbox path \
                 {plan}`), then `planbox rollback {plan}` and start again from how it is now"
            ),
            Self::Refused { source, .. } | Self::TakenBack { source, .. } => source.next_step(),
            Self::InDoubt { plan, .. } => format!("run `planbox recover {plan}`"),
            Self::Hazard { plan, .. } => {
                format!(
                    "compare both versions, put the right one in place, then run \
                     `planbox recover {plan} --keep-theirs`"
                )
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
            Self::Plan(_) => None,
            Self::InDoubt { resource, .. } => resource.as_ref(),
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
            Self::InDoubt { source, .. } => place_of(source.as_ref()),
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
