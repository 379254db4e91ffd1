//! Many plans: the public face.

use crate::error::{
    CommitError, DiffError, LockError, OpenSandboxError, PlanFault, RollbackError, SealError,
    StatusError,
};
use crate::id::{PlanId, ResourceName};
use crate::job::JobStore;
use crate::lock::{KeyHandle, LockWait};
use crate::plan::{
    Acknowledge, Check, CommitOptions, Event, Locked, PlanDiff, Receipt, Services, Taking,
};
use crate::sandbox::Resource;
use crate::state::PlanState;
use crate::sync::channel::Receiver;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

mod doctor;
#[cfg(test)]
mod doubt_tests;
mod gc;
mod handle;
mod jobs;
mod options;
mod recover;
mod registry;
mod report;
mod settler;
#[cfg(feature = "sqlite")]
mod store;
#[cfg(test)]
#[cfg(not(any(shuttle, loom)))]
mod tests;

pub use doctor::{Finding, Severity};
pub use gc::{GcOptions, GcReport};
pub use handle::{Plan, PlanHold, SandboxHandle};
pub use options::{DEFAULT_LOCK_WAIT, ManagerBuilder, default_store};
pub use recover::{RecoveredPlan, RecoveryReport};
pub use report::{LogEntry, PlanStatus, SandboxStatus};

use registry::Registry;
use settler::Settler;

/// Manages many plans at once: opens their sandboxes, commits them, all or nothing, recovers them.
///
/// Cheap to clone; every clone is the same manager. Any number of threads may call it, and any
/// number of processes may have a manager over the same store.
///
/// # Locks
/// Every operation on a plan takes the plan lock: a keyed mutex of this process, then a lease among
/// processes. `commit_all` holds it from before the snapshot of the sandbox list until after the
/// outcome is recorded. Other plans never wait for it. See `docs/lock-order.md`.
#[derive(Debug, Clone)]
pub struct SandboxManager {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    services: Arc<Services>,
    registry: Registry,
    settler: Settler,
    jobs: JobStore,
    wait: LockWait,
    recovered: RecoveryReport,
    /// True if the places are in a temporary directory that goes with the manager.
    temporary: bool,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.services.journal.close();
        if self.temporary
            && let Err(error) = self.services.places.remove_all()
        {
            tracing::warn!(%error, "the temporary places stay");
        }
    }
}

/// How much a manager keeps in this process; all zero when the last plan has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Plan locks in the lock table.
    pub plan_locks: usize,
    /// Resource locks in the lock table.
    pub resource_locks: usize,
    /// Plans with live sandboxes.
    pub live_plans: usize,
    /// Plans that wait to be settled in the background.
    pub unsettled: usize,
    /// Job locks in the lock table of [`SandboxManager::jobs`].
    pub job_locks: usize,
}

