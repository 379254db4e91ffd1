//! Opening sandboxes, looking at them, sealing them.

use super::participants::{call, each};
use super::receipt::{PlanDiff, ResourceDiff};
use super::settle::discard;
use super::{Locked, Participant, Services};
use crate::crash;
use crate::error::{
    DiffError, Fault, OpenSandboxError, ParticipantError, PlanFault, SealError, Stage,
};
use crate::id::{PlanId, ResourceName};
use crate::journal::{Durability, SandboxRecord};
use crate::sandbox::{Identity, Place, Resource, Sandbox, Sealed};
use crate::state::{PlanEvent, PlanState};
use std::path::PathBuf;

/// A sandbox that is open: what a handle needs to know of it.
#[derive(Debug, Clone)]
pub(crate) struct Opened {
    pub(crate) name: ResourceName,
    pub(crate) token: String,
    pub(crate) path: Option<PathBuf>,
    pub(crate) view: &'static str,
    pub(crate) generation: u64,
}

impl Locked {
    /// Opens a sandbox over `resource`, or returns the one that is open over the same thing.
    pub(crate) fn open_sandbox(
        &mut self,
        resource: &dyn Resource,
    ) -> Result<Opened, OpenSandboxError> {
        if !self.state.takes_newcomers() {
            return Err(self.wrong_state("it takes no more sandboxes").into());
        }
        self.load()?;
        let identity = call(&self.plan, || resource.identify()).map_err(|source| {
            let name = resource
                .name()
                .cloned()
                .unwrap_or_else(|| self.free_name(resource.kind()));
            self.open_failed(&name, source)
        })?;
        if let Some(open) = self.already_open(resource, &identity)? {
            return Ok(open);
        }
        let name = match resource.name() {
            Some(name) => self.unused(name)?,
            None => self.free_name(resource.kind()),
        };
        let life = (&self.plan, self.record.generation);
        let place = self.services.places.fresh(life, self.record.epoch, &name);
        let record = self.pending_record(&name, resource, &identity, &place);
        if !record.volatile {
            // A value leaves nothing behind that anybody would have to find.
            self.enlist(&record)?;
            crash::point("open.enlisted");
        }
        let opened = self.make_view(resource, &name, &place);
        match opened {
            Ok(sandbox) => {
                let sandbox = self.only_marker((&record, &place), sandbox)?;
                self.admit(record, place, sandbox)
            }
            Err(source) => {
                self.sweep_half_opened(&record, &place);
                Err(self.open_failed(&name, source))
            }
        }
    }

    /// Refuses a second marker resource: only one can decide. What was made for it goes.
    fn only_marker(
        &mut self,
        (record, place): (&SandboxRecord, &Place),
        mut sandbox: Box<dyn Sandbox>,
    ) -> Result<Box<dyn Sandbox>, OpenSandboxError> {
        if sandbox.marker().is_none() {
            return Ok(sandbox);
        }
        let Some(with) = self.marker() else {
            return Ok(sandbox);
        };
        let about = (&self.plan, &record.name);
        if let Err(error) = discard(&self.services, about, &mut *sandbox) {
            tracing::warn!(plan.id = %self.plan, %error, "a refused sandbox stays");
        }
        drop(sandbox);
        self.sweep_half_opened(record, place);
        Err(OpenSandboxError::SecondMarker {
            plan: self.plan.clone(),
            resource: record.name.clone(),
            with,
        })
    }

    fn make_view(
        &self,
        resource: &dyn Resource,
        name: &ResourceName,
        place: &Place,
    ) -> Result<Box<dyn Sandbox>, ParticipantError> {
        if !resource.is_volatile() {
            self.services.places.make(place)?;
        }
        self.services.work((&self.plan, name, Stage::Open), |work| {
            call(&self.plan, || resource.open(place, work))
        })
    }

    fn admit(
        &mut self,
        mut record: SandboxRecord,
        place: Place,
        mut sandbox: Box<dyn Sandbox>,
    ) -> Result<Opened, OpenSandboxError> {
        record.record = sandbox.record();
        if let Err(fault) = self.enlist(&record) {
            // Nobody will ever find this sandbox again: what it holds must go now.
            let dropped = discard(&self.services, (&self.plan, &record.name), &mut *sandbox);
            if let Err(error) = dropped {
                tracing::warn!(plan.id = %self.plan, %error, "a sandbox that nobody knows stays");
            }
            return Err(fault.into());
        }
        crash::point("open.viewed");
        let name = record.name.clone();
        let participant = Participant {
            record,
            place,
            sandbox: Ok(sandbox),
        };
        let opened = self.opened(&name, &participant);
        self.body.participants.insert(name.clone(), participant);
        opened.ok_or_else(|| {
            self.open_failed(
                &name,
                ParticipantError::new(Fault::Lost, "the sandbox is gone"),
            )
        })
    }

