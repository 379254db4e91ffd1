//! One plan: lock, snapshot, prepare, decide, apply, settle.
//!
//! Everything that changes a plan is a method of [`Locked`], and a `Locked` exists only while the
//! plan lock is held: the keyed mutex of this process, then the lease among processes, with an
//! epoch of its own. There is no other way to the participants.

use crate::error::{Explain as _, Fault, LockError, ParticipantError, PlanFault, Stage};
use crate::id::{Epoch, PlanId, ResourceKey, ResourceName};
use crate::journal::{Durability, JournalStore, PlanRecord, SandboxRecord};
use crate::lock::{KeyGuard, KeyHandle, Lease, LockFault, LockTable, LockWait, identify_holder};
use crate::sandbox::{Kind, Outcome, Place, Progress, Sandbox, Work};
use crate::state::{PlanEvent, PlanState};
use crate::sync::Rank;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

mod apply;
mod commit;
mod event;
mod marker;
mod open;
mod participants;
mod place;
mod receipt;
mod recover;
mod resources;
mod rollback;
mod settle;

pub use commit::{Acknowledge, CommitOptions};
pub(crate) use event::EventHub;
pub use event::{EVENT_BACKLOG, Event};
pub(crate) use open::Opened;
pub(crate) use open::diff_unlocked;
use participants::call;
pub(crate) use participants::refuse_reentry;
pub(crate) use place::Places;
pub use receipt::{
    Check, CommitOutcome, PlanDiff, Receipt, ReceiptBody, Recovered, ResourceDiff, ResourceReceipt,
    summary,
};

/// What a plan needs from below.
#[derive(Debug)]
pub(crate) struct Services {
    pub(crate) journal: Arc<dyn JournalStore>,
    pub(crate) plans: LockTable<PlanId>,
    pub(crate) resources: LockTable<ResourceKey>,
    /// The directory of lease files; none for a manager that lives in memory only.
    pub(crate) leases: Option<PathBuf>,
    pub(crate) kinds: BTreeMap<&'static str, Arc<dyn Kind>>,
    pub(crate) places: Places,
    pub(crate) events: EventHub,
    pub(crate) cancelled: Arc<AtomicBool>,
    /// Text that tells this manager from every other one, living or dead.
    pub(crate) instance: String,
    /// Text that changes when the machine starts anew.
    pub(crate) boot: String,
    /// Mechanisms taken out for a negative control.
    pub(crate) without: Without,
}

/// Mechanisms taken out of a manager so that a test can show that it fails without them. All false,
/// always, in a release build.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a mechanism of its own, and a test takes out any of them"
)]
pub struct Without {
    /// No plan lock: every taking gets a mutex of its own. Over a store the lease is left.
    pub plan_lock: bool,
    /// No lease among processes, nor among managers of one process.
    pub lease: bool,
    /// No lock of its own for each plan: they all share one.
    pub separation: bool,
    /// No fencing: every write names the newest epoch instead of its own.
    pub fencing: bool,
    /// No decision in the journal: apply begins with nothing to recover from.
    pub decision: bool,
    /// A marker resource is asked last, when the others have applied.
    pub marker_order: bool,
    /// A marker resource whose answer was lost is not asked again.
    pub marker_question: bool,
    /// No take-back: what a failed commit has applied stays.
    pub take_back: bool,
    /// No record that a decided plan is taken back.
    pub take_back_record: bool,
    /// A fault in the table of plan locks.
    pub lock_table: Option<LockFault>,
    /// A fault in the registry of live plans.
    pub registry: Option<RegistryFault>,
}

/// A fault of the registry of live plans. A release build cannot plant any.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistryFault {
    /// The sandboxes of a plan come home after its lock was let go.
    LateReturn,
    /// They are looked up and put back by two steps, and the map of all plans is gone between them.
    TwoSteps,
    /// A plan that is over keeps its entry.
    NoRemoval,
}

impl Without {
    /// The table of plan locks, with its fault, if it has one.
    pub(crate) fn plan_locks(self) -> LockTable<PlanId> {
        #[cfg(debug_assertions)]
        if let Some(fault) = self.lock_table {
            return LockTable::with_fault(Rank::Plan, fault);
        }
        LockTable::new(Rank::Plan)
    }
}

