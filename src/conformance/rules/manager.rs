//! Rule 16: the participant in a plan.

use crate::conformance::partner::{FailsAt, Partner};
use crate::conformance::rig::{Rig, twin_at};
use crate::conformance::stop::{Step, Stop, ensure, failed, managed, same, tried};
use crate::conformance::{Make, Spot, View};
use crate::error::CommitError;
use crate::id::PlanId;
use crate::manager::{ManagerBuilder, SandboxHandle, SandboxManager};
use crate::sandbox::Resource;

/// A plan over the real thing of a rig.
struct Plan {
    rig: Rig,
    manager: SandboxManager,
    id: PlanId,
    handle: SandboxHandle<Box<dyn Resource>>,
}

/// A manager that knows the kind of the subject.
fn builder(rig: &Rig) -> ManagerBuilder {
    let builder = SandboxManager::builder();
    match rig.subject.kind() {
        Some(kind) => builder.kind(kind),
        None => builder,
    }
}

impl Plan {
    fn open(make: &Make<'_>) -> Step<Self> {
        let rig = Rig::new(make)?;
        let manager = builder(&rig).in_memory();
        Self::open_in(rig, manager)
    }

    fn open_in(rig: Rig, manager: SandboxManager) -> Step<Self> {
        let id = PlanId::new("conformance").map_err(|error| Stop::Failed(error.to_string()))?;
        let resource = rig.subject.resource();
        let handle = managed("open", manager.open_sandbox(&id, resource))?;
        Ok(Self {
            rig,
            manager,
            id,
            handle,
        })
    }

    fn change(&self, spot: Spot, version: u32) -> Step {
        let view = View {
            path: self.handle.path(),
            token: self.handle.token(),
        };
        let changed = self.rig.subject.change(view, spot, version);
        tried("change the view", changed)
    }

    fn change_all(&self) -> Step {
        let spots = self.rig.spots();
        spots.into_iter().try_for_each(|spot| self.change(spot, 1))
    }

    /// The plan is at its end: nothing is left of it.
    fn ended(&self) -> Step {
        self.manager.settle();
        self.rig.nothing_left()
    }
}

pub(super) fn all_or_none(make: &Make<'_>) -> Step {
    let probe = Rig::new(make)?;
    let new = twin_at(make, &probe.spots(), 1)?;
    let is_marker = probe.open()?.sandbox.marker().is_some();
    drop(probe);
    alone(make, &new)?;
    rolled_back(make)?;
    for step in [FailsAt::Seal, FailsAt::Prepare, FailsAt::Apply] {
        // After a marker's commit there is no way back, so no partner may fail there.
        if !(is_marker && step == FailsAt::Apply) {
            beside_a_failing_partner(make, step, &new)?;
        }
    }
    #[cfg(feature = "sqlite")]
    fenced(make, &new)?;
    Ok(())
}

/// Committed, and committed once more.
fn alone(make: &Make<'_>, new: &str) -> Step {
    let plan = Plan::open(make)?;
    plan.change_all()?;
    let check = managed("check", plan.manager.check(&plan.id))?;
    ensure(check.conflicts.is_empty(), || {
        format!("a check found {:?}", check.conflicts)
    })?;
    plan.rig.is_old("after a check")?;
    let first = managed("commit", plan.manager.commit_all(&plan.id))?;
    plan.rig.is("after a commit", new)?;
    let second = managed("a second commit", plan.manager.commit_all(&plan.id))?;
    ensure(!first.is_repeat() && second.is_repeat(), || {
        "the second commit does not call itself a repeat".to_owned()
    })?;
    same(
        "the receipt of a second commit",
        &format!("{:?}", second.body()),
        &format!("{:?}", first.body()),
    )?;
    let counted = first.resources().iter().all(|part| part.applied);
    ensure(counted, || "the receipt counts nothing".to_owned())?;
    plan.ended()?;
    plan.rig.is("after everything is settled", new)
}

fn rolled_back(make: &Make<'_>) -> Step {
    let plan = Plan::open(make)?;
    plan.change_all()?;
    drop(managed("rollback", plan.manager.rollback_all(&plan.id))?);
    plan.rig.is_old("after a rollback")?;
    plan.ended()
}

/// The partner fails; afterwards it does not.
fn beside_a_failing_partner(make: &Make<'_>, step: FailsAt, new: &str) -> Step {
    let plan = Plan::open(make)?;
    let partner = Partner::new();
    let opened = plan.manager.open_sandbox(&plan.id, partner.clone());
    drop(managed("open of the partner", opened)?);
    plan.change_all()?;
    partner.fail_at(step);
    for _ in 0..2 {
        match (plan.manager.commit_all(&plan.id), step) {
            (Err(CommitError::Refused { .. }), FailsAt::Seal | FailsAt::Prepare)
            | (Err(CommitError::TakenBack { .. }), FailsAt::Apply) => (),
            (Err(error), _) => {
                return failed(format!(
                    "beside a partner that fails at {step:?}: {error:?}"
                ));
            }
            (Ok(_), _) => return failed(format!("committed without its partner ({step:?})")),
        }
        let when = format!("after its partner failed at {step:?}");
        plan.rig.is_old(&when)?;
    }
    partner.fail_at(FailsAt::Nowhere);
    let receipt = managed("commit", plan.manager.commit_all(&plan.id))?;
    ensure(!receipt.is_repeat(), || {
        "a plan that was not committed says that it was".to_owned()
    })?;
    plan.rig.is("once its partner is well", new)?;
    plan.ended()
}

/// Two managers over one store. The older executor is paused with the plan in its hands; its lock
/// files vanish and another one takes the plan over.
#[cfg(feature = "sqlite")]
fn fenced(make: &Make<'_>, new: &str) -> Step {
    use crate::error::Explain as _;
    let rig = Rig::new(make)?;
    let store = rig.scratch.path("store");
    let open = |rig: &Rig| managed("open a store", builder(rig).store(&store).open());
    let (older, newer) = (open(&rig)?, open(&rig)?);
    let plan = Plan::open_in(rig, older)?;
    plan.change_all()?;
    let mut hold = managed("hold", plan.manager.hold_existing(&plan.id, "commit"))?;
    tried("remove the lock files", remove_files(&store.join("locks")))?;
    let taken = crate::sync::thread::scope(|scope| {
        let take = || newer.hold_existing(&plan.id, "take over").map(drop);
        scope.spawn(take).join()
    });
    match taken {
        Ok(taken) => managed("take over", taken)?,
        Err(_) => return failed("taking over panicked"),
    }
    match hold.commit_all(&crate::plan::CommitOptions::default()) {
        Err(error) if error.code() == "fenced" => (),
        other => return failed(format!("a superseded executor was told {other:?}")),
    }
    plan.rig
        .is_old("after a superseded executor tried to commit")?;
    drop(hold);
    if plan.rig.subject.kind().is_some() {
        let receipt = newer.commit_all(&plan.id);
        drop(managed("commit by the newer executor", receipt)?);
        plan.rig.is("after the newer executor's commit", new)?;
        newer.settle();
        plan.rig.nothing_left()?;
    }
    Ok(())
}

#[cfg(feature = "sqlite")]
fn remove_files(dir: &std::path::Path) -> crate::conformance::Tried<()> {
    for entry in std::fs::read_dir(dir)? {
        std::fs::remove_file(entry?.path())?;
    }
    Ok(())
}
