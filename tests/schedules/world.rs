//! What the bodies work with: scripted participants, managers with and without a mechanism, and
//! places where real threads are brought together.

use crate::case::{Verdict, check};
use crate::scripted::{Scripted, ScriptedKind, World};
use planbox::lock::LockFault;
pub(crate) use planbox::sync::stage;
use planbox::{LockWait, ManagerBuilder, PlanId, PlanState, SandboxManager};
use std::sync::Arc;

/// A mechanism that is taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Without {
    Nothing,
    PlanLock,
    Fence,
    Decision,
    /// What is right in the table of plan locks.
    Table(LockFault),
}

/// A manager in memory that waits without a limit unless told otherwise.
pub(crate) fn builder(world: &Arc<World>, without: Without) -> ManagerBuilder {
    let builder = SandboxManager::builder()
        .kind(Arc::new(ScriptedKind(Arc::clone(world))))
        .wait(LockWait::Block);
    match without {
        Without::Nothing => builder,
        _ => builder.without(|taken| {
            taken.plan_lock = without == Without::PlanLock;
            taken.fencing = matches!(without, Without::PlanLock | Without::Fence);
            taken.decision = without == Without::Decision;
            if let Without::Table(fault) = without {
                taken.lock_table = Some(fault);
            }
        }),
    }
}

pub(crate) fn plan(text: &str) -> PlanId {
    PlanId::new(text).unwrap()
}

/// A world, a manager over it, and `count` sandboxes in the plan `p`.
pub(crate) fn opened(count: usize, without: Without) -> (Arc<World>, SandboxManager) {
    let world = World::new();
    let manager = builder(&world, without).in_memory();
    open(&manager, &world, "p", count);
    world.hook(|step, _| {
        pass(step);
        Ok(())
    });
    stage("opened");
    (world, manager)
}

/// Opens `count` sandboxes called `NAME-0`, `NAME-1` and so on in the plan `name`.
pub(crate) fn open(manager: &SandboxManager, world: &Arc<World>, name: &str, count: usize) {
    for index in 0..count {
        let resource = Scripted::new(world, &format!("{name}-{index}"));
        manager.open_sandbox(&plan(name), resource).unwrap();
    }
}

/// What every participant does at each step: others may come in, and at its vote real threads that
/// have no business there together are given the time to meet.
pub(crate) fn pass(step: &str) {
    stage(step);
    if step == "prepare" {
        meet();
    }
}

/// Nothing is left in the tables of a manager whose plans are over.
pub(crate) fn nothing_left(manager: &SandboxManager) -> Verdict {
    manager.settle();
    let stats = manager.stats();
    let sizes = [
        stats.plan_locks,
        stats.resource_locks,
        stats.live_plans,
        stats.unsettled,
        stats.job_locks,
    ];
    check(sizes == [0; 5], "left", || {
        format!("left behind: {stats:?}")
    })
}

/// The plan is committed or given up.
pub(crate) fn ended_plan(manager: &SandboxManager, name: &str) -> Verdict {
    manager.settle();
    let state = manager.status(&plan(name)).map(|status| status.state);
    let over = matches!(state, Ok(PlanState::Done | PlanState::Aborted));
    check(over, "half", || format!("it is {state:?}"))
}

/// Under an explorer the schedule decides when that is.
#[cfg(shuttle)]
pub(crate) fn until(_reached: impl Fn() -> bool) {}

/// Goes on once it is so, or after a moment all the same.
#[cfg(not(shuttle))]
pub(crate) fn until(reached: impl Fn() -> bool) {
    let rounds = 0..10_000;
    for _ in rounds.take_while(|_| !reached()) {
        std::thread::yield_now();
    }
}

/// Under an explorer the schedule decides who meets whom.
#[cfg(shuttle)]
pub(crate) fn meet() {}

/// Waits until somebody else comes here too, for a moment: who is alone goes on alone.
#[cfg(not(shuttle))]
pub(crate) fn meet() {
    use std::sync::{Condvar, Mutex};
    use std::time::Duration;
    /// How many pairs have met, and whether somebody waits for a partner.
    static MEETING: (Mutex<(u64, bool)>, Condvar) = (Mutex::new((0, false)), Condvar::new());
    let (meeting, met) = &MEETING;
    let mut now = meeting.lock().unwrap();
    if now.1 {
        *now = (now.0 + 1, false);
        met.notify_all();
        return;
    }
    now.1 = true;
    let before = now.0;
    let wait = Duration::from_millis(20);
    let mut now = met
        .wait_timeout_while(now, wait, |now| now.0 == before)
        .unwrap();
    if now.1.timed_out() {
        now.0.1 = false;
    }
}
