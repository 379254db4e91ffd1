//! The commit: freeze, seal, validate, prepare, decide; then [`apply`](super::apply) takes over.
//!
//! The plan lock is held from before the snapshot of the sandbox list until after the outcome is in
//! the journal and in the registry.

use super::open::again;
use super::participants::{call, each};
use super::receipt::{Check, CommitOutcome, PlanDiff, Receipt, ReceiptBody, ResourceReceipt};
use super::resources::{GuardFailure, ResourceLocks};
use super::{Locked, marker, story};
use crate::clock;
use crate::crash;
use crate::error::{
    CommitError, Conflict, Explain as _, Fault, JournalError, ParticipantError, PlanFault, Stage,
};
use crate::id::ResourceName;
use crate::journal::{Decision, Durability, Part};
use crate::lock::LockWait;
use crate::sandbox::{Changes, Guard, Redo, Sealed, Vote};
use crate::state::{PlanEvent, PlanState};
use std::collections::BTreeMap;

/// When a commit returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Acknowledge {
    /// When the decision is durable and every effect is visible. A power cut after that is repaired
    /// from the journal by the next open.
    #[default]
    Applied,
    /// When every effect is synced too and the sandboxes are removed. If that fails, the plan is
    /// committed all the same and [`Receipt::is_settled`] says no.
    Settled,
}

/// How to commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommitOptions {
    /// How long to wait for the plan lock and for each resource lock.
    pub wait: LockWait,
    /// When to return.
    pub acknowledge: Acknowledge,
}

impl Default for CommitOptions {
    fn default() -> Self {
        Self {
            wait: LockWait::Block,
            acknowledge: Acknowledge::Applied,
        }
    }
}

impl CommitOptions {
    /// The same options with this `wait`.
    #[must_use]
    pub fn wait(mut self, wait: LockWait) -> Self {
        self.wait = wait;
        self
    }

    /// The same options with this `acknowledge`.
    #[must_use]
    pub fn acknowledge(mut self, acknowledge: Acknowledge) -> Self {
        self.acknowledge = acknowledge;
        self
    }
}

/// A participant that has something to apply.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) name: ResourceName,
    pub(super) redo: Redo,
    pub(super) changes: Changes,
}

/// The answer of all participants together.
#[derive(Debug)]
enum Votes {
    Ready(Vec<Ready>),
    Conflict(Vec<Conflict>),
}

impl Locked {
    /// Commits the plan: all of its changes become real, or none.
    pub(crate) fn commit(&mut self, wait: LockWait) -> Result<Receipt, CommitError> {
        if let Some(receipt) = self.bring_to_rest()? {
            return Ok(receipt);
        }
        crash::point("commit.locked");
        let implicit = self.state == PlanState::Open;
        self.load()?;
        let result = self.try_commit(wait);
        if implicit && self.state == PlanState::Sealed {
            self.reopen();
        }
        result
    }

    /// What a commit would do now: seals, locks and checks everything, then lets it all go.
    pub(crate) fn check(&mut self, wait: LockWait) -> Result<Check, CommitError> {
        self.bring_to_rest()?;
        if self.state.is_committed() {
            return Err(self
                .wrong_state("it is committed; there is nothing to check")
                .into());
        }
        let implicit = self.state == PlanState::Open;
        self.load()?;
        let result = self.try_check(wait);
        if implicit && self.state == PlanState::Sealed {
            self.reopen();
        }
        result
    }

    /// The receipt of a plan that is committed; otherwise the plan is `Open` or `Sealed` afterwards.
    fn bring_to_rest(&mut self) -> Result<Option<Receipt>, CommitError> {
        if self.state.needs_recovery() {
            self.recover().map_err(|error| {
                self.in_doubt((error.resource().cloned(), Stage::Recover), error)
            })?;
        }
        match self.state {
            PlanState::Applied | PlanState::Done => self.stored_receipt().map(Some),
            PlanState::Open | PlanState::Sealed => Ok(None),
            _ => Err(self.wrong_state("it cannot be committed any more").into()),
        }
    }

