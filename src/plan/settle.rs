//! After the commit: sync the effects, then sweep what is no longer needed.

use super::participants::call;
use super::{Locked, Services};
use crate::crash;
use crate::error::{JournalError, ParticipantError, PlanFault, RecoverError, Stage};
use crate::id::{PlanId, ResourceName};
use crate::journal::Durability;
use crate::sandbox::{Outcome, Redo, Sandbox};
use crate::state::{PlanEvent, PlanState};
use std::collections::BTreeMap;

impl Locked {
    /// Brings a committed plan to `Done` and removes everything that was made for it.
    ///
    /// The originals kept aside go only after the record of the sync is durable: until then a
    /// recovery may still need them to see what is done.
    pub(crate) fn settle(&mut self) -> Result<(), RecoverError> {
        self.load()?;
        if self.state == PlanState::Applied {
            let redos = self.redos()?;
            let plan = self.plan.clone();
            for (name, sandbox) in self.seats() {
                if let Some(redo) = redos.get(name) {
                    call(&plan, || sandbox.settle(redo))
                        .map_err(|source| failed(&plan, name, source))?;
                }
            }
            crash::point("settle.synced");
            self.record_step(PlanEvent::Settled, ("done", ""), Durability::Flushed)?;
            crash::point("settle.done");
        }
        if self.state.is_terminal() {
            self.sweep("settle.swept")?;
        }
        Ok(())
    }

    /// Forgets a plan that is over, with its receipt and its story.
    pub(crate) fn forget(&self) -> Result<(), JournalError> {
        self.services.journal.forget(&self.plan, self.epoch())
    }

    /// The redo of every participant in the durable decision.
    pub(super) fn redos(&self) -> Result<BTreeMap<ResourceName, Redo>, PlanFault> {
        let decision = self
            .services
            .journal
            .decision(&self.plan)
            .map_err(self.journal_fault())?;
        let parts = decision
            .map(|decision| decision.participants)
            .unwrap_or_default();
        Ok(parts
            .into_iter()
            .map(|part| (part.name, Redo(part.redo)))
            .collect())
    }

    /// Removes every sandbox of a plan that needs them no more, then its place.
    pub(super) fn sweep(&mut self, point: &'static str) -> Result<(), RecoverError> {
        let (plan, services) = (self.plan.clone(), self.services.clone());
        let epoch = self.epoch();
        let names: Vec<ResourceName> = self.body.participants.keys().cloned().collect();
        for name in names {
            let Some(participant) = self.body.participants.get_mut(&name) else {
                continue;
            };
            if let Ok(sandbox) = &mut participant.sandbox {
                discard(&services, (&plan, &name), &mut **sandbox)
                    .map_err(|source| failed(&plan, &name, source))?;
            }
            let place = participant.place.clone();
            let removed = services.places.remove(&place);
            removed.map_err(|source| failed(&plan, &name, source))?;
            services
                .journal
                .delist(&plan, epoch, &name)
                .map_err(self.journal_fault())?;
            self.body.participants.remove(&name);
            crash::point(point);
        }
        let removed = services.places.remove_plan(&plan, self.record.generation);
        removed.map_err(|source| RecoverError::Participant {
            plan: plan.clone(),
            resource: whole_plan(),
            source: Box::new(source),
        })
    }
}

fn whole_plan() -> ResourceName {
    ResourceName::new("plan").unwrap_or_else(|_| unreachable!("a fixed printable word"))
}

/// Removes all that a sandbox owns.
pub(super) fn discard(
    services: &Services,
    about: (&PlanId, &ResourceName),
    sandbox: &mut dyn Sandbox,
) -> Outcome<()> {
    let (plan, name) = about;
    services.work((plan, name, Stage::Settle), |work| {
        call(plan, || sandbox.discard(work))
    })
}

pub(super) fn failed(plan: &PlanId, name: &ResourceName, source: ParticipantError) -> RecoverError {
    RecoverError::Participant {
        plan: plan.clone(),
        resource: name.clone(),
        source: Box::new(source),
    }
}
