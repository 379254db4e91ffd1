//! What a caller holds: a plan, a sandbox, a plan kept locked.

use super::{Checkout, SandboxManager};
use crate::error::{
    CommitError, DiffError, OpenSandboxError, ParticipantError, PlanFault, RollbackError,
    SealError, StatusError,
};
use crate::id::{PlanId, ResourceName};
use crate::lock::{KeyHandle, LockWait};
use crate::plan::{Acknowledge, Check, CommitOptions, Opened, PlanDiff, Receipt};
use crate::register::{Snapshot, Stored};
use crate::sandbox::{Resource, Value};
use std::fmt;
use std::path::Path;

use super::PlanStatus;

/// A sandbox of a plan: where to work.
///
/// A handle is plain data. It is not tied to a lifetime, keeps nothing locked, and dropping it
/// removes nothing: the plan's work stays until a commit, a rollback or a `gc`.
pub struct SandboxHandle<R> {
    pub(super) plan: PlanId,
    pub(super) resource: R,
    pub(super) opened: Opened,
}

impl<R> fmt::Debug for SandboxHandle<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SandboxHandle")
            .field("plan", &self.plan)
            .field("opened", &self.opened)
            .finish_non_exhaustive()
    }
}

impl<R> SandboxHandle<R> {
    /// The plan it belongs to.
    #[must_use]
    pub fn plan(&self) -> &PlanId {
        &self.plan
    }

    /// Its name in the plan.
    #[must_use]
    pub fn name(&self) -> &ResourceName {
        &self.opened.name
    }

    /// How the view was made: `copy`, `reflink`, `memory`.
    #[must_use]
    pub fn view(&self) -> &'static str {
        self.opened.view
    }

    /// The life of the plan it belongs to: a plan id that is used again has another one.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.opened.generation
    }

    /// The resource as it was given.
    #[must_use]
    pub fn resource(&self) -> &R {
        &self.resource
    }

    /// Text unique to this sandbox; what a resource uses to find its pending state again.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.opened.token
    }
}

impl SandboxHandle<crate::sandbox::Directory> {
    /// Where the plan works: a real path that any process may use.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.opened.path.as_deref().unwrap_or_else(|| Path::new(""))
    }
}

impl SandboxHandle<crate::sandbox::Git> {
    /// Where the plan works: a work tree of its own, with the files of the branch.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.opened.path.as_deref().unwrap_or_else(|| Path::new(""))
    }
}

#[cfg(feature = "sqlite")]
impl SandboxHandle<crate::sandbox::Sqlite> {
    /// The private copy: a real database file that any tool may open.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.opened.path.as_deref().unwrap_or_else(|| Path::new(""))
    }
}

impl<T: Send + Sync + 'static> SandboxHandle<Value<T>> {
    /// Says what the register should hold when the plan is committed.
    ///
    /// # Errors
    /// A [`ParticipantError`] if the plan is sealed or over.
    pub fn set(&self, version: impl Into<String>, value: T) -> Result<(), ParticipantError> {
        self.resource.set(self.token(), version, value)
    }

    /// As `set`, for a register that follows a row of a database: `row` is what the same plan makes
    /// of that row, `value` the value of the version that it names.
    ///
    /// # Errors
    /// A [`ParticipantError`] if the plan is sealed or over, or if version and value are not both
    /// there or both absent.
    pub fn set_stored(&self, row: &Stored, value: Option<T>) -> Result<(), ParticipantError> {
        self.resource.set_stored(self.token(), row, value)
    }

    /// Says that the register should be unloaded when the plan is committed.
    ///
    /// # Errors
    /// As `set`.
    pub fn unload(&self) -> Result<(), ParticipantError> {
        self.resource.unload(self.token())
    }

    /// What the register would hold if the plan were committed now.
    ///
    /// # Errors
    /// A [`ParticipantError`] if the plan is over.
    pub fn get(&self) -> Result<Snapshot<T>, ParticipantError> {
        self.resource.get(self.token())
    }
}

impl SandboxHandle<Box<dyn Resource>> {
    /// Where the plan works, if the view has a path.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.opened.path.as_deref()
    }
}

/// One plan of a manager: the same operations without a look-up by id.
///
/// Cheap to clone. It keeps the plan's slot in the lock table, so that taking the lock through it
/// costs about as much as a bare mutex.
#[derive(Debug, Clone)]
pub struct Plan {
    pub(super) manager: SandboxManager,
    pub(super) slot: KeyHandle<PlanId>,
}

