//! The life of a plan as one pure function, and that of a job as another.
//!
//! Live code and replay both go through [`PlanState::next`]; a move that is not in the table is an
//! [`IllegalMove`] naming both sides, never a silent overwrite. `docs/protocol.md` draws the
//! diagram and names the function that makes each move.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Where a plan is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PlanState {
    /// Sandboxes may be opened and changed.
    Open,
    /// What the plan produced is frozen; no newcomers.
    Sealed,
    /// Participants are making their redo durable and checking pre-images.
    Preparing,
    /// Every participant voted; nothing real has changed.
    Prepared,
    /// The decision is durable; the redo is being carried out.
    Committing,
    /// All effects are visible; they may not be synced yet.
    Applied,
    /// All effects are durable. Terminal.
    Done,
    /// Effects or sandboxes are being taken back.
    Aborting,
    /// The plan was given up; everything is old. Terminal.
    Aborted,
    /// The outcome is not certain here and now; `recover` resolves it.
    InDoubt,
    /// A foreign writer made a resolution ambiguous; both versions are kept.
    Hazard,
}

/// What happens to a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PlanEvent {
    /// Freeze what the plan produced.
    Seal,
    /// Let the plan work again after a commit that changed nothing.
    Reopen,
    /// Begin to ask the participants.
    Prepare,
    /// Every participant voted ready.
    Voted,
    /// A participant refused, or the check found a conflict; nothing was written.
    Refused,
    /// The decision record is durable.
    Decided,
    /// Nothing had changed; there is nothing to decide.
    Nothing,
    /// Every participant has applied.
    AllApplied,
    /// Every effect is synced.
    Settled,
    /// An apply failed for good; take the plan back (durable before the first undo).
    TakeBack,
    /// Everything is old again; the sandboxes are kept.
    TakenBack,
    /// Give the plan up.
    GiveUp,
    /// The sandboxes of a plan that was given up are gone.
    GaveUp,
    /// The outcome of a durable step is unknown.
    Doubt,
    /// The journal, or the marker resource that was to decide, shows that nothing was decided.
    FoundUndecided,
    /// The journal or the marker resource shows a decision.
    FoundDecided,
    /// A foreign change cannot be merged with ours.
    Ambiguous,
}

/// A move that the table does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a plan that is {from} cannot take the step {event:?}")]
pub struct IllegalMove {
    /// The state the plan was in.
    pub from: PlanState,
    /// What was asked of it.
    pub event: PlanEvent,
}

impl PlanState {
    /// Every state, in the order of a life.
    pub const ALL: [Self; 11] = [
        Self::Open,
        Self::Sealed,
        Self::Preparing,
        Self::Prepared,
        Self::Committing,
        Self::Applied,
        Self::Done,
        Self::Aborting,
        Self::Aborted,
        Self::InDoubt,
        Self::Hazard,
    ];

    /// The state after `event`.
    ///
    /// # Errors
    /// [`IllegalMove`] if the table has no such move.
    pub fn next(self, event: PlanEvent) -> Result<Self, IllegalMove> {
        use PlanEvent as E;
        use PlanState as S;
        Ok(match (self, event) {
            (S::Open | S::Sealed, E::Seal)
            | (S::Preparing | S::Prepared, E::Refused)
            | (S::InDoubt | S::Committing, E::FoundUndecided)
            | (S::Aborting, E::TakenBack) => S::Sealed,
            (S::Open | S::Sealed, E::Reopen) => S::Open,
            (S::Sealed, E::Prepare) => S::Preparing,
            (S::Preparing, E::Voted) => S::Prepared,
            (S::Applied, E::Settled) => S::Done,
            (S::Prepared, E::Decided)
            | (S::InDoubt | S::Hazard | S::Committing, E::FoundDecided) => S::Committing,
            (S::Prepared, E::Nothing) | (S::Committing, E::AllApplied) => S::Applied,
            (S::Committing | S::Aborting | S::Hazard, E::TakeBack)
            | (S::Open | S::Sealed | S::Aborting, E::GiveUp) => S::Aborting,
            (S::Aborting, E::GaveUp) => S::Aborted,
            (S::Prepared | S::Committing | S::Aborting | S::InDoubt, E::Doubt) => S::InDoubt,
            (S::Committing | S::Aborting | S::Hazard, E::Ambiguous) => S::Hazard,
            (from, event) => return Err(IllegalMove { from, event }),
        })
    }

    /// True if nothing will ever change about the plan any more.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Done | Self::Aborted)
    }

    /// True if the plan has been committed, settled or not.
    #[must_use]
    pub fn is_committed(self) -> bool {
        matches!(self, Self::Applied | Self::Done)
    }

    /// True if sandboxes may be opened in the plan.
    #[must_use]
    pub fn takes_newcomers(self) -> bool {
        self == Self::Open
    }

    /// True if a crash or a fault left work that `recover` must finish.
    #[must_use]
    pub fn needs_recovery(self) -> bool {
        matches!(
            self,
            Self::Committing | Self::Aborting | Self::InDoubt | Self::Hazard
        )
    }

    /// The state as stable kebab-case text, as in JSON and in the journal.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Sealed => "sealed",
            Self::Preparing => "preparing",
            Self::Prepared => "prepared",
            Self::Committing => "committing",
            Self::Applied => "applied",
            Self::Done => "done",
            Self::Aborting => "aborting",
            Self::Aborted => "aborted",
            Self::InDoubt => "in-doubt",
            Self::Hazard => "hazard",
        }
    }

    /// Reads what [`PlanState::as_str`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

