//! Committing, and what a commit may say.

#![expect(
    clippy::indexing_slicing,
    reason = "numbers of resources and plans are counted round"
)]

use super::ops::Fails;
use super::plain::{Expected, Life, Plan};
use super::thing::{Run, ensure};
use super::world::{Real, World, wrong};
use crate::support::scripted::Scripted;
use planbox::error::CommitError;
use planbox::{CommitOutcome, Fault, ParticipantError, Receipt};

impl World {
    /// The plan gets a partner, if it takes one, and the partner fails.
    pub(super) fn commit_beside(&mut self, plan: usize, fails: Fails) -> Run {
        if !self.works(plan) {
            return Ok(());
        }
        let (model, real) = &self.plans[plan];
        if !model.partner && model.life == Life::Open {
            let partner = Scripted::new(&self.script, &format!("partner-of-{}", real.id));
            let opened = self.manager().open_sandbox(&real.id, partner);
            drop(opened.map_err(|error| wrong("open the partner", &error))?);
            self.plans[plan].0.partner = true;
        }
        if !self.plans[plan].0.partner {
            return self.commit(plan, None);
        }
        self.script.hook(move |step, _| {
            if step == fails.step() {
                return Err(ParticipantError::new(Fault::Denied, "the partner fails"));
            }
            Ok(())
        });
        let outcome = self.commit(plan, Some(fails));
        self.script.hook(|_, _| Ok(()));
        outcome
    }

    pub(super) fn commit(&mut self, plan: usize, fails: Option<Fails>) -> Run {
        let (model, real) = &self.plans[plan];
        if model.life == Life::RolledBack || model.sandboxes.is_empty() {
            return Ok(());
        }
        let outcome = self.manager().commit_all(&real.id);
        self.committed(plan, fails, outcome)
    }

    pub(super) fn committed(
        &mut self,
        plan: usize,
        fails: Option<Fails>,
        outcome: Result<Receipt, CommitError>,
    ) -> Run {
        let (model, real) = &self.plans[plan];
        if model.life == Life::Committed {
            let again = outcome.map_err(|error| wrong("a second commit", &error))?;
            let same = again.is_repeat() && Some(&again) == real.receipt.as_ref();
            return ensure(same, || format!("another receipt: {again:?}"));
        }
        if model.crippled {
            return match outcome {
                Err(CommitError::Refused { .. }) => Ok(()),
                other => Err(format!("with a lost value: {other:?}")),
            };
        }
        let expected = model.expects(&self.real);
        let (model, real) = &mut self.plans[plan];
        match (outcome, fails, expected) {
            (Err(CommitError::Refused { .. }), Some(Fails::Seal | Fails::Prepare), _)
            | (Err(CommitError::Conflict { .. }), None | Some(Fails::Apply), Expected::Conflict)
            | (Err(CommitError::Conflict { .. }), None | Some(Fails::Apply), Expected::Either) => {
                Ok(())
            }
            (
                Err(CommitError::TakenBack { .. }),
                Some(Fails::Apply),
                Expected::Through | Expected::Either,
            ) => {
                model.taken_back(&mut self.real);
                Ok(())
            }
            (Ok(receipt), None, Expected::Through | Expected::Either) => {
                counted(model, real, &receipt)?;
                model.commit(&mut self.real);
                real.receipt = Some(receipt);
                Ok(())
            }
            (other, ..) => Err(format!(
                "expected {expected:?}, partner {fails:?}: {other:?}"
            )),
        }
    }
}

/// The receipt counts what was applied, no more and no less.
fn counted(model: &Plan, real: &Real, receipt: &Receipt) -> Run {
    let nothing = model.touched() == 0 && !model.partner;
    let wanted = if nothing {
        CommitOutcome::NothingToDo
    } else {
        CommitOutcome::Committed
    };
    ensure(receipt.outcome() == wanted && !receipt.is_repeat(), || {
        format!("{wanted:?} was expected: {receipt:?}")
    })?;
    for (resource, sandbox) in &model.sandboxes {
        let name = &real.handles[resource].name;
        let part = receipt.resources().iter().find(|part| part.name == *name);
        let counted = part.map(|part| (part.applied, part.changes.entries.len()));
        let touched = sandbox.wanted.len();
        ensure(counted == Some((touched > 0, touched)), || {
            format!("{touched} places of {name} were changed: {counted:?} in the receipt")
        })?;
    }
    Ok(())
}
