//! Bringing every plan to rest after a crash.

use super::SandboxManager;
use crate::error::{LockError, PlanFault, RecoverError};
use crate::id::PlanId;
use crate::lock::LockWait;
use crate::plan::{Recovered, Taking};
use crate::state::PlanState;

/// What a recovery did.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// Every plan that was looked at because it was not at rest.
    pub plans: Vec<RecoveredPlan>,
}

/// What a recovery did with one plan.
#[derive(Debug)]
#[non_exhaustive]
pub struct RecoveredPlan {
    /// The plan.
    pub plan: PlanId,
    /// What became of it, or why it is not at rest yet.
    pub outcome: Result<Recovered, RecoverError>,
}

impl RecoveryReport {
    /// True if every plan is at rest now, or held by a process that is alive.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.plans.iter().all(|plan| plan.outcome.is_ok())
    }
}

impl SandboxManager {
    /// Finishes or undoes what crashes left, for every plan. Runs by itself when a store is opened.
    ///
    /// A journal that took no more writes because a flush failed takes them again, once it is
    /// certain what reached the disk: so a plan in doubt ends in the process that holds its values.
    ///
    /// Idempotent. Plans that a living process holds are reported as busy and left to it. Takes the
    /// lock of each plan that is not at rest, one at a time, in the order of ids.
    ///
    /// # Errors
    /// [`RecoverError::Journal`] if the journal cannot be listed. What happened to each plan is in
    /// the report.
    pub fn recover(&self) -> Result<RecoveryReport, RecoverError> {
        let mut report = RecoveryReport::default();
        self.services().journal.revive()?;
        for record in self.services().journal.plans()? {
            let at_rest = match record.state {
                PlanState::Open | PlanState::Sealed => {
                    !self.inner.registry.is_doubtful(&record.plan)
                }
                PlanState::Done | PlanState::Aborted => {
                    self.services().journal.sandboxes(&record.plan)?.is_empty()
                }
                _ => false,
            };
            if !at_rest {
                let outcome = self.recover_waiting(&record.plan, LockWait::Try);
                report.plans.push(RecoveredPlan {
                    plan: record.plan,
                    outcome,
                });
            }
        }
        Ok(report)
    }

    /// Finishes or undoes what a crash left of one plan.
    ///
    /// # Errors
    /// [`RecoverError`]: no such plan, it is held, or a participant could not finish its part.
    pub fn recover_plan(&self, plan: &PlanId) -> Result<Recovered, RecoverError> {
        self.recover_waiting(plan, self.wait())
    }

    /// As [`SandboxManager::recover_plan`], for a plan in [`Hazard`](PlanState::Hazard) whose
    /// caller has compared both versions: every foreign change in the way stays as it is, and our
    /// side of it (the original kept aside, or what the plan wanted there) is given up.
    ///
    /// # Errors
    /// As there.
    pub fn recover_plan_keeping_theirs(&self, plan: &PlanId) -> Result<Recovered, RecoverError> {
        self.services().journal.revive()?;
        let slot = self.services().plans.handle(plan);
        let mut checkout = self.existing(&slot, "recover")?;
        checkout.locked_mut().recover_keeping_theirs()
    }

    fn recover_waiting(&self, plan: &PlanId, wait: LockWait) -> Result<Recovered, RecoverError> {
        self.services().journal.revive()?;
        let slot = self.services().plans.handle(plan);
        let taking = Taking {
            wait,
            operation: "recover",
            create: false,
        };
        match self.checkout(&slot, taking) {
            Ok(mut checkout) => checkout.locked_mut().recover(),
            // Only who does not wait is told so.
            Err(PlanFault::Lock {
                source: LockError::Busy { .. },
                ..
            }) => Ok(Recovered::Busy),
            Err(fault) => Err(fault.into()),
        }
    }
}
