//! The marker resource: a participant whose own commit decides for the whole plan.
//!
//! The journal first notes, durably, that the marker is about to be asked and what everybody has to
//! do if it says yes. Then the marker commits, with the plan and the epoch written down in its own
//! transaction. Whether it did is from then on the only truth: a recovery that finds the note asks
//! the marker. Nothing is taken back once it has committed.

use super::apply::Failure;
use super::commit::Ready;
use super::participants::call;
use super::{Locked, Participant};
use crate::crash;
use crate::error::{CommitError, Fault, ParticipantError, PlanFault, RecoverError, Stage};
use crate::id::ResourceName;
use crate::journal::{Decision, Durability, Verdict};
use crate::sandbox::{Outcome, Redo, Stamp};
use crate::state::PlanEvent;

/// True if this participant is a marker resource.
pub(super) fn is_marker(participant: &mut Participant) -> bool {
    let sandbox = participant.sandbox.as_mut();
    sandbox.is_ok_and(|sandbox| sandbox.marker().is_some())
}

impl Locked {
    /// The name of the plan's marker resource, if it has one.
    pub(super) fn marker(&mut self) -> Option<ResourceName> {
        let mut participants = self.body.participants.iter_mut();
        let found = participants.find_map(|(name, one)| is_marker(one).then_some(name));
        found.cloned()
    }

    /// The marker resource among `ready`: it decides. None if it changed nothing.
    pub(super) fn deciding(&mut self, ready: &[Ready]) -> Option<ResourceName> {
        let marker = self.marker()?;
        ready
            .iter()
            .any(|part| part.name == marker)
            .then_some(marker)
    }

    fn stamp(&self) -> Stamp {
        Stamp {
            plan: self.plan.clone(),
            epoch: self.epoch(),
        }
    }

    /// Lets the marker decide, after the journal has noted that it is asked.
    pub(super) fn ask_marker(
        &mut self,
        marker: &ResourceName,
        ready: &[Ready],
    ) -> Result<(), CommitError> {
        let redo = ready.iter().find(|part| part.name == *marker);
        let Some(redo) = redo.map(|part| part.redo.clone()) else {
            return Ok(());
        };
        let stamp = self.stamp();
        let plan = self.plan.clone();
        let committed = self.with_marker(marker, |one| call(&plan, || one.commit(&redo, &stamp)));
        let Err(error) = committed else {
            crash::point("commit.marked");
            return Ok(());
        };
        tracing::warn!(plan.id = %self.plan, resource = %marker, %error, "marker.commit failed");
        let asked = if self.services.without.marker_question {
            Ok(false)
        } else {
            self.probe(marker, &redo, &stamp)
        };
        match asked {
            Ok(true) => Ok(()),
            Ok(false) => {
                self.back_to_work(PlanEvent::FoundUndecided, "marker-refused")?;
                Err(CommitError::Refused {
                    plan: self.plan.clone(),
                    resource: marker.clone(),
                    stage: Stage::Decide,
                    source: Box::new(error),
                })
            }
            Err(unknown) => {
                self.step(PlanEvent::Doubt)?;
                Err(self.in_doubt((Some(marker.clone()), Stage::Decide), unknown))
            }
        }
    }

    /// What a plan decided by its marker is when a participant cannot apply: it cannot be taken
    /// back, so it is tried again by every recovery.
    pub(super) fn stuck(&mut self, failure: Failure) -> CommitError {
        let (resource, source) = failure;
        tracing::error!(plan.id = %self.plan, %resource, error = %source, "apply failed");
        if matches!(source.fault, Fault::Conflict | Fault::Hazard) {
            self.note_hazard(&source);
            return CommitError::Hazard {
                plan: self.plan.clone(),
                resource,
                source: Box::new(source),
            };
        }
        match self.step(PlanEvent::Doubt) {
            Ok(_) => self.in_doubt((Some(resource), Stage::Apply), source),
            Err(fault) => fault.into(),
        }
    }

    /// Finds out what the marker of `decision` decided. False: everything is old, and the plan can
    /// go on.
    pub(super) fn marker_decided(&mut self, decision: &Decision) -> Result<bool, RecoverError> {
        let Some(part) = decision.participants.iter().find(|part| part.marker) else {
            let text = "its decision was left to a marker resource that it does not name";
            return Err(self.wrong_state(text).into());
        };
        let stamp = Stamp {
            plan: self.plan.clone(),
            epoch: decision.epoch,
        };
        let redo = Redo(part.redo.clone());
        let decided = self.probe(&part.name, &redo, &stamp);
        let decided =
            decided.map_err(|source| super::settle::failed(&self.plan, &part.name, source))?;
        if !decided {
            self.sealed_before = decision.sealed;
            self.back_to_work(PlanEvent::FoundUndecided, "undecided")?;
        }
        Ok(decided)
    }

    fn probe(&mut self, marker: &ResourceName, redo: &Redo, stamp: &Stamp) -> Outcome<bool> {
        let plan = self.plan.clone();
        self.with_marker(marker, |one| call(&plan, || one.probe(redo, stamp)))
    }

    fn with_marker<T>(
        &mut self,
        name: &ResourceName,
        f: impl FnOnce(&mut dyn crate::sandbox::Marker) -> Outcome<T>,
    ) -> Outcome<T> {
        let gone = || ParticipantError::new(Fault::Lost, "the marker resource is gone");
        let participant = self.body.participants.get_mut(name).ok_or_else(gone)?;
        match &mut participant.sandbox {
            Ok(sandbox) => f(sandbox.marker().ok_or_else(gone)?),
            Err(error) => Err(super::open::again(error)),
        }
    }

    /// Notes that nothing was decided or that everything is old again: the plan is open, or sealed
    /// if its caller had sealed it.
    ///
    /// The note is durable before the staging goes: a recovery that still found the decision would
    /// need it.
    pub(super) fn back_to_work(
        &mut self,
        event: PlanEvent,
        word: &'static str,
    ) -> Result<(), PlanFault> {
        let word = (word, "");
        if self.sealed_before {
            self.record_step(event, word, Durability::Flushed)?;
            self.let_go();
            return Ok(());
        }
        self.step(event)?;
        self.record_step(PlanEvent::Reopen, word, Durability::Flushed)?;
        crash::point("takeback.noted");
        self.let_go();
        self.keep_records()
    }
}

/// The verdict of a plan with or without a marker resource that changed something.
pub(super) fn verdict(marker: Option<&ResourceName>) -> Verdict {
    marker.map_or(Verdict::Commit, |_| Verdict::Ask)
}