impl SandboxManager {
    /// A manager whose journal lives in memory and goes with it: for tests and for values.
    ///
    /// Sandboxes that need files get them in a private temporary directory. Nothing survives the
    /// process; within it, every other guarantee holds.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::builder().in_memory()
    }

    /// A manager with options.
    pub fn builder() -> ManagerBuilder {
        ManagerBuilder::default()
    }

    fn services(&self) -> &Arc<Services> {
        &self.inner.services
    }

    /// How long operations without a wait of their own wait for a lock.
    #[must_use]
    pub fn wait(&self) -> LockWait {
        self.inner.wait
    }

    /// What was recovered when the store was opened.
    #[must_use]
    pub fn recovered(&self) -> &RecoveryReport {
        &self.inner.recovered
    }

    /// One plan, with a handle that needs no look-up. The plan need not exist yet.
    #[must_use]
    pub fn plan(&self, id: &PlanId) -> Plan {
        Plan {
            manager: self.clone(),
            slot: self.services().plans.handle(id),
        }
    }

    /// Events of every plan, from now on. A subscriber that lags more than
    /// [`EVENT_BACKLOG`](crate::EVENT_BACKLOG) events behind loses the newest.
    #[must_use]
    pub fn subscribe(&self) -> Receiver<Event> {
        self.services().events.subscribe()
    }

    /// Opens a sandbox over `resource` in `plan`, making the plan if it is new.
    ///
    /// If the plan already has a sandbox over the same real thing, that one is returned. Takes the
    /// plan lock.
    ///
    /// # Errors
    /// [`OpenSandboxError`]: the plan takes no newcomers (it is sealed, committed, given up or in
    /// doubt), the name is taken, the thing overlaps another one of the plan, or the participant
    /// refused or failed. Nothing real was changed.
    pub fn open_sandbox<R: Resource>(
        &self,
        plan: &PlanId,
        resource: R,
    ) -> Result<SandboxHandle<R>, OpenSandboxError> {
        self.open_in(&self.services().plans.handle(plan), resource)
    }

    /// What the plan changed until now.
    ///
    /// Does not wait: while somebody else holds the plan, the sandboxes are looked at as they are,
    /// and values of other processes are listed as unseen.
    ///
    /// # Errors
    /// [`DiffError`]: no such plan, or a participant refused what it found (a pipe, say).
    pub fn diff(&self, plan: &PlanId) -> Result<PlanDiff, DiffError> {
        self.diff_in(&self.services().plans.handle(plan))
    }

    /// Freezes what the plan produced: nothing that the plan does from here on can change what is
    /// committed, and no sandbox can be added. A kill does not undo it; what is sealed reaches the
    /// disk for certain with the commit. Takes the plan lock.
    ///
    /// # Errors
    /// [`SealError`]; the plan is as open as before.
    pub fn seal(&self, plan: &PlanId) -> Result<PlanDiff, SealError> {
        self.seal_in(&self.services().plans.handle(plan))
    }

    /// Makes all changes of the plan real, or none.
    ///
    /// Of any number of concurrent callers, in any number of processes, exactly one commits; the
    /// others wait and get the same receipt, with [`Receipt::is_repeat`] set. Takes the plan lock,
    /// and the lock of every resource of the plan in the order of their keys.
    ///
    /// # Errors
    /// [`CommitError`]. Every variant but `InDoubt` and `Hazard` means that everything real is as
    /// it was and that the sandboxes are kept.
    pub fn commit_all(&self, plan: &PlanId) -> Result<Receipt, CommitError> {
        self.commit_all_with(plan, &CommitOptions::default().wait(self.inner.wait))
    }

    /// As [`SandboxManager::commit_all`], but does not wait for any lock.
    ///
    /// # Errors
    /// As there; [`LockError::Busy`] names the holder.
    pub fn try_commit_all(&self, plan: &PlanId) -> Result<Receipt, CommitError> {
        self.commit_all_with(plan, &CommitOptions::default().wait(LockWait::Try))
    }

    /// As [`SandboxManager::commit_all`], with `options`.
    ///
    /// # Errors
    /// As there.
    pub fn commit_all_with(
        &self,
        plan: &PlanId,
        options: &CommitOptions,
    ) -> Result<Receipt, CommitError> {
        self.commit_in(&self.services().plans.handle(plan), options)
    }

    /// What a commit would do now: every check is made, nothing real is written.
    ///
    /// # Errors
    /// As [`SandboxManager::commit_all`]; conflicts are in the answer, not an error.
    pub fn check(&self, plan: &PlanId) -> Result<Check, CommitError> {
        let mut hold = self.take(plan, "check", false)?;
        hold.check(self.inner.wait)
    }

    /// Gives the plan up and removes its sandboxes. Returns their names; none if it was given up
    /// before. Takes the plan lock.
    ///
    /// # Errors
    /// [`RollbackError`]: no such plan, it is committed, or something could not be removed (then it
    /// can be tried again). Nothing real was changed.
    pub fn rollback_all(&self, plan: &PlanId) -> Result<Vec<ResourceName>, RollbackError> {
        self.rollback_in(&self.services().plans.handle(plan))
    }

    /// Takes the plan lock and keeps it until the hold is dropped; makes the plan if it is new.
    ///
    /// # Errors
    /// [`PlanFault::Lock`] if it is not to be had in time, or a failing journal.
    pub fn hold(&self, plan: &PlanId, operation: &'static str) -> Result<PlanHold, PlanFault> {
        self.take(plan, operation, true)
    }

    /// As [`SandboxManager::hold`], for a plan that must exist.
    ///
    /// # Errors
    /// As there, and [`PlanFault::Unknown`].
    pub fn hold_existing(
        &self,
        plan: &PlanId,
        operation: &'static str,
    ) -> Result<PlanHold, PlanFault> {
        self.take(plan, operation, false)
    }

    /// Waits until everything that was acknowledged as applied is settled and swept.
    pub fn settle(&self) {
        self.inner.settler.wait_until_idle();
    }

    /// How much the manager keeps in this process.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            plan_locks: self.services().plans.len(),
            resource_locks: self.services().resources.len(),
            live_plans: self.inner.registry.len(),
            unsettled: self.inner.settler.len(),
            job_locks: self.inner.jobs.locks(),
        }
    }

    /// Answers as [`SandboxManager::stats`] when all is settled, for as long as the manager lives, and
    /// does not keep it alive: for tests that look at what is left.
    #[doc(hidden)]
    #[cfg(debug_assertions)]
    pub fn onlooker(&self) -> impl Fn() -> Option<Stats> + Send + 'static {
        let inner = Arc::downgrade(&self.inner);
        move || {
            let manager = Self {
                inner: inner.upgrade()?,
            };
            manager.settle();
            Some(manager.stats())
        }
    }

    fn take(
        &self,
        plan: &PlanId,
        operation: &'static str,
        create: bool,
    ) -> Result<PlanHold, PlanFault> {
        PlanHold::take(
            self,
            plan,
            Taking {
                wait: self.inner.wait,
                operation,
                create,
            },
        )
    }

    fn checkout(&self, slot: &KeyHandle<PlanId>, taking: Taking) -> Result<Checkout, PlanFault> {
        let mut locked = match Locked::take(self.services(), slot, taking) {
            Err(unknown @ PlanFault::Unknown { .. }) => {
                self.let_go_of_ended(slot.key());
                return Err(unknown);
            }
            taken => taken?,
        };
        if let Some(body) = self.inner.registry.check_out(&locked) {
            locked.check_in_body(body);
        }
        Ok(Checkout {
            manager: self.clone(),
            locked: Some(locked),
        })
    }

    /// Lets go of what is kept here of `plan`, if somebody else has ended it.
    fn let_go_of_ended(&self, plan: &PlanId) {
        let registry = &self.inner.registry;
        let Some(life) = registry.certain_life(plan) else {
            return;
        };
        // Asked after the look at the registry: no life comes back, so what is over now stays so.
        let Ok(now) = self.services().journal.plan(plan) else {
            return;
        };
        let over = now.is_none_or(|now| {
            now.generation > life || (now.generation == life && now.state.is_terminal())
        });
        if over {
            drop(registry.let_go(plan, life));
        }
    }

    fn existing(
        &self,
        slot: &KeyHandle<PlanId>,
        operation: &'static str,
    ) -> Result<Checkout, PlanFault> {
        self.checkout(
            slot,
            Taking {
                wait: self.inner.wait,
                operation,
                create: false,
            },
        )
    }

    fn open_in<R: Resource>(
        &self,
        slot: &KeyHandle<PlanId>,
        resource: R,
    ) -> Result<SandboxHandle<R>, OpenSandboxError> {
        let taking = Taking {
            wait: self.inner.wait,
            operation: "open",
            create: true,
        };
        let mut checkout = self.checkout(slot, taking)?;
        let opened = checkout.locked_mut().open_sandbox(&resource)?;
        Ok(SandboxHandle {
            plan: slot.key().clone(),
            resource,
            opened,
        })
    }

    fn seal_in(&self, slot: &KeyHandle<PlanId>) -> Result<PlanDiff, SealError> {
        self.existing(slot, "seal")?.locked_mut().seal()
    }

    fn diff_in(&self, slot: &KeyHandle<PlanId>) -> Result<PlanDiff, DiffError> {
        let taking = Taking {
            wait: LockWait::Try,
            operation: "diff",
            create: false,
        };
        match self.checkout(slot, taking) {
            Ok(mut checkout) => checkout.locked_mut().diff(),
            Err(PlanFault::Lock {
                source: LockError::Busy { .. } | LockError::TimedOut { .. },
                ..
            }) => crate::plan::diff_unlocked(self.services(), slot.key()),
            Err(fault) => Err(fault.into()),
        }
    }

    fn commit_in(
        &self,
        slot: &KeyHandle<PlanId>,
        options: &CommitOptions,
    ) -> Result<Receipt, CommitError> {
        if let Some(receipt) = self.committed_before(slot.key())? {
            return Ok(receipt);
        }
        let taking = Taking {
            wait: options.wait,
            operation: "commit",
            create: false,
        };
        let mut checkout = self.checkout(slot, taking)?;
        let receipt = checkout.locked_mut().commit(options.wait)?;
        if options.acknowledge == Acknowledge::Settled {
            return Ok(receipt.settled(checkout.settle_now()));
        }
        if checkout.locked().state() == PlanState::Applied {
            drop(checkout);
            self.inner.settler.push(self, slot);
        }
        Ok(receipt)
    }

    /// The receipt of a plan that is committed and settled: nobody needs to wait for that.
    fn committed_before(&self, plan: &PlanId) -> Result<Option<Receipt>, PlanFault> {
        let journal = |source| PlanFault::Journal {
            plan: plan.clone(),
            source,
        };
        let record = self.services().journal.plan(plan).map_err(journal)?;
        if record.is_none_or(|record| record.state != PlanState::Done) {
            return Ok(None);
        }
        self.let_go_of_ended(plan);
        match self.receipt(plan) {
            Ok(receipt) => Ok(receipt),
            Err(StatusError::Plan(fault)) => Err(fault),
            Err(StatusError::Journal(source)) => Err(journal(source)),
            Err(StatusError::File { .. }) => Ok(None),
        }
    }

    fn rollback_in(&self, slot: &KeyHandle<PlanId>) -> Result<Vec<ResourceName>, RollbackError> {
        self.existing(slot, "rollback")?.locked_mut().rollback()
    }
}

