//! After the decision: apply everywhere, or take everything back.

use super::commit::Ready;
use super::participants::{call, each};
use super::receipt::{Receipt, ReceiptBody};
use super::{Locked, story};
use crate::crash;
use crate::error::{CommitError, Fault, JournalError, ParticipantError, PlanFault, Stage};
use crate::id::ResourceName;
use crate::journal::{Decision, Durability, Verdict};
use crate::sandbox::Redo;
use crate::state::PlanEvent;
use std::collections::BTreeMap;

/// A participant that failed.
pub(super) type Failure = (ResourceName, ParticipantError);

impl Locked {
    /// Applies a decided plan; if a participant fails for good, takes the plan back.
    pub(super) fn apply_decided(
        &mut self,
        ready: &[Ready],
        body: ReceiptBody,
        marker: Option<&ResourceName>,
    ) -> Result<Receipt, CommitError> {
        let redos: BTreeMap<ResourceName, Redo> = ready
            .iter()
            .map(|part| (part.name.clone(), part.redo.clone()))
            .collect();
        match self.apply_all(&redos) {
            Ok(()) => {
                crash::point("commit.applied");
                self.conclude(PlanEvent::AllApplied, body)
            }
            Err(failure) if marker.is_some() => Err(self.stuck(failure)),
            Err(failure) => Err(self.take_back_after(failure, &redos)),
        }
    }

    /// Carries out every redo but that of a marker resource, which has done its part: the durable
    /// participants side by side, the values of this process last, because a swap cannot fail.
    pub(super) fn apply_all(
        &mut self,
        redos: &BTreeMap<ResourceName, Redo>,
    ) -> Result<(), Failure> {
        let keep = self.keep_theirs;
        for volatile in [false, true] {
            let (plan, services) = (self.plan.clone(), self.services.clone());
            let mut seats = self.seats();
            seats.retain_mut(|(name, sandbox)| {
                redos.contains_key(*name)
                    && sandbox.is_volatile() == volatile
                    && sandbox.marker().is_none()
            });
            let applied = each(&plan, seats, &|name, sandbox| match redos.get(name) {
                Some(redo) => services.work((&plan, name, Stage::Apply), |work| {
                    sandbox.apply(redo, &work.keeping_theirs(keep))
                }),
                None => Ok(()),
            });
            for (name, outcome) in applied {
                outcome.map_err(|error| (name, error))?;
            }
        }
        Ok(())
    }

    /// Takes a decided plan back under a durable record, and says how the commit failed.
    fn take_back_after(
        &mut self,
        failure: Failure,
        redos: &BTreeMap<ResourceName, Redo>,
    ) -> CommitError {
        let (resource, source) = failure;
        tracing::warn!(plan.id = %self.plan, %resource, error = %source, "plan.take-back");
        if let Err(error) = self.record_take_back(&story(&source)) {
            return self.in_doubt((None, Stage::TakeBack), error);
        }
        match self.take_back_all(redos) {
            Ok(()) => match self.taken_back() {
                Ok(()) => self.explain_take_back(resource, source),
                Err(error) => self.in_doubt((None, Stage::TakeBack), error),
            },
            Err((resource, source)) if source.fault == Fault::Hazard => {
                self.note_hazard(&source);
                let plan = self.plan.clone();
                CommitError::Hazard {
                    plan,
                    resource,
                    source: Box::new(source),
                }
            }
            Err((resource, error)) => {
                tracing::error!(plan.id = %self.plan, %resource, %error, "take-back failed");
                self.in_doubt((Some(resource), Stage::TakeBack), error)
            }
        }
    }

    fn explain_take_back(&self, resource: ResourceName, source: ParticipantError) -> CommitError {
        let plan = self.plan.clone();
        if source.fault != Fault::Conflict {
            let source = Box::new(source);
            return CommitError::TakenBack {
                plan,
                resource,
                stage: Stage::Apply,
                source,
            };
        }
        let conflicts = source.conflicts.into_iter();
        let conflicts = conflicts
            .map(|mut conflict| {
                conflict.resource = Some(resource.clone());
                conflict
            })
            .collect();
        CommitError::Conflict { plan, conflicts }
    }

    /// Makes it durable that the plan is being taken back, before the first step back.
    pub(super) fn record_take_back(&mut self, detail: &str) -> Result<(), PlanFault> {
        let stored = self
            .services
            .journal
            .decision(&self.plan)
            .map_err(self.journal_fault())?;
        let Some(decision) = stored else {
            let path = std::path::PathBuf::from("journal");
            let what = format!("plan {} is decided, but has no decision", self.plan);
            let source = JournalError::Corrupt { path, what };
            return Err(PlanFault::Journal {
                plan: self.plan.clone(),
                source,
            });
        };
        let epoch = self.epoch();
        let back = Decision {
            verdict: Verdict::TakeBack,
            epoch,
            ..decision
        };
        if !self.services.without.take_back_record {
            let noted = self.services.journal.decide(&back);
            noted.map_err(self.journal_fault())?;
        }
        self.step(PlanEvent::TakeBack)?;
        tracing::info!(plan.id = %self.plan, detail, "plan.take-back recorded");
        crash::point("takeback.recorded");
        Ok(())
    }

    /// Undoes whatever is applied, in the reverse order of names, and makes the undoing durable.
    pub(super) fn take_back_all(
        &mut self,
        redos: &BTreeMap<ResourceName, Redo>,
    ) -> Result<(), Failure> {
        if self.services.without.take_back {
            return Ok(());
        }
        let (plan, services) = (self.plan.clone(), self.services.clone());
        let keep = self.keep_theirs;
        let mut failure: Option<Failure> = None;
        for (name, sandbox) in self.seats().into_iter().rev() {
            let Some(redo) = redos.get(name).filter(|_| sandbox.marker().is_none()) else {
                continue;
            };
            let undone = services.work((&plan, name, Stage::TakeBack), |work| {
                call(&plan, || {
                    sandbox.take_back(redo, &work.keeping_theirs(keep))?;
                    sandbox.settle(redo)
                })
            });
            if let Err(error) = undone {
                let worse = failure.is_none() || error.fault == Fault::Hazard;
                if worse {
                    failure = Some((name.clone(), error));
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Notes that everything is old again; the sandboxes are kept and the plan can go on.
    pub(super) fn taken_back(&mut self) -> Result<(), PlanFault> {
        crash::point("takeback.undone");
        self.back_to_work(PlanEvent::TakenBack, "taken-back")
    }

    /// Lets go of what a commit that came to nothing prepared: the staging of every participant, or
    /// only what it holds on to if the caller had sealed the plan.
    pub(super) fn let_go(&mut self) {
        if self.sealed_before {
            self.stand_down();
            return;
        }
        let plan = self.plan.clone();
        for (name, outcome) in each(&plan, self.seats(), &|_, sandbox| sandbox.unseal()) {
            if let Err(error) = outcome {
                tracing::warn!(plan.id = %plan, resource = %name, %error, "staging stays");
            }
        }
    }

    /// Notes in the journal that a foreign change is in the way.
    pub(super) fn note_hazard(&mut self, error: &ParticipantError) {
        let noted = self.record_step(
            PlanEvent::Ambiguous,
            ("hazard", &story(error)),
            Durability::Flushed,
        );
        if let Err(fault) = noted {
            tracing::error!(plan.id = %self.plan, %fault, "the hazard could not be noted");
        }
    }
}