impl fmt::Display for PlanState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where a job is in its life.
///
/// ```text
/// queued --start--> running --complete--> completed
///   |                  |----fail--------> failed ------.
///   |                  |----cancel------> cancelled ---|
///   '--cancel-->       '----interrupt---> interrupted -+-retry--> running (the next attempt)
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum JobState {
    /// Nobody works on it yet.
    Queued,
    /// Its owner works on it.
    Running,
    /// Its owner died, or let it go, without an end. It can be tried again.
    Interrupted,
    /// It has a result. Terminal, for good.
    Completed,
    /// It ended with an error. Terminal; it can be tried again.
    Failed,
    /// It was given up. Terminal; it can be tried again.
    Cancelled,
}

/// What happens to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum JobEvent {
    /// The first owner takes it.
    Start,
    /// An owner takes it again, as the next attempt.
    Retry,
    /// The owner has the result.
    Complete,
    /// The owner failed.
    Fail,
    /// It is given up.
    Cancel,
    /// Its owner is gone.
    Interrupt,
}

impl JobState {
    /// Every state, in the order of a life.
    pub const ALL: [Self; 6] = [
        Self::Queued,
        Self::Running,
        Self::Interrupted,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The state after `event`; `None` if the table has no such move.
    #[must_use]
    pub(crate) fn next(self, event: JobEvent) -> Option<Self> {
        use JobEvent as E;
        use JobState as S;
        match (self, event) {
            (S::Queued, E::Start) | (S::Interrupted | S::Failed | S::Cancelled, E::Retry) => {
                Some(S::Running)
            }
            (S::Running, E::Complete) => Some(S::Completed),
            (S::Running, E::Fail) => Some(S::Failed),
            (S::Running | S::Queued | S::Interrupted, E::Cancel) => Some(S::Cancelled),
            (S::Running, E::Interrupt) => Some(S::Interrupted),
            _ => None,
        }
    }

    /// True for an end: completed, failed or cancelled.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// The state as stable kebab-case text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Interrupted => "interrupted",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Reads what [`JobState::as_str`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_straight_road_to_done() {
        let road = [
            PlanEvent::Seal,
            PlanEvent::Prepare,
            PlanEvent::Voted,
            PlanEvent::Decided,
            PlanEvent::AllApplied,
            PlanEvent::Settled,
        ];
        let end = road.into_iter().try_fold(PlanState::Open, PlanState::next);
        assert_eq!(end, Ok(PlanState::Done));
    }

    #[test]
    fn a_decided_plan_is_never_open_or_given_up() {
        for event in [
            PlanEvent::Reopen,
            PlanEvent::GiveUp,
            PlanEvent::Seal,
            PlanEvent::Refused,
        ] {
            let error = PlanState::Committing.next(event).expect_err("decided");
            assert_eq!((error.from, error.event), (PlanState::Committing, event));
        }
    }

    #[test]
    fn nothing_leaves_a_terminal_state() {
        let events = [
            PlanEvent::Seal,
            PlanEvent::Reopen,
            PlanEvent::Prepare,
            PlanEvent::Decided,
            PlanEvent::TakeBack,
            PlanEvent::GiveUp,
            PlanEvent::Doubt,
            PlanEvent::FoundDecided,
            PlanEvent::Ambiguous,
        ];
        for state in PlanState::ALL
            .into_iter()
            .filter(|state| state.is_terminal())
        {
            for event in events {
                assert!(
                    state.next(event).is_err(),
                    "{state} must not take {event:?}"
                );
            }
        }
    }

    #[test]
    fn every_state_reads_back() {
        for state in PlanState::ALL {
            assert_eq!(PlanState::parse(state.as_str()), Some(state));
        }
        assert_eq!(PlanState::parse("committed"), None);
    }

    #[test]
    fn a_terminal_job_is_left_only_by_a_retry_and_a_completed_one_never() {
        const EVENTS: [JobEvent; 6] = [
            JobEvent::Start,
            JobEvent::Retry,
            JobEvent::Complete,
            JobEvent::Fail,
            JobEvent::Cancel,
            JobEvent::Interrupt,
        ];
        for state in JobState::ALL {
            assert_eq!(JobState::parse(state.as_str()), Some(state));
            for event in EVENTS {
                let next = state.next(event);
                if state == JobState::Completed {
                    assert_eq!(next, None, "{event:?}");
                } else if state.is_terminal() {
                    assert_eq!(
                        next.is_some(),
                        event == JobEvent::Retry,
                        "{state} {event:?}"
                    );
                }
            }
        }
    }
}