/// A plan that is locked, with its body out of the registry. Dropping it brings the body home and
/// then lets the lock go, in that order, also when a panic unwinds.
#[derive(Debug)]
pub(crate) struct Checkout {
    manager: SandboxManager,
    locked: Option<Locked>,
}

impl Checkout {
    fn locked(&self) -> &Locked {
        self.locked
            .as_ref()
            .unwrap_or_else(|| unreachable!("only drop takes it"))
    }

    fn locked_mut(&mut self) -> &mut Locked {
        self.locked
            .as_mut()
            .unwrap_or_else(|| unreachable!("only drop takes it"))
    }

    /// Settles the plan while it is locked; says whether it is. A failure leaves that to the next
    /// recovery: the plan is committed all the same, and to call it failed would be a lie.
    fn settle_now(&mut self) -> bool {
        let settled = self.locked_mut().settle();
        if let Err(error) = &settled {
            let plan = self.locked().plan();
            tracing::warn!(plan.id = %plan, %error, "committed; settling is left to recover");
        }
        settled.is_ok()
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        if let Some(locked) = self.locked.take() {
            self.manager.inner.registry.bring_home(locked);
        }
    }
}

/// A flag that asks every interruptible step of a manager to stop.
pub(crate) type CancelFlag = Arc<AtomicBool>;