impl Plan {
    /// The id.
    #[must_use]
    pub fn id(&self) -> &PlanId {
        self.slot.key()
    }

    /// As [`SandboxManager::open_sandbox`].
    ///
    /// # Errors
    /// As there.
    pub fn open_sandbox<R: Resource>(
        &self,
        resource: R,
    ) -> Result<SandboxHandle<R>, OpenSandboxError> {
        self.manager.open_in(&self.slot, resource)
    }

    /// As [`SandboxManager::status`].
    ///
    /// # Errors
    /// As there.
    pub fn status(&self) -> Result<PlanStatus, StatusError> {
        self.manager.status(self.id())
    }

    /// As [`SandboxManager::diff`].
    ///
    /// # Errors
    /// As there.
    pub fn diff(&self) -> Result<PlanDiff, DiffError> {
        self.manager.diff_in(&self.slot)
    }

    /// As [`SandboxManager::seal`].
    ///
    /// # Errors
    /// As there.
    pub fn seal(&self) -> Result<PlanDiff, SealError> {
        self.manager.seal_in(&self.slot)
    }

    /// As [`SandboxManager::commit_all`].
    ///
    /// # Errors
    /// As there.
    pub fn commit_all(&self) -> Result<Receipt, CommitError> {
        self.commit_all_with(&CommitOptions::default().wait(self.manager.wait()))
    }

    /// As [`SandboxManager::commit_all_with`].
    ///
    /// # Errors
    /// As there.
    pub fn commit_all_with(&self, options: &CommitOptions) -> Result<Receipt, CommitError> {
        self.manager.commit_in(&self.slot, options)
    }

    /// As [`SandboxManager::rollback_all`].
    ///
    /// # Errors
    /// As there.
    pub fn rollback_all(&self) -> Result<Vec<ResourceName>, RollbackError> {
        self.manager.rollback_in(&self.slot)
    }
}

/// A plan kept locked: for an executor that runs a command in the sandboxes and then decides.
///
/// Until it is dropped, a commit from anywhere else waits or is `Busy`; status and log do not.
/// Dropping it lets the plan go, with everything in it kept.
#[derive(Debug)]
#[must_use = "the plan is let go at once if the hold is dropped"]
pub struct PlanHold {
    pub(super) checkout: Checkout,
}

impl PlanHold {
    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &PlanId {
        self.checkout.locked().plan()
    }

    /// Opens a sandbox in the plan.
    ///
    /// # Errors
    /// As [`SandboxManager::open_sandbox`].
    pub fn open_sandbox<R: Resource>(
        &mut self,
        resource: R,
    ) -> Result<SandboxHandle<R>, OpenSandboxError> {
        let plan = self.plan().clone();
        let opened = self.checkout.locked_mut().open_sandbox(&resource)?;
        Ok(SandboxHandle {
            plan,
            resource,
            opened,
        })
    }

    /// What the plan changed until now.
    ///
    /// # Errors
    /// As [`SandboxManager::diff`].
    pub fn diff(&mut self) -> Result<PlanDiff, DiffError> {
        self.checkout.locked_mut().diff()
    }

    /// What a commit would do now.
    ///
    /// # Errors
    /// As [`SandboxManager::check`].
    pub fn check(&mut self, wait: LockWait) -> Result<Check, CommitError> {
        self.checkout.locked_mut().check(wait)
    }

    /// Commits the plan; `options.wait` is for the resource locks.
    ///
    /// # Errors
    /// As [`SandboxManager::commit_all_with`].
    pub fn commit_all(&mut self, options: &CommitOptions) -> Result<Receipt, CommitError> {
        let receipt = self.checkout.locked_mut().commit(options.wait)?;
        if options.acknowledge == Acknowledge::Settled {
            return Ok(receipt.settled(self.checkout.settle_now()));
        }
        Ok(receipt)
    }

    /// Gives the plan up.
    ///
    /// # Errors
    /// As [`SandboxManager::rollback_all`].
    pub fn rollback_all(&mut self) -> Result<Vec<ResourceName>, RollbackError> {
        self.checkout.locked_mut().rollback()
    }

    /// A refusal because the plan is gone or held.
    ///
    /// # Errors
    /// [`PlanFault`] as in every operation.
    pub(super) fn take(
        manager: &SandboxManager,
        plan: &PlanId,
        taking: crate::plan::Taking,
    ) -> Result<Self, PlanFault> {
        let slot = manager.services().plans.handle(plan);
        manager
            .checkout(&slot, taking)
            .map(|checkout| Self { checkout })
    }
}
