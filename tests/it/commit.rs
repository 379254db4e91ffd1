//! `commit_all` under concurrency: the reported race, exactly once, and what a commit leaves.

use crate::support::plan;
use crate::support::scripted::{Scripted, ScriptedKind, World};
use planbox::{
    CommitOptions, CommitOutcome, Explain as _, Fault, LockWait, ParticipantError, PlanState,
    SandboxManager,
};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Barrier, Mutex};
use std::thread::ScopedJoinHandle;
use std::time::Duration;

fn manager(world: &Arc<World>) -> SandboxManager {
    SandboxManager::builder()
        .kind(Arc::new(ScriptedKind(Arc::clone(world))))
        .in_memory()
}

fn open_many(manager: &SandboxManager, world: &Arc<World>, name: &str, count: usize) {
    for index in 0..count {
        let resource = Scripted::new(world, &format!("{name}-{index}"));
        manager.open_sandbox(&plan(name), resource).unwrap();
    }
}

/// How one round of the race ended.
#[derive(Debug, PartialEq, Eq)]
struct Round {
    /// How often a sandbox was applied.
    applied: usize,
    /// How many callers got a receipt that is not a repeat.
    firsts: usize,
    /// How many callers got an error.
    errors: usize,
    /// How many callers were stopped by an assertion of the manager.
    panics: usize,
}

/// The reported race, drawn:
///
/// ```text
/// first    snapshot --- prepare: "inside" ------------ waits for "others" ---- apply
/// others                 start when "inside" ----- commit_all ...
///                        with the lock:    they wait; "others" never comes, the first goes on
///                        without the lock: they come to prepare: "others", and all of them apply
/// ```
fn race(threads: usize, sandboxes: usize, without_lock: bool) -> Round {
    let world = World::new();
    let builder = SandboxManager::builder().kind(Arc::new(ScriptedKind(Arc::clone(&world))));
    let builder = if without_lock {
        builder.without(|without| {
            without.plan_lock = true;
            without.fencing = true;
        })
    } else {
        builder
    };
    let manager = builder.in_memory();
    open_many(&manager, &world, "race", sandboxes);
    let (say_others, hear_others) = mpsc::channel();
    let (say_inside, hear_inside) = mpsc::channel();
    let hear_others = Mutex::new(hear_others);
    let arrivals = AtomicUsize::new(0);
    world.hook(move |step, id| {
        if step == "prepare" && id == "race-0" {
            if arrivals.fetch_add(1, Ordering::SeqCst) == 0 {
                say_inside.send(()).unwrap();
                let heard = hear_others
                    .lock()
                    .unwrap()
                    .recv_timeout(Duration::from_millis(200));
                assert_ne!(heard, Err(RecvTimeoutError::Disconnected));
            } else {
                say_others.send(()).unwrap();
            }
        }
        Ok(())
    });
    let results = std::thread::scope(|scope| {
        let first = scope.spawn(|| manager.commit_all(&plan("race")));
        hear_inside.recv().unwrap();
        let others: Vec<_> = (1..threads)
            .map(|_| scope.spawn(|| manager.commit_all(&plan("race"))))
            .collect();
        let mut results = vec![first.join()];
        results.extend(others.into_iter().map(ScopedJoinHandle::join));
        results
    });
    let panics = results.iter().filter(|result| result.is_err()).count();
    let results: Vec<_> = results.into_iter().flatten().collect();
    Round {
        applied: world.count("apply"),
        firsts: results
            .iter()
            .flatten()
            .filter(|receipt| !receipt.is_repeat())
            .count(),
        errors: results.iter().filter(|result| result.is_err()).count(),
        panics,
    }
}

#[test]
fn reported_race_every_sandbox_is_committed_exactly_once() {
    for (threads, sandboxes) in [(2, 4), (3, 1), (8, 3), (64, 2)] {
        let round = race(threads, sandboxes, false);
        assert_eq!(
            round,
            Round {
                applied: sandboxes,
                firsts: 1,
                errors: 0,
                panics: 0
            },
            "{threads} threads"
        );
    }
}

