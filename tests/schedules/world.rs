//! What the bodies work with: scripted participants, managers with and without a mechanism, and
//! places where real threads are brought together.

use crate::case::{Verdict, check};
use crate::scripted::{Scripted, ScriptedKind, World};
use planbox::job::JobFault;
use planbox::lock::{LockFault, LockTable};
use planbox::sync::Rank;
pub(crate) use planbox::sync::stage;
use planbox::{
    JobStore, LockWait, ManagerBuilder, PlanId, PlanState, RegistryFault, SandboxManager,
};
use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::path::Path;
use std::sync::Arc;

type Look = Box<dyn Fn() -> Verdict>;

thread_local! {
    /// What the present run has made, and how it is looked at in the end. Never dropped by the thread:
    /// what a run leaves that failed belongs to an explorer that is gone.
    static MADE: RefCell<Vec<ManuallyDrop<Look>>> = const { RefCell::new(Vec::new()) };
}

/// Looks at something when the body has ended, and was right so far.
fn in_the_end(look: impl Fn() -> Verdict + 'static) {
    MADE.with_borrow_mut(|made| made.push(ManuallyDrop::new(Box::new(look))));
}

/// Runs a body, and looks at what is left then in the tables of all that it made: managers, stores of
/// jobs and tables of locks are made by the functions below, and nowhere else.
pub(crate) fn to_the_end(body: fn() -> Verdict) -> Verdict {
    MADE.take();
    let verdict = body();
    let made = MADE.take();
    verdict?;
    for look in &made {
        look()?;
    }
    made.into_iter()
        .map(ManuallyDrop::into_inner)
        .for_each(drop);
    Ok(())
}

/// A mechanism that is taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Without {
    Nothing,
    PlanLock,
    Fence,
    Decision,
    /// The marker resource before the others.
    MarkerOrder,
    /// The question to a marker resource whose answer was lost.
    MarkerQuestion,
    /// The record that a plan is taken back.
    TakeBack,
    /// What is right in the table of plan locks.
    Table(LockFault),
    /// What is right in the registry of live plans.
    Registry(RegistryFault),
}

/// A manager waits without a limit unless told otherwise.
fn builder(world: &Arc<World>, without: Without) -> ManagerBuilder {
    let builder = SandboxManager::builder()
        .kind(Arc::new(ScriptedKind(Arc::clone(world))))
        .wait(LockWait::Block);
    match without {
        Without::Nothing => builder,
        _ => builder.without(|taken| {
            taken.plan_lock = without == Without::PlanLock;
            taken.fencing = matches!(without, Without::PlanLock | Without::Fence);
            taken.decision = without == Without::Decision;
            taken.marker_order = without == Without::MarkerOrder;
            taken.marker_question = without == Without::MarkerQuestion;
            taken.take_back_record = without == Without::TakeBack;
            match without {
                Without::Table(fault) => taken.lock_table = Some(fault),
                Without::Registry(fault) => taken.registry = Some(fault),
                _ => (),
            }
        }),
    }
}

/// A manager in memory.
pub(crate) fn manager(world: &Arc<World>, without: Without) -> SandboxManager {
    watched(builder(world, without).in_memory())
}

/// A manager over the journal of `other`, as if in another process that sees none of its locks.
pub(crate) fn beside(
    other: &SandboxManager,
    world: &Arc<World>,
    without: Without,
) -> SandboxManager {
    watched(builder(world, without).in_memory_beside(other))
}

/// The same in a process that sees the leases in `leases`, and waits for them so long.
pub(crate) fn leased(
    other: &SandboxManager,
    (leases, wait): (&Path, LockWait),
    world: &Arc<World>,
) -> SandboxManager {
    let builder = builder(world, Without::Nothing).wait(wait);
    watched(builder.in_memory_leased(other, leases))
}

/// Nothing is left in the tables of a manager when a body has ended, or the manager is gone.
fn watched(manager: SandboxManager) -> SandboxManager {
    let stats = manager.onlooker();
    in_the_end(move || {
        let Some(stats) = stats() else { return Ok(()) };
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
    });
    manager
}

/// A table of plan locks; nobody's lock is left in it when a body has ended.
pub(crate) fn table(rank: Rank, fault: Option<LockFault>) -> Arc<LockTable<u64>> {
    let table = fault.map_or_else(
        || LockTable::new(rank),
        |fault| LockTable::with_fault(rank, fault),
    );
    let table = Arc::new(table);
    let watched = Arc::clone(&table);
    in_the_end(move || check(watched.is_empty(), "left", || format!("{watched:?}")));
    table
}

/// A store of jobs; no lock is left in it when a body has ended.
pub(crate) fn jobs(fault: Option<JobFault>) -> JobStore {
    let jobs = fault.map_or_else(JobStore::in_memory, JobStore::with_fault);
    let watched = jobs.clone();
    in_the_end(move || {
        let locks = watched.locks();
        check(locks == 0, "left", || format!("{locks} locks of jobs"))
    });
    jobs
}

/// Managers that see none of each other's locks look at the plan `p` once more: what one of them ended,
/// the others still keep. If it is not over it is given up.
pub(crate) fn looked_again(managers: &[&SandboxManager]) {
    for manager in managers {
        drop(manager.recover_plan(&plan("p")));
        drop(manager.rollback_all(&plan("p")));
    }
}

pub(crate) fn plan(text: &str) -> PlanId {
    PlanId::new(text).unwrap()
}

/// A world, a manager over it, and `count` sandboxes in the plan `p`.
pub(crate) fn opened(count: usize, without: Without) -> (Arc<World>, SandboxManager) {
    let world = World::new();
    let manager = manager(&world, without);
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

/// The plan is committed or given up.
pub(crate) fn ended_plan(manager: &SandboxManager, name: &str) -> Verdict {
    manager.settle();
    let state = manager.status(&plan(name)).map(|status| status.state);
    let over = matches!(state, Ok(PlanState::Done | PlanState::Aborted));
    check(over, "half", || format!("it is {state:?}"))
}

/// How long real threads wait for what may never be.
#[cfg(not(shuttle))]
const MOMENT: std::time::Duration = std::time::Duration::from_millis(50);

/// Under an explorer the schedule decides when that is.
#[cfg(shuttle)]
pub(crate) fn until(_reached: impl Fn() -> bool) {}

/// Goes on once it is so, or after a moment all the same.
#[cfg(not(shuttle))]
pub(crate) fn until(reached: impl Fn() -> bool) {
    // Time, and not rounds: on a busy machine each of them may take as long as others please.
    let begun = std::time::Instant::now();
    while !reached() && begun.elapsed() < MOMENT {
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