    fn opened(&self, name: &ResourceName, participant: &Participant) -> Option<Opened> {
        let sandbox = participant.sandbox.as_ref().ok()?;
        Some(Opened {
            name: name.clone(),
            token: participant.place.token.clone(),
            path: sandbox.path().map(PathBuf::from),
            view: sandbox.view(),
            generation: self.record.generation,
        })
    }

    /// The sandbox that is already open over the same real thing; a refusal if the new one would
    /// overlap another.
    fn already_open(
        &self,
        resource: &dyn Resource,
        identity: &Identity,
    ) -> Result<Option<Opened>, OpenSandboxError> {
        for (name, participant) in &self.body.participants {
            let overlap = |resource: &ResourceName| OpenSandboxError::Overlap {
                plan: self.plan.clone(),
                resource: resource.clone(),
                with: name.clone(),
            };
            let asked = resource.name().unwrap_or(name);
            if participant.record.key == identity.key {
                if asked != name {
                    return Err(overlap(asked));
                }
                return match &participant.sandbox {
                    Ok(_) => Ok(self.opened(name, participant)),
                    Err(error) => Err(self.open_failed(name, again(error))),
                };
            }
            let Ok(sandbox) = &participant.sandbox else {
                continue;
            };
            if sandbox.identity().overlaps(identity) {
                let free = self.free_name(resource.kind());
                return Err(overlap(resource.name().unwrap_or(&free)));
            }
        }
        Ok(None)
    }

    fn unused(&self, name: &ResourceName) -> Result<ResourceName, OpenSandboxError> {
        match self.body.participants.get(name) {
            None => Ok(name.clone()),
            Some(participant) => {
                let by = match &participant.sandbox {
                    Ok(sandbox) => sandbox.target(),
                    Err(_) => participant.record.key.to_string(),
                };
                Err(OpenSandboxError::NameTaken {
                    plan: self.plan.clone(),
                    resource: name.clone(),
                    by,
                })
            }
        }
    }

    /// The first of `kind`, `kind2`, `kind3` and so on that is not taken.
    fn free_name(&self, kind: &str) -> ResourceName {
        let taken = |name: &ResourceName| self.body.participants.contains_key(name);
        let names = std::iter::once(kind.to_owned()).chain((2_u64..).map(|n| format!("{kind}{n}")));
        let mut names = names.filter_map(|text| ResourceName::new(text).ok());
        names.find(|name| !taken(name)).unwrap_or_else(|| {
            unreachable!("a kind is a short printable word and the numbers do not end")
        })
    }

    fn pending_record(
        &self,
        name: &ResourceName,
        resource: &dyn Resource,
        identity: &Identity,
        place: &Place,
    ) -> SandboxRecord {
        SandboxRecord {
            name: name.clone(),
            kind: resource.kind().to_owned(),
            key: identity.key.clone(),
            token: place.token.clone(),
            record: String::new(),
            volatile: resource.is_volatile(),
            owner: self.services.instance.clone(),
        }
    }

    fn enlist(&self, record: &SandboxRecord) -> Result<(), PlanFault> {
        let journal = &self.services.journal;
        journal
            .enlist(&self.plan, self.epoch(), record)
            .map_err(self.journal_fault())
    }

    fn open_failed(&self, resource: &ResourceName, source: ParticipantError) -> OpenSandboxError {
        OpenSandboxError::Participant {
            plan: self.plan.clone(),
            resource: resource.clone(),
            stage: Stage::Open,
            source: Box::new(source),
        }
    }

    /// What the plan changed until now.
    pub(crate) fn diff(&mut self) -> Result<PlanDiff, DiffError> {
        self.load()?;
        let (plan, services) = (self.plan.clone(), self.services.clone());
        let mut unseen = Vec::new();
        let mut resources = Vec::new();
        for (name, participant) in &self.body.participants {
            match &participant.sandbox {
                Err(error) => unseen.push((name.clone(), error.to_string())),
                Ok(sandbox) => {
                    let changes = services.work((&plan, name, Stage::Diff), |work| {
                        call(&plan, || sandbox.diff(work))
                    });
                    let changes = changes.map_err(|source| DiffError::Participant {
                        plan: plan.clone(),
                        resource: name.clone(),
                        stage: Stage::Diff,
                        source: Box::new(source),
                    })?;
                    resources.push(resource_diff(name, &**sandbox, changes));
                }
            }
        }
        Ok(PlanDiff {
            plan,
            resources,
            unseen,
        })
    }