/// The negative control: the same schedule with the plan lock taken out must fail, every time: a
/// sandbox is committed twice, a caller meets a half-committed one, or two callers hold one body.
#[test]
fn reported_race_control_without_the_plan_lock_fails_every_time() {
    for threads in [2, 3, 8] {
        for _ in 0..5 {
            let round = race(threads, 4, true);
            let right = Round {
                applied: 4,
                firsts: 1,
                errors: 0,
                panics: 0,
            };
            assert_ne!(
                round, right,
                "{threads} threads passed without the plan lock"
            );
        }
    }
}

#[test]
fn every_caller_gets_the_same_receipt() {
    let world = World::new();
    let manager = manager(&world);
    open_many(&manager, &world, "same", 3);
    let start = Barrier::new(32);
    let receipts: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..32)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    manager.commit_all(&plan("same")).unwrap()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(receipts.iter().all(|receipt| *receipt == receipts[0]));
    assert_eq!(
        receipts
            .iter()
            .filter(|receipt| !receipt.is_repeat())
            .count(),
        1
    );
    assert_eq!(world.count("applied"), 3);
}

#[test]
fn other_plans_do_not_wait_for_a_slow_commit() {
    let world = World::new();
    let manager = manager(&world);
    open_many(&manager, &world, "slow", 1);
    open_many(&manager, &world, "quick", 1);
    let (inside, wait_inside) = mpsc::channel();
    let (release, wait_release) = mpsc::channel::<()>();
    let wait_release = Mutex::new(wait_release);
    world.hook(move |step, id| {
        if (step, id) == ("apply", "slow-0") {
            inside.send(()).unwrap();
            wait_release.lock().unwrap().recv().unwrap();
        }
        Ok(())
    });
    std::thread::scope(|scope| {
        // Dropped if an assertion fails, so that the slow plan does not wait for ever.
        let release = release;
        let slow = scope.spawn(|| manager.commit_all(&plan("slow")));
        wait_inside.recv().unwrap();
        // The slow plan is in the middle of its apply and stays there until we say so.
        manager.commit_all(&plan("quick")).unwrap();
        let status = manager.status(&plan("slow")).unwrap();
        assert_eq!(status.state, PlanState::Committing);
        assert_eq!(status.holder.unwrap().operation, "commit");
        let busy = manager.try_commit_all(&plan("slow")).unwrap_err();
        assert_eq!(busy.code(), "busy");
        assert!(busy.is_retryable());
        let options = CommitOptions::default().wait(LockWait::For(Duration::from_millis(1)));
        let late = manager
            .commit_all_with(&plan("slow"), &options)
            .unwrap_err();
        assert_eq!(late.code(), "lock-timeout");
        release.send(()).unwrap();
        slow.join().unwrap().unwrap();
    });
    assert_eq!(
        world.count("applied"),
        2,
        "a wait that timed out did not proceed"
    );
}

#[test]
fn a_commit_ends_the_plan_for_newcomers() {
    let world = World::new();
    let manager = manager(&world);
    open_many(&manager, &world, "ended", 1);
    manager.commit_all(&plan("ended")).unwrap();
    let late = manager.open_sandbox(&plan("ended"), Scripted::new(&world, "late"));
    assert_eq!(late.unwrap_err().code(), "wrong-state");
    assert_eq!(world.count("open"), 1);
}

#[test]
fn a_sealed_plan_takes_no_newcomers_and_commits() {
    let world = World::new();
    let manager = manager(&world);
    open_many(&manager, &world, "sealed", 2);
    let diff = manager.seal(&plan("sealed")).unwrap();
    assert_eq!(diff.resources.len(), 2);
    let late = manager.open_sandbox(&plan("sealed"), Scripted::new(&world, "late"));
    assert_eq!(late.unwrap_err().code(), "wrong-state");
    manager.commit_all(&plan("sealed")).unwrap();
    assert_eq!(world.count("applied"), 2);
}