impl Services {
    /// Runs one step of a participant, with somebody who listens to its progress.
    fn work<T>(
        &self,
        about: (&PlanId, &ResourceName, Stage),
        f: impl FnOnce(&Work<'_>) -> Outcome<T>,
    ) -> Outcome<T> {
        let (plan, resource, stage) = about;
        let never = AtomicBool::new(false);
        // A decided step is never interrupted: half an apply helps nobody.
        let decided = matches!(stage, Stage::Apply | Stage::TakeBack | Stage::Settle);
        let cancelled = if decided { &never } else { &*self.cancelled };
        let told = AtomicU64::new(0);
        let observer = |progress: Progress| {
            let now = crate::clock::now_unix_ms();
            let last = told.load(Ordering::Relaxed);
            if !event::is_due(progress, last, now) {
                return;
            }
            told.store(now, Ordering::Relaxed);
            let Progress { done, total, unit } = progress;
            let (plan, resource) = (plan.clone(), resource.clone());
            self.events.tell(&Event::Progress {
                plan,
                resource,
                stage,
                done,
                total,
                unit,
            });
        };
        f(&Work::new(&observer, cancelled))
    }
}

/// A participant of a plan as this process knows it.
#[derive(Debug)]
pub(crate) struct Participant {
    pub(crate) record: SandboxRecord,
    pub(crate) place: Place,
    pub(crate) sandbox: Result<Box<dyn Sandbox>, ParticipantError>,
}

/// What a manager keeps of a plan between two operations: its live sandboxes.
///
/// It is checked out by the one who holds the plan lock and checked in again before the lock goes.
#[derive(Debug, Default)]
pub(crate) struct Body {
    /// The life of the plan that the sandboxes belong to.
    pub(crate) generation: u64,
    /// The epoch of the last taking by this process: if the next one is not the very next epoch,
    /// somebody else was there and the sandboxes are read again.
    pub(crate) epoch: u64,
    /// The last taking ended in doubt: the sandboxes hold on to what they prepared.
    pub(crate) doubtful: bool,
    pub(crate) participants: BTreeMap<ResourceName, Participant>,
}

/// How to take a plan.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taking {
    pub(crate) wait: LockWait,
    pub(crate) operation: &'static str,
    /// Make the plan if it is not there.
    pub(crate) create: bool,
}

/// A plan whose lock is held, with everything that may be done to it.
#[derive(Debug)]
pub(crate) struct Locked {
    services: Arc<Services>,
    plan: PlanId,
    record: PlanRecord,
    /// Where the plan is now; the journal knows the durable part of it.
    state: PlanState,
    body: Body,
    /// The plan was sealed by its caller, before this taking of the lock.
    sealed_before: bool,
    /// Foreign changes in the way of a recovery win, because its caller said so.
    keep_theirs: bool,
    /// The body matches the journal; nobody else can write while the lock is held.
    loaded: bool,
    /// Fields drop in this order: the lease goes before the mutex of this process.
    lease: Option<Lease>,
    guard: KeyGuard<PlanId>,
}

impl Locked {
    /// Takes the plan lock: the mutex of this process, then the lease, then a new epoch.
    pub(crate) fn take(
        services: &Arc<Services>,
        handle: &KeyHandle<PlanId>,
        taking: Taking,
    ) -> Result<Self, PlanFault> {
        let plan = handle.key().clone();
        let lock = |source| PlanFault::Lock {
            plan: plan.clone(),
            source,
        };
        let journal = |source| PlanFault::Journal {
            plan: plan.clone(),
            source,
        };
        refuse_reentry().map_err(lock)?;
        let guard = if services.without.plan_lock {
            let nobody_else_sees_it = LockTable::new(Rank::Plan);
            nobody_else_sees_it
                .lock(&plan, taking.wait, taking.operation)
                .map_err(lock)?
        } else if services.without.separation {
            let everybody = PlanId::new("all-plans").unwrap_or_else(|_| plan.clone());
            let shared = services.plans.handle(&everybody);
            shared.lock(taking.wait, taking.operation).map_err(lock)?
        } else {
            handle.lock(taking.wait, taking.operation).map_err(lock)?
        };
        guard.stamp();
        let lease = services.lease(&plan, taking).map_err(lock)?;
        let acquired = services
            .journal
            .acquire(&plan, taking.operation, taking.create)
            .map_err(journal)?;
        let Some(record) = acquired else {
            retire(lease);
            return Err(PlanFault::Unknown { plan });
        };
        tracing::debug!(plan.id = %plan, epoch = record.epoch.0, taking.operation, "plan.lock.hold");
        let services = Arc::clone(services);
        let state = record.state;
        Ok(Self {
            services,
            plan,
            record,
            state,
            body: Body::default(),
            sealed_before: state == PlanState::Sealed,
            keep_theirs: false,
            loaded: false,
            lease,
            guard,
        })
    }