    fn stored_receipt(&self) -> Result<Receipt, CommitError> {
        let text = self
            .services
            .journal
            .receipt(&self.plan)
            .map_err(self.journal_fault())?;
        let body = text.as_deref().map(serde_json::from_str::<ReceiptBody>);
        match body {
            Some(Ok(body)) => Ok(Receipt::repeated(body, self.state == PlanState::Done)),
            _ => Err(self.in_doubt(
                (None, Stage::Recover),
                std::io::Error::other("the plan is committed, but its receipt cannot be read"),
            )),
        }
    }

    pub(super) fn in_doubt(
        &self,
        (resource, stage): (Option<ResourceName>, Stage),
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> CommitError {
        CommitError::InDoubt {
            plan: self.plan.clone(),
            resource,
            stage,
            source: source.into(),
        }
    }

    fn refused(&self, at: (ResourceName, Stage), source: ParticipantError) -> CommitError {
        let (resource, stage) = at;
        tracing::warn!(plan.id = %self.plan, %resource, %stage, error = %source, "plan.refused");
        CommitError::Refused {
            plan: self.plan.clone(),
            resource,
            stage,
            source: Box::new(source),
        }
    }

    /// Freezes the plan and seals every participant.
    fn freeze(&mut self) -> Result<Vec<(ResourceName, Sealed)>, CommitError> {
        if self.state == PlanState::Open {
            self.step(PlanEvent::Seal)?;
        }
        let sealed = self.seal_participants();
        let sealed = sealed.map_err(|(name, error)| self.refused((name, Stage::Seal), error))?;
        crash::point("commit.sealed");
        Ok(sealed)
    }

    fn try_commit(&mut self, wait: LockWait) -> Result<Receipt, CommitError> {
        let sealed = self.freeze()?;
        let locks = self.lock_resources(wait)?;
        let ready = match self.ask() {
            Ok(Votes::Ready(ready)) => ready,
            Ok(Votes::Conflict(conflicts)) => {
                self.stand_down();
                return Err(CommitError::Conflict {
                    plan: self.plan.clone(),
                    conflicts,
                });
            }
            Err(error) => {
                self.stand_down();
                return Err(error);
            }
        };
        let body = self.receipt_body(&ready, &sealed, clock::now_unix_ms());
        if ready.is_empty() {
            self.stand_down();
            drop(locks);
            return self.conclude(PlanEvent::Nothing, body);
        }
        let marker = self.deciding(&ready);
        if let Err(error) = self.decide((&ready, marker.as_ref()), &sealed, &body) {
            if self.state != PlanState::InDoubt {
                self.stand_down();
            }
            return Err(error);
        }
        let late = self.services.without.marker_order;
        if let Some(marker) = marker.as_ref().filter(|_| !late) {
            self.ask_marker(marker, &ready)?;
        }
        let receipt = self.apply_decided(&ready, body, marker.as_ref())?;
        if let Some(marker) = marker.as_ref().filter(|_| late) {
            self.ask_marker(marker, &ready)?;
        }
        drop(locks);
        Ok(receipt)
    }

    fn try_check(&mut self, wait: LockWait) -> Result<Check, CommitError> {
        let sealed = self.freeze()?;
        let diff: PlanDiff = self.diff_of(&sealed);
        let locks = self.lock_resources(wait)?;
        let votes = self.ask();
        self.stand_down();
        drop(locks);
        let conflicts = match votes? {
            Votes::Ready(_) => {
                self.step(PlanEvent::Refused)?;
                Vec::new()
            }
            Votes::Conflict(conflicts) => conflicts,
        };
        Ok(Check { diff, conflicts })
    }

    fn lock_resources(&mut self, wait: LockWait) -> Result<ResourceLocks, CommitError> {
        let plan = self.plan.clone();
        let seats = self.seats().into_iter();
        let guards: Vec<_> = seats
            .map(|(name, sandbox)| (name.clone(), call(&plan, || sandbox.guards())))
            .collect();
        for (name, guards) in &guards {
            self.keep_apart(name, guards.as_deref().unwrap_or_default())?;
        }
        ResourceLocks::take(&self.services, &self.guard, guards, wait).map_err(|failure| {
            match failure {
                GuardFailure::Lock(source) => PlanFault::Lock { plan, source }.into(),
                GuardFailure::Participant(name, error) => {
                    self.refused((name, Stage::Validate), error)
                }
            }
        })
    }

    /// Refuses a plan in which `name` would change the very thing that another resource is: a branch
    /// that moves the work tree along in which a database lies that the branch holds, too.
    fn keep_apart(&self, name: &ResourceName, guards: &[Guard]) -> Result<(), CommitError> {
        for (other, participant) in self.body.participants.iter().filter(|pair| pair.0 != name) {
            let Ok(theirs) = &participant.sandbox else {
                continue;
            };
            let key = &theirs.identity().key;
            if guards
                .iter()
                .any(|guard| !guard.shared && guard.key == *key)
            {
                let why = format!(
                    "it would change {}, which {other} changes, too; use a plan for each",
                    theirs.target()
                );
                let error = ParticipantError::new(Fault::Refused, why);
                return Err(self.refused((name.clone(), Stage::Validate), error));
            }
        }
        Ok(())
    }

    /// No decision follows: every participant lets go of what its prepare holds on to.
    pub(super) fn stand_down(&mut self) {
        let plan = self.plan.clone();
        for (name, sandbox) in self.seats() {
            let done = call(&plan, || {
                sandbox.stand_down();
                Ok(())
            });
            if let Err(error) = done {
                tracing::warn!(plan.id = %plan, resource = %name, %error, "stand-down failed");
            }
        }
    }

    /// Asks every participant to check its pre-images and to make its redo durable.
    fn ask(&mut self) -> Result<Votes, CommitError> {
        self.step(PlanEvent::Prepare)?;
        let (plan, services) = (self.plan.clone(), self.services.clone());
        let answers = each(&plan, self.seats(), &|name, sandbox| {
            services.work((&plan, name, Stage::Prepare), |work| sandbox.prepare(work))
        });
        crash::point("commit.validated");
        let (mut ready, mut conflicts, mut failure) = (Vec::new(), Vec::new(), None);
        for (name, answer) in answers {
            match answer {
                Ok(Vote::Ready { redo, changes }) => ready.push(Ready {
                    name,
                    redo,
                    changes,
                }),
                Ok(Vote::ReadOnly) => (),
                Ok(Vote::Conflict(found)) => {
                    conflicts.extend(found.into_iter().map(|conflict| Conflict {
                        resource: Some(name.clone()),
                        ..conflict
                    }));
                }
                Err(error) => failure = failure.or(Some((name, error))),
            }
        }
        if let Some((name, error)) = failure {
            self.step(PlanEvent::Refused)?;
            return Err(self.refused((name, Stage::Prepare), error));
        }
        if !conflicts.is_empty() {
            self.step(PlanEvent::Refused)?;
            return Ok(Votes::Conflict(conflicts));
        }
        self.step(PlanEvent::Voted)?;
        crash::point("commit.prepared");
        Ok(Votes::Ready(ready))
    }

    /// Writes the decision. This is the only place that makes a plan committed; with a marker
    /// resource it is the note that the marker is about to be asked.
    fn decide(
        &mut self,
        (ready, marker): (&[Ready], Option<&ResourceName>),
        sealed: &[(ResourceName, Sealed)],
        body: &ReceiptBody,
    ) -> Result<(), CommitError> {
        let receipt = serde_json::to_string(body);
        let receipt = receipt.map_err(|error| self.in_doubt((None, Stage::Decide), error))?;
        let digests: BTreeMap<_, _> = sealed
            .iter()
            .map(|(name, sealed)| (name, sealed.digest.as_str()))
            .collect();
        let parts = ready.iter().filter_map(|part| {
            let participant = self.body.participants.get(&part.name)?;
            Some(Part {
                name: part.name.clone(),
                kind: participant.record.kind.clone(),
                volatile: participant.record.volatile,
                marker: marker == Some(&part.name),
                redo: part.redo.0.clone(),
                digest: digests
                    .get(&part.name)
                    .copied()
                    .unwrap_or_default()
                    .to_owned(),
            })
        });
        let decision = Decision {
            plan: self.plan.clone(),
            epoch: self.epoch(),
            verdict: marker::verdict(marker),
            boot: self.services.boot.clone(),
            sealed: self.sealed_before,
            participants: parts.collect(),
            receipt,
            at_unix_ms: body.decided_unix_ms,
        };
        let decided = if self.services.without.decision {
            Ok(())
        } else {
            self.services.journal.decide(&decision)
        };
        match decided {
            Ok(()) => {
                self.step(PlanEvent::Decided)?;
                crash::point("commit.decided");
                Ok(())
            }
            Err(error @ JournalError::Poisoned { .. }) => {
                self.step(PlanEvent::Doubt)?;
                Err(self.in_doubt((None, Stage::Decide), error))
            }
            Err(source) => {
                self.step(PlanEvent::Refused)?;
                Err(PlanFault::Journal {
                    plan: self.plan.clone(),
                    source,
                }
                .into())
            }
        }
    }

    fn receipt_body(
        &self,
        ready: &[Ready],
        sealed: &[(ResourceName, Sealed)],
        decided_unix_ms: u64,
    ) -> ReceiptBody {
        let resources = sealed.iter().filter_map(|(name, sealed)| {
            let sandbox = self.body.participants.get(name)?.sandbox.as_ref().ok()?;
            let applied = ready.iter().find(|part| part.name == *name);
            Some(ResourceReceipt {
                name: name.clone(),
                kind: sandbox.kind().to_owned(),
                target: sandbox.target(),
                view: sandbox.view().to_owned(),
                applied: applied.is_some(),
                changes: applied.map(|part| part.changes.clone()).unwrap_or_default(),
                digest: sealed.digest.clone(),
            })
        });
        let nothing = ready.is_empty();
        ReceiptBody {
            plan: self.plan.clone(),
            outcome: if nothing {
                CommitOutcome::NothingToDo
            } else {
                CommitOutcome::Committed
            },
            epoch: self.record.epoch,
            decided_unix_ms,
            resources: resources.collect(),
        }
    }

    /// Stores the receipt and moves to the state in which the plan counts as committed.
    pub(super) fn conclude(
        &mut self,
        event: PlanEvent,
        body: ReceiptBody,
    ) -> Result<Receipt, CommitError> {
        let next = self.state.next(event);
        let next = next.map_err(|source| PlanFault::Illegal {
            plan: self.plan.clone(),
            source,
        })?;
        let text = serde_json::to_string(&body)
            .map_err(|error| self.in_doubt((None, Stage::Apply), error))?;
        let journal = &self.services.journal;
        let stored = journal.finish(&self.plan, self.epoch(), next, &text, Durability::Lazy);
        if let Err(source) = stored {
            if event != PlanEvent::Nothing {
                return Err(self.in_doubt((None, Stage::Apply), source));
            }
            // Nothing was decided or applied: whatever became of this write, everything is old, and
            // the plan goes on.
            self.step(PlanEvent::Refused)?;
            let plan = self.plan.clone();
            return Err(PlanFault::Journal { plan, source }.into());
        }
        self.step(event)?;
        crash::point("commit.recorded");
        Ok(Receipt::first(body))
    }

    /// Lets a plan that was sealed only for a commit work again. A failure leaves it sealed.
    pub(super) fn reopen(&mut self) {
        let plan = self.plan.clone();
        for (name, outcome) in each(&plan, self.seats(), &|_, sandbox| sandbox.unseal()) {
            if let Err(error) = outcome {
                let detail = story(&again(&error));
                tracing::warn!(plan.id = %plan, resource = %name, detail, "plan.unseal failed");
                return;
            }
        }
        if let Err(error) = self.step(PlanEvent::Reopen) {
            tracing::error!(plan.id = %plan, %error, "plan.reopen failed");
        }
    }
}
