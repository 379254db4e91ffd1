//! Steps that the file system lets fail.
//!
//! What is allowed afterwards: the step failed and everything is old, or it succeeded and everything
//! is new, or its outcome is in doubt and a recovery ends that. Every failure says which plan, and
//! what of it, where.

#![expect(
    clippy::indexing_slicing,
    reason = "numbers of resources and plans are counted round"
)]

use super::ops::Op;
use super::plain::Life;
use super::thing::{Run, ensure};
use super::world::{World, wrong};
use planbox::error::CommitError;
use planbox::faults::Wrong;
use planbox::{Explain, PlanState};

/// A failure names its plan; of a participant also the resource, the step and a path, but for a value
/// that went with its process: it was nowhere.
fn is_told<E: Explain>(error: &E, plan: &planbox::PlanId) -> Run {
    let nowhere = error.code() == "value-elsewhere";
    let is_whole = match error.resource() {
        Some(_) => error.stage().is_some() && (error.path().is_some() || nowhere),
        None => error.path().is_some() || error.stage().is_some(),
    };
    let whose = error.plan() == Some(plan);
    ensure(whose && is_whole && !error.next_step().is_empty(), || {
        wrong("a failure that does not say enough", error)
    })
}

impl World {
    /// Plays a step that meets `what` at its `nth` call.
    pub(super) fn play_struck(&mut self, op: Op, (what, nth): (Wrong, u64)) -> Run {
        self.manager().settle();
        match op {
            Op::Open { plan, resource } => self.open_struck(plan, resource, (what, nth)),
            Op::Commit { plan } if self.works(plan) => self.commit_struck(plan, (what, nth)),
            Op::Rollback { plan } if self.works(plan) => self.rollback_struck(plan, (what, nth)),
            Op::Seal { plan } if self.works(plan) => self.seal_struck(plan, (what, nth)),
            Op::Diff { plan } | Op::Check { plan } if self.works(plan) => {
                self.look_struck(plan, matches!(op, Op::Check { .. }), (what, nth))
            }
            Op::Restart => {
                self.stop();
                self.faults.strike(what, nth);
                // It may not open at all, or leave something to the next recovery.
                let opened = self.open_store();
                self.works_again();
                if opened.is_err() {
                    self.open_store()?;
                }
                self.recover()
            }
            other => self.play_whole(other),
        }
    }

    /// The disk works again; what went wrong on it, if anything did.
    fn works_again(&mut self) -> Option<String> {
        if let Some(manager) = &self.manager {
            manager.settle();
        }
        let struck = self.faults.mend();
        self.struck += u64::from(struck.is_some());
        struck
    }

    fn state(&self, plan: usize) -> Option<PlanState> {
        let status = self.manager().status(&self.plans[plan].1.id);
        status.ok().map(|status| status.state)
    }

    fn open_struck(&mut self, plan: usize, resource: usize, (what, nth): (Wrong, u64)) -> Run {
        let resource = self.resource(resource);
        self.renew(plan);
        self.faults.strike(what, nth);
        let opened = self.ask_open(plan, resource);
        let struck = self.works_again();
        match opened {
            Err(error) if struck.is_some() => {
                is_told(&error, &self.plans[plan].1.id)?;
                self.recover()
            }
            other => {
                self.opened(plan, resource, other)?;
                self.recover()
            }
        }
    }

    fn look_struck(&mut self, plan: usize, check: bool, (what, nth): (Wrong, u64)) -> Run {
        self.faults.strike(what, nth);
        let id = self.plans[plan].1.id.clone();
        let told = if check {
            let checked = self.manager().check(&id);
            checked.err().map(|error| is_told(&error, &id))
        } else {
            let looked = self.manager().diff(&id);
            looked.err().map(|error| is_told(&error, &id))
        };
        let struck = self.works_again();
        if struck.is_some() || !self.plans[plan].0.crippled {
            told.transpose()?;
        }
        self.recover()?;
        self.is_as_before(plan)
    }

