//! What the journal keeps, as plain data.

use crate::id::{Epoch, PlanId, ResourceKey, ResourceName};
use crate::state::PlanState;
use serde::{Deserialize, Serialize};

/// When a write must be on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Durability {
    /// On disk when the call returns, together with every earlier write.
    Flushed,
    /// Visible to every process when the call returns; on disk with the next flushed write. A
    /// power cut may lose it, a killed process does not.
    Lazy,
}

/// A plan, as the journal knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PlanRecord {
    /// The plan.
    pub(crate) plan: PlanId,
    /// Where it is in its life.
    pub(crate) state: PlanState,
    /// The newest taking of its lease; older ones are fenced off.
    pub(crate) epoch: Epoch,
    /// Which life of this id it is: a counter of the whole store, given when the plan began.
    pub(crate) generation: u64,
    /// Grows with each write to the rows of the plan; taking and releasing do not count.
    pub(crate) revision: u64,
    /// When it began: milliseconds since the Unix epoch.
    pub(crate) opened_unix_ms: u64,
    /// When `revision` grew last.
    pub(crate) changed_unix_ms: u64,
    /// What the newest taking of the lease was for; whether it is still held, the lease tells.
    pub(crate) operation: Option<String>,
}

/// A sandbox of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SandboxRecord {
    /// Its name inside the plan.
    pub(crate) name: ResourceName,
    /// The kind that can reopen it.
    pub(crate) kind: String,
    /// The identity of the real thing.
    pub(crate) key: ResourceKey,
    /// A text unique to this sandbox on the machine.
    pub(crate) token: String,
    /// What the participant needs to reopen it; opaque here.
    pub(crate) record: String,
    /// True if it dies with the process that opened it.
    pub(crate) volatile: bool,
    /// Token of the process that opened it.
    pub(crate) owner: String,
}

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// Carry out the redo of every participant.
    Commit,
    /// Ask the marker resource: carry out the redo of the others if it has committed, and forget
    /// the decision if it has not.
    Ask,
    /// Undo whatever of the redo was carried out.
    TakeBack,
}

#[cfg(feature = "sqlite")]
impl Verdict {
    /// The verdict as stable kebab-case text.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Ask => "ask",
            Self::TakeBack => "take-back",
        }
    }

    /// Reads what [`Verdict::as_str`] wrote.
    #[must_use]
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Commit, Self::Ask, Self::TakeBack]
            .into_iter()
            .find(|verdict| verdict.as_str() == text)
    }
}

impl Verdict {
    /// The state of a plan while the verdict is carried out.
    #[must_use]
    pub(crate) fn state(self) -> PlanState {
        match self {
            Self::Commit | Self::Ask => PlanState::Committing,
            Self::TakeBack => PlanState::Aborting,
        }
    }
}

/// One participant of a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    /// Its name inside the plan.
    pub(crate) name: ResourceName,
    /// The kind that can reopen it.
    pub(crate) kind: String,
    /// True if it dies with the process that opened it.
    pub(crate) volatile: bool,
    /// True if its own commit decides for the plan.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) marker: bool,
    /// What it must carry out; opaque here.
    pub(crate) redo: String,
    /// Digest of what was sealed, in hex.
    pub(crate) digest: String,
}

/// The record that makes a plan committed, or taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Decision {
    /// The plan.
    pub(crate) plan: PlanId,
    /// The epoch that decided.
    pub(crate) epoch: Epoch,
    /// What was decided.
    pub(crate) verdict: Verdict,
    /// True if the caller had sealed the plan; it stays sealed if it is taken back.
    pub(crate) sealed: bool,
    /// Which start of the machine it was decided in.
    pub(crate) boot: String,
    /// Who has to act on it, in the order given.
    pub(crate) participants: Vec<Part>,
    /// The receipt that every caller gets if this is carried out: JSON, opaque here.
    pub(crate) receipt: String,
    /// When it was decided: milliseconds since the Unix epoch.
    pub(crate) at_unix_ms: u64,
}

/// One line of the story of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Its place in the story of the whole store. Grows, with gaps where plans were forgotten.
    pub(crate) seq: u64,
    /// The plan.
    pub(crate) plan: PlanId,
    /// When: milliseconds since the Unix epoch.
    pub(crate) at_unix_ms: u64,
    /// The epoch that wrote it.
    pub(crate) epoch: Epoch,
    /// What happened, as a short kebab-case word.
    pub(crate) event: String,
    /// More of it as small JSON, or empty.
    pub(crate) detail: String,
}