    /// Freezes what the plan produced: from here on only a commit or a rollback follows.
    pub(crate) fn seal(&mut self) -> Result<PlanDiff, SealError> {
        match self.state {
            PlanState::Open | PlanState::Sealed => (),
            _ => return Err(self.wrong_state("it cannot be sealed").into()),
        }
        self.load()?;
        let sealed =
            self.seal_participants()
                .map_err(|(resource, source)| SealError::Participant {
                    plan: self.plan.clone(),
                    resource,
                    stage: Stage::Seal,
                    source: Box::new(source),
                })?;
        self.keep_records()?;
        self.record_step(PlanEvent::Seal, ("seal", ""), Durability::Flushed)?;
        Ok(self.diff_of(&sealed))
    }

    /// Writes down every participant whose record changed, after a seal or an unseal.
    pub(super) fn keep_records(&mut self) -> Result<(), PlanFault> {
        let mut changed = Vec::new();
        for participant in self.body.participants.values_mut() {
            let Ok(sandbox) = &participant.sandbox else {
                continue;
            };
            let record = sandbox.record();
            if record != participant.record.record {
                participant.record.record = record;
                changed.push(participant.record.clone());
            }
        }
        changed.iter().try_for_each(|record| self.enlist(record))
    }

    /// Seals every participant, in the order of names; a plan that was sealed by its caller keeps
    /// that seal.
    pub(super) fn seal_participants(
        &mut self,
    ) -> Result<Vec<(ResourceName, Sealed)>, (ResourceName, ParticipantError)> {
        for (name, participant) in &self.body.participants {
            if let Err(error) = &participant.sandbox {
                return Err((name.clone(), again(error)));
            }
        }
        let (plan, services) = (self.plan.clone(), self.services.clone());
        let stale = !self.sealed_before;
        let sealed = each(&plan, self.seats(), &|name, sandbox| {
            if stale {
                // A seal that an earlier, failed commit left behind is not the plan's.
                sandbox.unseal()?;
            }
            services.work((&plan, name, Stage::Seal), |work| sandbox.seal(work))
        });
        sealed
            .into_iter()
            .map(|(name, outcome)| match outcome {
                Ok(sealed) => Ok((name, sealed)),
                Err(error) => Err((name, error)),
            })
            .collect()
    }

    /// What `sealed` would commit, told like a diff.
    pub(super) fn diff_of(&self, sealed: &[(ResourceName, Sealed)]) -> PlanDiff {
        let resources = sealed.iter().filter_map(|(name, sealed)| {
            let sandbox = self.body.participants.get(name)?.sandbox.as_ref().ok()?;
            Some(resource_diff(name, &**sandbox, sealed.changes.clone()))
        });
        PlanDiff {
            plan: self.plan.clone(),
            resources: resources.collect(),
            unseen: Vec::new(),
        }
    }
}

/// What a plan changed, looked at without its lock: for a plan that somebody else holds.
///
/// The sandboxes are opened again from their records; what vanishes meanwhile is unseen.
pub(crate) fn diff_unlocked(services: &Services, plan: &PlanId) -> Result<PlanDiff, DiffError> {
    let journal = |source| PlanFault::Journal {
        plan: plan.clone(),
        source,
    };
    let record = services.journal.plan(plan).map_err(journal)?;
    let record = record.ok_or_else(|| PlanFault::Unknown { plan: plan.clone() })?;
    let (mut resources, mut unseen) = (Vec::new(), Vec::new());
    for enlisted in services.journal.sandboxes(plan).map_err(journal)? {
        let name = enlisted.name.clone();
        let place = services
            .places
            .known((plan, record.generation), &enlisted.token, &name);
        let looked = services
            .reopen(plan, &enlisted, &place)
            .and_then(|sandbox| {
                let about = (plan, &name, Stage::Diff);
                let changes = services.work(about, |work| call(plan, || sandbox.diff(work)))?;
                Ok(resource_diff(&name, &*sandbox, changes))
            });
        match looked {
            Ok(diff) => resources.push(diff),
            Err(error) => unseen.push((name, error.to_string())),
        }
    }
    Ok(PlanDiff {
        plan: plan.clone(),
        resources,
        unseen,
    })
}

fn resource_diff(
    name: &ResourceName,
    sandbox: &dyn Sandbox,
    changes: crate::sandbox::Changes,
) -> ResourceDiff {
    ResourceDiff {
        name: name.clone(),
        kind: sandbox.kind().to_owned(),
        target: sandbox.target(),
        view: sandbox.view().to_owned(),
        changes,
    }
}

/// The same refusal once more: an I/O error cannot be cloned, its text can.
pub(super) fn again(error: &ParticipantError) -> ParticipantError {
    let mut copy = ParticipantError::new(error.fault, error.message.clone());
    copy.path.clone_from(&error.path);
    copy
}
