//! Which plans have live sandboxes in this process.
//!
//! One reader-writer lock (rank registry, never held across I/O) over plan id -> body. A body is
//! *moved* out by the one who holds the plan lock and moved back before the plan lock goes, so that
//! nothing can touch a plan's sandboxes without its lock, and no lock is held while they work.

use crate::id::PlanId;
use crate::plan::{Body, Locked, RegistryFault};
use crate::sync::{Mutex, Rank, RwLock, stage};
use std::collections::HashMap;

/// Plan id -> the live sandboxes of the plan.
#[derive(Debug)]
pub(super) struct Registry {
    /// The mutex is never locked: it only says that a body moves between threads but is never
    /// shared by two.
    plans: RwLock<HashMap<PlanId, Mutex<Body>>>,
    fault: Option<RegistryFault>,
}

impl Registry {
    pub(super) fn new(fault: Option<RegistryFault>) -> Self {
        Self {
            plans: RwLock::new(Rank::Registry, "registry", HashMap::new()),
            fault,
        }
    }

    /// Moves the body of a plan out. That the plan is locked is in the type.
    pub(super) fn check_out(&self, plan: &Locked) -> Option<Body> {
        self.plans
            .write()
            .remove(plan.plan())
            .map(Mutex::into_inner)
    }

    /// Brings what the manager keeps of a plan home, and then lets the plan go.
    pub(super) fn bring_home(&self, mut plan: Locked) {
        let id = plan.plan().clone();
        let over = self.fault == Some(RegistryFault::NoRemoval);
        let body = plan.check_out_body().or(over.then(Body::default));
        if self.fault == Some(RegistryFault::LateReturn) {
            plan.release();
            stage("registry.late");
            self.check_in(&id, body);
            return;
        }
        self.check_in(&id, body);
        plan.release();
    }

    /// Moves a body in. Its plan is still locked.
    fn check_in(&self, plan: &PlanId, body: Option<Body>) {
        let Some(body) = body else { return };
        let body = Mutex::new(Rank::Leaf, "body", body);
        let before = if self.fault == Some(RegistryFault::TwoSteps) {
            let mut all = std::mem::take(&mut *self.plans.write());
            stage("registry.between");
            let before = all.insert(plan.clone(), body);
            *self.plans.write() = all;
            before
        } else {
            self.plans.write().insert(plan.clone(), body)
        };
        assert!(
            before.is_none(),
            "two bodies of plan {plan}: it was worked on without its lock"
        );
    }

    /// True if a commit of `plan` in this process ended in doubt, and nobody took the plan since.
    pub(super) fn is_doubtful(&self, plan: &PlanId) -> bool {
        let mut plans = self.plans.write();
        plans
            .get_mut(plan)
            .is_some_and(|body| body.get_mut().doubtful)
    }

    /// The life of `plan` whose sandboxes are here, unless its last taking ended in doubt.
    pub(super) fn certain_life(&self, plan: &PlanId) -> Option<u64> {
        let mut plans = self.plans.write();
        let body = plans.get_mut(plan)?.get_mut();
        (!body.doubtful).then_some(body.generation)
    }

    /// Moves the body of that life of `plan` out, which is over: nobody needs the plan lock for it.
    pub(super) fn let_go(&self, plan: &PlanId, life: u64) -> Option<Body> {
        let mut plans = self.plans.write();
        if plans.get_mut(plan)?.get_mut().generation != life {
            return None;
        }
        plans.remove(plan).map(Mutex::into_inner)
    }

    /// The plans that have live sandboxes here.
    pub(super) fn plans(&self) -> Vec<PlanId> {
        self.plans.read().keys().cloned().collect()
    }

    /// How many plans have live sandboxes here.
    pub(super) fn len(&self) -> usize {
        self.plans.read().len()
    }
}
