//! Giving a plan up.

use super::Locked;
use crate::crash;
use crate::error::{PlanFault, RecoverError, RollbackError, Stage};
use crate::id::ResourceName;
use crate::journal::Durability;
use crate::state::{PlanEvent, PlanState};

impl Locked {
    /// Gives the plan up: nothing real changes, its sandboxes are removed. Returns their names.
    ///
    /// A plan that was rolled back before, or whose giving up was interrupted, is finished.
    pub(crate) fn rollback(&mut self) -> Result<Vec<ResourceName>, RollbackError> {
        if self.state.needs_recovery() {
            self.recover().map_err(|error| self.as_rollback(error))?;
        }
        self.load()?;
        match self.state {
            PlanState::Aborted => (),
            PlanState::Open | PlanState::Sealed => {
                let word = ("rollback", "");
                self.record_step(PlanEvent::GiveUp, word, Durability::Flushed)?;
                crash::point("rollback.recorded");
            }
            PlanState::Applied | PlanState::Done => {
                return Err(self
                    .wrong_state("it is committed and cannot be rolled back")
                    .into());
            }
            _ => return Err(self.wrong_state("it cannot be rolled back now").into()),
        }
        let names = self.body.participants.keys().cloned().collect();
        self.remove_given_up()
            .map_err(|error| self.as_rollback(error))?;
        Ok(names)
    }

    /// Removes the sandboxes of a plan that was given up, and notes that they are gone.
    pub(super) fn remove_given_up(&mut self) -> Result<(), RecoverError> {
        self.sweep("rollback.between")?;
        if self.state == PlanState::Aborting {
            let word = ("rolled-back", "");
            self.record_step(PlanEvent::GaveUp, word, Durability::Lazy)?;
        }
        crash::point("rollback.removed");
        Ok(())
    }

    fn as_rollback(&self, error: RecoverError) -> RollbackError {
        match error {
            RecoverError::Plan(fault) => RollbackError::Plan(fault),
            RecoverError::Journal(source) => RollbackError::Plan(PlanFault::Journal {
                plan: self.plan.clone(),
                source,
            }),
            RecoverError::Participant {
                plan,
                resource,
                source,
            } => RollbackError::Participant {
                plan,
                resource,
                stage: Stage::Discard,
                source,
            },
        }
    }
}