#[test]
fn a_plan_that_its_caller_sealed_stays_sealed_when_it_is_taken_back() {
    let world = World::new();
    let manager = manager(&world);
    open_many(&manager, &world, "sealed", 2);
    manager.seal(&plan("sealed")).unwrap();
    world.hook(|step, id| match (step, id) {
        ("apply", "sealed-1") => Err(ParticipantError::new(Fault::Denied, "planted")),
        _ => Ok(()),
    });
    assert_eq!(
        manager.commit_all(&plan("sealed")).unwrap_err().code(),
        "denied"
    );
    assert_eq!(world.real("sealed-0"), 0, "taken back");
    let status = manager.status(&plan("sealed")).unwrap();
    assert_eq!(status.state, PlanState::Sealed);
    let unsealed = world.count("unseal");
    world.hook(|_, _| Ok(()));
    manager.commit_all(&plan("sealed")).unwrap();
    assert_eq!(
        world.count("unseal"),
        unsealed,
        "the seal of the caller was kept"
    );
    assert_eq!(world.real("sealed-1"), 1);
}

#[test]
fn a_conflict_changes_nothing_and_the_plan_can_go_on() {
    let world = World::new();
    let manager = manager(&world);
    open_many(&manager, &world, "conflict", 3);
    world.set_real("conflict-1", 7);
    let error = manager.commit_all(&plan("conflict")).unwrap_err();
    assert_eq!(error.code(), "conflict");
    assert_eq!(error.resource().unwrap().as_str(), "conflict-1");
    assert_eq!(world.count("apply"), 0);
    assert_eq!(
        manager.status(&plan("conflict")).unwrap().state,
        PlanState::Open
    );
    world.set_real("conflict-1", 0);
    manager.commit_all(&plan("conflict")).unwrap();
    assert_eq!(world.count("applied"), 3);
}

#[test]
fn a_failing_apply_takes_everything_back() {
    for failing in 0..4 {
        let world = World::new();
        let manager = manager(&world);
        open_many(&manager, &world, "back", 4);
        let bad = format!("back-{failing}");
        world.hook(move |step, id| {
            if step == "apply" && id == bad {
                return Err(ParticipantError::new(Fault::Denied, "an immutable thing").at("/x"));
            }
            Ok(())
        });
        let error = manager.commit_all(&plan("back")).unwrap_err();
        assert_eq!(error.code(), "denied");
        assert_eq!(error.stage().unwrap().to_string(), "apply");
        assert!(!error.needs_recovery());
        for index in 0..4 {
            assert_eq!(world.real(&format!("back-{index}")), 0, "{failing} failed");
        }
        let status = manager.status(&plan("back")).unwrap();
        assert_eq!(
            (status.state, status.sandboxes.len()),
            (PlanState::Open, 4),
            "all is kept"
        );
        world.hook(|_, _| Ok(()));
        manager.commit_all(&plan("back")).unwrap();
        assert_eq!(world.real("back-0"), 1);
    }
}

#[test]
fn a_panicking_participant_aborts_its_plan_and_no_other() {
    for step in ["seal", "prepare", "apply"] {
        let world = World::new();
        let manager = manager(&world);
        open_many(&manager, &world, "panic", 2);
        open_many(&manager, &world, "calm", 1);
        world.hook(move |now, id| {
            assert!(!(now == step && id == "panic-1"), "planted panic");
            Ok(())
        });
        let error = manager.commit_all(&plan("panic")).unwrap_err();
        assert_eq!(error.code(), "panicked", "in {step}");
        assert_eq!(
            (world.real("panic-0"), world.real("panic-1")),
            (0, 0),
            "in {step}"
        );
        manager.commit_all(&plan("calm")).unwrap();
    }
}