    fn seal_struck(&mut self, plan: usize, (what, nth): (Wrong, u64)) -> Run {
        self.faults.strike(what, nth);
        let id = self.plans[plan].1.id.clone();
        let sealed = self.manager().seal(&id);
        let struck = self.works_again();
        self.recover()?;
        match sealed {
            Ok(_) => {
                ensure(!self.plans[plan].0.crippled, || {
                    "a lost value was sealed".to_owned()
                })?;
                self.plans[plan].0.life = Life::Sealed;
                Ok(())
            }
            Err(error) => {
                ensure(struck.is_some() || self.plans[plan].0.crippled, || {
                    wrong("seal", &error)
                })?;
                is_told(&error, &id)?;
                self.is_as_before(plan)
            }
        }
    }

    /// The plan is where it was. If its seal is in doubt it is given up, which must work.
    fn is_as_before(&mut self, plan: usize) -> Run {
        let state = self.state(plan);
        let life = self.plans[plan].0.life;
        match (life, state) {
            (Life::Open, Some(PlanState::Open)) | (Life::Sealed, Some(PlanState::Sealed)) => Ok(()),
            (Life::Open, Some(PlanState::Sealed)) => self.give_up(plan),
            other => Err(format!("the plan is not where it was: {other:?}")),
        }
    }

    fn give_up(&mut self, plan: usize) -> Run {
        let gone = self.manager().rollback_all(&self.plans[plan].1.id);
        gone.map_err(|error| wrong("give up", &error))?;
        self.plans[plan].0.life = Life::RolledBack;
        Ok(())
    }

    fn rollback_struck(&mut self, plan: usize, (what, nth): (Wrong, u64)) -> Run {
        self.faults.strike(what, nth);
        let id = self.plans[plan].1.id.clone();
        let outcome = self.manager().rollback_all(&id);
        let struck = self.works_again();
        if let Err(error) = &outcome {
            ensure(struck.is_some(), || wrong("rollback", error))?;
            is_told(error, &id)?;
        }
        self.is_as_the_model_says()?;
        self.recover()?;
        match (outcome.is_ok(), self.state(plan)) {
            (_, Some(PlanState::Aborted)) => {
                self.plans[plan].0.life = Life::RolledBack;
                Ok(())
            }
            (false, Some(PlanState::Open | PlanState::Sealed)) => self.give_up(plan),
            other => Err(format!("a rollback left the plan {other:?}")),
        }
    }

    fn commit_struck(&mut self, plan: usize, (what, nth): (Wrong, u64)) -> Run {
        self.faults.strike(what, nth);
        let id = self.plans[plan].1.id.clone();
        let outcome = self.manager().commit_all(&id);
        let struck = self.works_again();
        let Some(struck) = struck else {
            self.committed(plan, None, outcome)?;
            return self.recover();
        };
        let failure = match outcome {
            // The participants were asked; what goes wrong after that does not change the answer.
            Ok(_) | Err(CommitError::Conflict { .. }) => {
                self.committed(plan, None, outcome)?;
                return self.recover();
            }
            Err(error) => error,
        };
        let at = |what: String| format!("{what}\nstruck: {struck}\nfailure: {failure:?}");
        is_told(&failure, &id)?;
        match &failure {
            CommitError::InDoubt { .. } => (),
            CommitError::Hazard { .. } => return Err(at("nobody was there".to_owned())),
            // Everything else means, at once: everything real is as it was.
            _ => self.is_as_the_model_says().map_err(at)?,
        }
        self.recover().map_err(at)?;
        self.after_a_failure(plan, matches!(failure, CommitError::InDoubt { .. }))
            .map_err(at)
    }

    /// A commit failed, and a recovery has been: all new if it was in doubt, or all old.
    fn after_a_failure(&mut self, plan: usize, in_doubt: bool) -> Run {
        let state = self.state(plan);
        match state {
            Some(PlanState::Done | PlanState::Applied) if in_doubt => {
                let (model, real) = &mut self.plans[plan];
                model.commit(&mut self.real);
                let manager = self.manager.as_ref().unwrap();
                let receipt = manager.receipt(&real.id);
                real.receipt = receipt.map_err(|error| wrong("receipt", &error))?;
                Ok(())
            }
            Some(PlanState::Open | PlanState::Sealed) => {
                // It may have been applied and taken back: the old versions, written anew.
                let (model, _) = &self.plans[plan];
                for (resource, sandbox) in &model.sandboxes {
                    for spot in sandbox.wanted.keys() {
                        self.real[*resource].note_write(*spot);
                    }
                }
                self.is_as_before(plan)
            }
            other => Err(format!("after the recovery the plan is {other:?}")),
        }
    }
}