    /// Brings in what the manager kept of the plan, if it still is what the journal says.
    pub(crate) fn check_in_body(&mut self, body: Body) {
        if body.generation != self.record.generation {
            return;
        }
        let doubtful = body.doubtful;
        self.body = body;
        if doubtful && matches!(self.state, PlanState::Open | PlanState::Sealed) {
            tracing::info!(plan.id = %self.plan, "plan.undecided");
            self.let_go();
        }
    }

    /// Hands out what the manager should keep, and whether the plan is at its end.
    pub(crate) fn check_out_body(&mut self) -> Option<Body> {
        let mut body = std::mem::take(&mut self.body);
        body.generation = self.record.generation;
        body.epoch = self.record.epoch.0;
        body.doubtful = self.state == PlanState::InDoubt;
        (!self.state.is_terminal() && !body.participants.is_empty()).then_some(body)
    }

    /// Lets the plan go. At the end of the plan's life its lease file goes too.
    pub(crate) fn release(mut self) {
        if self.state.is_terminal() {
            retire(self.lease.take());
        }
        drop(self.lease.take());
        drop(self.guard);
    }

    pub(crate) fn plan(&self) -> &PlanId {
        &self.plan
    }

    /// True if nobody had the plan between the taking at `epoch` and this one.
    pub(crate) fn follows(&self, epoch: Epoch) -> bool {
        epoch.0 + 1 == self.record.epoch.0
    }

    pub(crate) fn state(&self) -> PlanState {
        self.state
    }

    /// Moves the plan in memory, through the one table of moves.
    fn step(&mut self, event: PlanEvent) -> Result<PlanState, PlanFault> {
        let moved = self.state.next(event);
        let illegal = |source| PlanFault::Illegal {
            plan: self.plan.clone(),
            source,
        };
        self.state = moved.map_err(illegal)?;
        tracing::debug!(plan.id = %self.plan, state = %self.state, "plan.state");
        self.services.events.tell(&Event::State {
            plan: self.plan.clone(),
            state: self.state,
        });
        Ok(self.state)
    }

    /// Moves the plan in memory and in the journal.
    fn record_step(
        &mut self,
        event: PlanEvent,
        note: (&str, &str),
        durability: Durability,
    ) -> Result<(), PlanFault> {
        let (word, detail) = note;
        let next = self.state.next(event);
        let plan = || self.plan.clone();
        let next = next.map_err(|source| PlanFault::Illegal {
            plan: plan(),
            source,
        })?;
        let (epoch, journal) = (self.epoch(), &self.services.journal);
        journal
            .advance(&self.plan, epoch, next, word, detail, durability)
            .map_err(|source| PlanFault::Journal {
                plan: plan(),
                source,
            })?;
        self.step(event).map(drop)
    }

    /// The epoch that this taking writes with.
    fn epoch(&self) -> Epoch {
        if self.services.without.fencing
            && let Ok(Some(record)) = self.services.journal.plan(&self.plan)
        {
            return record.epoch;
        }
        self.record.epoch
    }

    fn journal_fault(&self) -> impl Fn(crate::error::JournalError) -> PlanFault + use<> {
        let plan = self.plan.clone();
        move |source| PlanFault::Journal {
            plan: plan.clone(),
            source,
        }
    }