#[test]
fn a_call_back_into_a_plan_from_its_participant_is_an_error() {
    let world = World::new();
    let manager = manager(&world);
    open_many(&manager, &world, "again", 2);
    let codes = Arc::new(Mutex::new(Vec::new()));
    let (seen, inner) = (Arc::clone(&codes), manager.clone());
    world.hook(move |step, _| {
        if step == "prepare" {
            for name in ["again", "another"] {
                let error = inner.commit_all(&plan(name)).unwrap_err();
                seen.lock().unwrap().push(error.code());
            }
        }
        Ok(())
    });
    manager.commit_all(&plan("again")).unwrap();
    assert_eq!(*codes.lock().unwrap(), ["reentrant"; 4]);
}

#[test]
fn nothing_is_left_when_the_last_plan_has_ended() {
    let world = World::new();
    let manager = manager(&world);
    for index in 0..50 {
        let name = format!("plan-{index}");
        open_many(&manager, &world, &name, 2);
        if index % 3 == 0 {
            manager.rollback_all(&plan(&name)).unwrap();
        } else {
            assert_eq!(
                manager.commit_all(&plan(&name)).unwrap().outcome(),
                CommitOutcome::Committed
            );
        }
    }
    manager.settle();
    let stats = manager.stats();
    assert_eq!(
        (
            stats.plan_locks,
            stats.resource_locks,
            stats.live_plans,
            stats.unsettled
        ),
        (0, 0, 0, 0)
    );
    assert_eq!(world.count("discard"), 100);
}

#[test]
fn a_dropped_handle_and_a_dropped_manager_keep_the_work() {
    let world = World::new();
    let manager = manager(&world);
    open_many(&manager, &world, "kept", 1);
    drop(manager.plan(&plan("kept")));
    assert_eq!(manager.status(&plan("kept")).unwrap().sandboxes.len(), 1);
    assert_eq!(world.count("discard"), 0);
}

/// ```text
/// first    seal .. guards .. prepare: the value is promised .. apply [slow]
/// second                                                             [try: busy]   commit: conflict
/// ```
#[test]
fn a_plan_over_a_value_waits_for_another_one_that_is_committing_it() {
    let world = World::new();
    let manager = manager(&world);
    let value = planbox::Value::of(&planbox::VersionRegister::new("0", 0));
    for (number, id) in (1_u32..).zip(["first", "second"]) {
        let sandbox = manager.open_sandbox(&plan(id), value.clone()).unwrap();
        sandbox.set(id, number).unwrap();
    }
    let slow = Scripted::new(&world, "slow");
    manager.open_sandbox(&plan("first"), slow).unwrap();
    let (met, seen) = (manager.clone(), Arc::new(Mutex::new(None)));
    let tell = Arc::clone(&seen);
    world.hook(move |step, _| {
        if step == "apply" {
            // The second caller is another thread: a participant may not call its manager.
            let second = std::thread::scope(|scope| {
                let caller = scope.spawn(|| met.try_commit_all(&plan("second")));
                caller.join().unwrap()
            });
            *tell.lock().unwrap() = Some(second.unwrap_err().code());
        }
        Ok(())
    });
    manager.commit_all(&plan("first")).unwrap();
    assert_eq!(
        *seen.lock().unwrap(),
        Some("busy"),
        "not refused on a guess"
    );
    let second = manager.commit_all(&plan("second")).unwrap_err();
    assert!(
        matches!(second, planbox::error::CommitError::Conflict { .. }),
        "{second:?}"
    );
}

#[test]
fn values_of_this_process_are_swapped_last() {
    let world = World::new();
    let manager = manager(&world);
    let order = Arc::new(Mutex::new(Vec::new()));
    manager
        .open_sandbox(&plan("last"), Scripted::new(&world, "a-value").volatile())
        .unwrap();
    manager
        .open_sandbox(&plan("last"), Scripted::new(&world, "b-files"))
        .unwrap();
    let seen = Arc::clone(&order);
    world.hook(move |step, id| {
        if step == "apply" {
            seen.lock().unwrap().push(id.to_owned());
        }
        Ok(())
    });
    manager.commit_all(&plan("last")).unwrap();
    assert_eq!(*order.lock().unwrap(), ["b-files", "a-value"]);
}
