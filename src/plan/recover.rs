//! Finishing what a crash or a fault left. `docs/protocol.md` has the table of start-up cases.

use super::apply::Failure;
use super::receipt::{ReceiptBody, Recovered};
use super::settle::failed;
use super::{Locked, story};
use crate::crash;
use crate::error::{Fault, RecoverError};
use crate::id::ResourceName;
use crate::journal::{Decision, Verdict};
use crate::sandbox::{Changes, Redo};
use crate::state::{PlanEvent, PlanState};
use std::collections::BTreeMap;

impl Locked {
    /// As [`Locked::recover`], leaving every foreign change in the way as it is.
    pub(crate) fn recover_keeping_theirs(&mut self) -> Result<Recovered, RecoverError> {
        self.keep_theirs = true;
        self.recover()
    }

    /// Brings the plan to rest: everything old or everything new. Idempotent.
    pub(crate) fn recover(&mut self) -> Result<Recovered, RecoverError> {
        self.load()?;
        crash::point("recover.begun");
        match self.state {
            PlanState::InDoubt => self.resolve_doubt(),
            PlanState::Committing | PlanState::Aborting | PlanState::Hazard => self.resolve(),
            PlanState::Applied => {
                self.redo_applied()?;
                self.settle()?;
                crash::point("recover.settled");
                Ok(Recovered::Completed)
            }
            PlanState::Done | PlanState::Aborted if self.has_leftovers() => {
                self.sweep("settle.swept")?;
                Ok(Recovered::Removed)
            }
            _ => Ok(Recovered::Nothing),
        }
    }

    fn has_leftovers(&self) -> bool {
        !self.body.participants.is_empty() || self.services.places.has_plan(&self.plan)
    }

    /// A durable step failed in this process: the journal knows what became of it.
    fn resolve_doubt(&mut self) -> Result<Recovered, RecoverError> {
        let record = self
            .services
            .journal
            .plan(&self.plan)
            .map_err(self.journal_fault())?;
        let decided = record.is_some_and(|record| record.state == PlanState::Committing);
        let event = if decided {
            PlanEvent::FoundDecided
        } else {
            PlanEvent::FoundUndecided
        };
        self.step(event)?;
        if decided {
            return self.resolve();
        }
        if self.sealed_before {
            self.let_go();
        } else {
            self.reopen();
        }
        Ok(Recovered::Undone)
    }

    /// The journal has a decision, or a plan that was given up.
    fn resolve(&mut self) -> Result<Recovered, RecoverError> {
        let decision = self
            .services
            .journal
            .decision(&self.plan)
            .map_err(self.journal_fault())?;
        match decision {
            None if self.state == PlanState::Aborting => {
                self.remove_given_up()?;
                Ok(Recovered::Removed)
            }
            None => Err(self
                .wrong_state("it is decided, but has no decision")
                .into()),
            Some(decision) if decision.verdict == Verdict::TakeBack => {
                self.sealed_before = decision.sealed;
                self.finish_take_back()
            }
            Some(decision) if decision.verdict == Verdict::Ask => self.finish_asked(&decision),
            Some(decision) => self.finish_commit(&decision),
        }
    }

    fn finish_take_back(&mut self) -> Result<Recovered, RecoverError> {
        if self.state == PlanState::Hazard {
            self.step(PlanEvent::TakeBack)?;
        }
        let redos = self.live_redos()?;
        if let Err((name, error)) = self.take_back_all(&redos) {
            if error.fault == Fault::Hazard {
                self.note_hazard(&error);
            }
            return Err(failed(&self.plan, &name, error));
        }
        self.taken_back()?;
        crash::point("recover.undone");
        Ok(Recovered::Undone)
    }

    /// The marker resource was about to be asked: it alone knows the answer.
    fn finish_asked(&mut self, decision: &Decision) -> Result<Recovered, RecoverError> {
        if self.marker_decided(decision)? {
            return self.finish_commit(decision);
        }
        crash::point("recover.undone");
        Ok(Recovered::Undone)
    }

    fn finish_commit(&mut self, decision: &Decision) -> Result<Recovered, RecoverError> {
        if self.state == PlanState::Hazard {
            self.step(PlanEvent::FoundDecided)?;
        }
        self.sealed_before = decision.sealed;
        let redos = self.live_redos()?;
        if let Err(failure) = self.apply_all(&redos) {
            return self.cannot_redo(failure, decision, &redos);
        }
        crash::point("recover.applied");
        let body = self.decided_receipt(decision)?;
        let receipt = self.conclude(PlanEvent::AllApplied, body);
        if let Err(error) = receipt {
            tracing::error!(plan.id = %self.plan, %error, "the receipt could not be stored");
            return Err(self.wrong_state("its receipt could not be stored").into());
        }
        self.settle()?;
        crash::point("recover.settled");
        Ok(Recovered::Completed)
    }

    /// A redo failed. Nobody has been told "committed" if the machine has not been started anew
    /// since the decision (the receipt would be in the journal), so the plan can be taken back,
    /// unless a marker resource has committed; otherwise it stays decided and is tried again.
    fn cannot_redo(
        &mut self,
        failure: Failure,
        decision: &Decision,
        redos: &BTreeMap<ResourceName, Redo>,
    ) -> Result<Recovered, RecoverError> {
        let (name, error) = failure;
        if decision.boot != self.services.boot || decision.verdict == Verdict::Ask {
            if matches!(error.fault, Fault::Conflict | Fault::Hazard) {
                self.note_hazard(&error);
            }
            return Err(failed(&self.plan, &name, error));
        }
        tracing::warn!(plan.id = %self.plan, resource = %name, %error, "redo failed: taking back");
        self.record_take_back(&story(&error))?;
        if let Err((name, error)) = self.take_back_all(redos) {
            if error.fault == Fault::Hazard {
                self.note_hazard(&error);
            }
            return Err(failed(&self.plan, &name, error));
        }
        self.taken_back()?;
        Ok(Recovered::Undone)
    }

    /// Redoes what a power cut may have lost after the plan was acknowledged.
    fn redo_applied(&mut self) -> Result<(), RecoverError> {
        let redos = self.live_redos()?;
        self.apply_all(&redos)
            .map_err(|(name, error)| failed(&self.plan, &name, error))
    }

    /// The redo of every participant that can be reached. Values of a process that is gone went
    /// with it; a durable participant that cannot be opened stops the recovery.
    fn live_redos(&self) -> Result<BTreeMap<ResourceName, Redo>, RecoverError> {
        let mut redos = self.redos().map_err(RecoverError::from)?;
        for (name, participant) in &self.body.participants {
            let Err(error) = &participant.sandbox else {
                continue;
            };
            if participant.record.volatile {
                redos.remove(name);
            } else if redos.contains_key(name) {
                return Err(failed(&self.plan, name, super::open::again(error)));
            }
        }
        Ok(redos)
    }

    /// The receipt that was decided, less the values that went with the process that held them.
    fn decided_receipt(&self, decision: &Decision) -> Result<ReceiptBody, RecoverError> {
        let mut body: ReceiptBody = serde_json::from_str(&decision.receipt)
            .map_err(|_| self.wrong_state("its decision has no receipt that can be read"))?;
        for resource in &mut body.resources {
            let participant = self.body.participants.get(&resource.name);
            let gone = participant.is_none_or(|participant| participant.sandbox.is_err());
            if gone && resource.applied {
                resource.applied = false;
                resource.changes = Changes::default();
                resource
                    .changes
                    .notes
                    .push("it went with the process that held it".to_owned());
            }
        }
        Ok(body)
    }
}