    fn wrong_state(&self, wanted: &'static str) -> PlanFault {
        PlanFault::WrongState {
            plan: self.plan.clone(),
            state: self.state,
            wanted,
        }
    }

    /// Every participant that can be worked with, in the order of names.
    fn seats(&mut self) -> Vec<participants::Seat<'_>> {
        self.body
            .participants
            .iter_mut()
            .filter_map(|(name, participant)| match &mut participant.sandbox {
                Ok(sandbox) => Some((name, &mut **sandbox)),
                Err(_) => None,
            })
            .collect()
    }

    /// Makes the body match the journal: opens again what somebody else enlisted, forgets what is
    /// no longer enlisted, and sweeps what a crash left half opened.
    pub(crate) fn load(&mut self) -> Result<(), PlanFault> {
        let next = self.body.epoch + 1 == self.record.epoch.0;
        if self.loaded || (next && !self.body.participants.is_empty()) {
            return Ok(());
        }
        let journal_fault = self.journal_fault();
        let records = self
            .services
            .journal
            .sandboxes(&self.plan)
            .map_err(journal_fault)?;
        let mut before = std::mem::take(&mut self.body.participants);
        for record in records {
            let life = (&self.plan, self.record.generation);
            let places = &self.services.places;
            let place = places.known(life, &record.token, &record.name);
            if record.record.is_empty() {
                self.sweep_half_opened(&record, &place);
                continue;
            }
            let kept = before
                .remove(&record.name)
                .filter(|kept| kept.record == record);
            let participant = kept.unwrap_or_else(|| {
                let sandbox = self.services.reopen(&self.plan, &record, &place);
                Participant {
                    record,
                    place,
                    sandbox,
                }
            });
            self.body
                .participants
                .insert(participant.record.name.clone(), participant);
        }
        self.loaded = true;
        Ok(())
    }

    fn sweep_half_opened(&self, record: &SandboxRecord, place: &Place) {
        let removed = self.services.places.remove(place);
        let journal = &self.services.journal;
        if let Err(error) = removed {
            tracing::warn!(plan.id = %self.plan, %error, "a half-opened sandbox stays");
            return;
        }
        if let Err(error) = journal.delist(&self.plan, self.epoch(), &record.name) {
            tracing::warn!(plan.id = %self.plan, %error, "a half-opened sandbox stays listed");
        }
    }
}

impl Services {
    fn lease(&self, plan: &PlanId, taking: Taking) -> Result<Option<Lease>, LockError> {
        let Some(directory) = self.leases.as_ref().filter(|_| !self.without.lease) else {
            return Ok(None);
        };
        let holder = identify_holder(plan.as_str(), taking.operation);
        Lease::acquire(directory, &plan.file_name(), &holder, taking.wait).map(Some)
    }

    /// Opens a sandbox again from its record.
    pub(crate) fn reopen(
        &self,
        plan: &PlanId,
        record: &SandboxRecord,
        place: &Place,
    ) -> Result<Box<dyn Sandbox>, ParticipantError> {
        if record.record.is_empty() {
            // Between the two notes of an open: there is nothing yet that a participant wrote.
            let text = "the sandbox is being opened, or was when its process ended";
            return Err(ParticipantError::new(Fault::Lost, text));
        }
        if record.volatile {
            let text = if record.owner == self.instance {
                "the value is with the one who works on the plan, or went with its sandbox"
            } else {
                "the value lives, or lived, in another process"
            };
            return Err(ParticipantError::new(Fault::Elsewhere, text));
        }
        match self.kinds.get(record.kind.as_str()) {
            Some(kind) => call(plan, || kind.reopen(&record.record, place)),
            None => Err(ParticipantError::new(
                Fault::Unsupported,
                format!("this manager does not know the kind {}", record.kind),
            )),
        }
    }
}

/// Removes the lease file of a plan that is over. One that stays is swept by `gc`.
fn retire(lease: Option<Lease>) {
    if let Some(lease) = lease {
        lease.retire();
    }
}

/// The code of an error, as the journal's story keeps it.
fn story(error: &ParticipantError) -> String {
    serde_json::json!({ "code": error.code(), "message": error.to_string() }).to_string()
}
