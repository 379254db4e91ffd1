//! The protocol of one plan in detail: what is read again, what is told, what a failure leaves.

use crate::support::scripted::{Scripted, ScriptedKind, World};
use crate::support::{child, plan};
use planbox::{
    Acknowledge, CommitOptions, Directory, Explain, Fault, LockWait, ParticipantError, PlanState,
    Recovered, ResourceKey, SandboxManager, Value, VersionRegister,
};
use std::collections::HashSet;
use std::error::Error as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// A world of numbers, and a store that any number of managers open.
struct Home {
    world: Arc<World>,
    dir: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        Self {
            world: World::new(),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn manager(&self) -> SandboxManager {
        manager(&self.world, self.dir.path())
    }

    fn open(&self, manager: &SandboxManager, ids: &[&str]) {
        open(manager, &self.world, ids);
    }

    /// Each of these steps fails from now on, and no other.
    fn fails(&self, steps: &'static [(&'static str, &'static str, Fault)]) {
        self.world.hook(move |step, id| {
            let fault = steps.iter().find(|one| (one.0, one.1) == (step, id));
            fault.map_or(Ok(()), |one| Err(ParticipantError::new(one.2, "planted")))
        });
    }
}

fn manager(world: &Arc<World>, home: &Path) -> SandboxManager {
    SandboxManager::builder()
        .kind(Arc::new(ScriptedKind(Arc::clone(world))))
        .store(home.join("store"))
        .open()
        .unwrap()
}

/// Opens the numbers called `ids` in the plan `p`.
fn open(manager: &SandboxManager, world: &Arc<World>, ids: &[&str]) {
    for id in ids {
        manager
            .open_sandbox(&plan("p"), Scripted::new(world, id))
            .unwrap();
    }
}

fn state(manager: &SandboxManager) -> PlanState {
    manager.status(&plan("p")).unwrap().state
}

#[test]
fn what_another_manager_added_meanwhile_is_committed_and_a_live_value_is_kept() {
    let home = Home::new();
    let (first, second) = (home.manager(), home.manager());
    let register = VersionRegister::new("v1", 1);
    home.open(&first, &["x"]);
    let value = first
        .open_sandbox(&plan("p"), Value::of(&register))
        .unwrap();
    value.set("v2", 2).unwrap();
    home.open(&second, &["y"]);
    let receipt = first.commit_all(&plan("p")).unwrap();
    assert_eq!(receipt.resources().len(), 3);
    assert_eq!((home.world.real("x"), home.world.real("y")), (1, 1));
    assert_eq!(register.snapshot().version(), "v2");
}

#[test]
fn a_plan_without_sandboxes_takes_no_room_in_this_process() {
    let home = Home::new();
    let manager = home.manager();
    drop(manager.hold(&plan("p"), "test").unwrap());
    assert_eq!(state(&manager), PlanState::Open);
    assert_eq!(manager.stats().live_plans, 0);
    home.open(&manager, &["x"]);
    assert_eq!(manager.stats().live_plans, 1);
}

#[test]
fn a_value_that_cannot_be_seen_is_said_to_be_here_or_in_another_process() {
    let home = Home::new();
    let (here, elsewhere) = (home.manager(), home.manager());
    let register = VersionRegister::new("v1", 1);
    let hold = {
        let mut hold = here.hold(&plan("p"), "test").unwrap();
        hold.open_sandbox(Value::of(&register)).unwrap();
        hold
    };
    let unseen = |manager: &SandboxManager| {
        std::thread::scope(|scope| {
            let diff = scope.spawn(|| manager.diff(&plan("p")).unwrap());
            diff.join().unwrap().unseen[0].1.clone()
        })
    };
    assert!(unseen(&here).contains("is with the one who works on the plan"));
    assert!(unseen(&elsewhere).contains("in another process"));
    drop(hold);
}

#[test]
fn a_take_back_that_meets_a_foreign_change_is_a_hazard_and_its_story_is_kept() {
    let home = Home::new();
    let manager = home.manager();
    home.open(&manager, &["x", "y", "z"]);
    home.fails(&[
        ("apply", "y", Fault::Denied),
        ("take_back", "x", Fault::Hazard),
        ("take_back", "z", Fault::Io),
    ]);
    let error = manager.commit_all(&plan("p")).unwrap_err();
    assert_eq!(error.code(), "hazard", "the worse failure is told: {error}");
    assert_eq!(error.resource().unwrap().as_str(), "x");
    assert_eq!(state(&manager), PlanState::Hazard);
    let log = manager.log(Some(&plan("p"))).unwrap();
    let noted = log.iter().find(|entry| entry.event == "hazard").unwrap();
    assert!(noted.detail.contains(r#""code":"hazard""#), "{noted:?}");
    assert!(noted.detail.contains("planted"), "{noted:?}");
    home.fails(&[("take_back", "x", Fault::Hazard)]);
    manager.recover_plan(&plan("p")).unwrap_err();
    assert_eq!(state(&manager), PlanState::Hazard, "still in the way");
    home.fails(&[]);
    manager.recover_plan(&plan("p")).unwrap();
    assert_eq!(state(&manager), PlanState::Open);
    assert_eq!(home.world.real("x"), 0);
}

#[test]
fn commit_options_keep_everything_that_was_asked_for() {
    let options = CommitOptions::default();
    assert_eq!(options.acknowledge, Acknowledge::Applied);
    let options = options
        .acknowledge(Acknowledge::Settled)
        .wait(LockWait::Try);
    assert_eq!(options.acknowledge, Acknowledge::Settled);
    assert_eq!(options.wait, LockWait::Try);
    let options = options.acknowledge(Acknowledge::Applied);
    assert_eq!(options.wait, LockWait::Try);
    assert_eq!(options.acknowledge, Acknowledge::Applied);
}

#[test]
fn a_commit_that_failed_or_was_taken_back_leaves_no_seal_behind() {
    let home = Home::new();
    let manager = home.manager();
    home.open(&manager, &["x", "y"]);
    let unsealed_since = |before: usize| home.world.count("unseal") - before;
    // Each commit throws away what an earlier one left, then what it made itself.
    home.world.set_real("x", 9);
    manager.commit_all(&plan("p")).unwrap_err();
    assert_eq!(unsealed_since(0), 4, "after a conflict");
    assert_eq!(manager.check(&plan("p")).unwrap().conflicts.len(), 1);
    assert_eq!(unsealed_since(0), 8, "after a check");
    home.world.set_real("x", 0);
    home.fails(&[("apply", "y", Fault::Denied)]);
    manager.commit_all(&plan("p")).unwrap_err();
    assert_eq!(unsealed_since(0), 12, "after a take-back");
    home.fails(&[]);
    manager.commit_all(&plan("p")).unwrap();
    assert_eq!(unsealed_since(0), 14, "a commit keeps its seal");
}

#[test]
fn what_the_caller_sealed_stays_sealed_through_conflicts_and_checks() {
    let home = Home::new();
    let manager = home.manager();
    home.open(&manager, &["x", "y"]);
    manager.seal(&plan("p")).unwrap();
    let before = home.world.count("unseal");
    home.world.set_real("x", 9);
    manager.commit_all(&plan("p")).unwrap_err();
    assert_eq!(manager.check(&plan("p")).unwrap().conflicts.len(), 1);
    home.world.set_real("x", 0);
    assert!(manager.check(&plan("p")).unwrap().conflicts.is_empty());
    assert_eq!(home.world.count("unseal"), before);
    assert_eq!(state(&manager), PlanState::Sealed);
    manager.commit_all(&plan("p")).unwrap();
    assert_eq!(home.world.count("unseal"), before);
}

#[test]
fn a_key_that_one_resource_shares_and_another_does_not_is_locked_alone() {
    for (guards, locks) in [
        ([("x", true), ("y", false)], 1),
        ([("x", false), ("y", true)], 1),
        ([("x", false), ("y", false)], 1),
        ([("x", true), ("y", true)], 0),
    ] {
        let home = Home::new();
        let manager = home.manager();
        home.open(&manager, &["x", "y"]);
        for (id, shared) in guards {
            let key = ResourceKey::new("test", "both name it");
            home.world.guard(id, key, shared);
        }
        let (seen, inner) = (Arc::new(Mutex::new(Vec::new())), manager.clone());
        let held = Arc::clone(&seen);
        home.world.hook(move |step, _| {
            if step == "prepare" {
                held.lock().unwrap().push(inner.stats().resource_locks);
            }
            Ok(())
        });
        manager.commit_all(&plan("p")).unwrap();
        assert_eq!(*seen.lock().unwrap(), [locks, locks], "{guards:?}");
    }
}

#[test]
fn a_receipt_says_whether_the_plan_is_settled_when_it_is_given() {
    let home = Home::new();
    let manager = home.manager();
    home.open(&manager, &["x"]);
    let options = CommitOptions::default();
    let mut hold = manager.hold(&plan("p"), "test").unwrap();
    let first = hold.commit_all(&options).unwrap();
    let second = hold.commit_all(&options).unwrap();
    assert_eq!((first.is_repeat(), first.is_settled()), (false, false));
    assert_eq!((second.is_repeat(), second.is_settled()), (true, false));
    let settled = options.acknowledge(Acknowledge::Settled);
    assert!(hold.commit_all(&settled).unwrap().is_settled());
    let last = hold.commit_all(&options).unwrap();
    assert!(last.is_repeat() && last.is_settled() && last == first);
}

#[test]
fn a_resource_that_would_change_another_one_of_its_plan_is_refused() {
    for (other, shared, code) in [
        ("y", false, Some("refused")),
        ("y", true, None),
        ("x", false, None),
        ("z", false, None),
    ] {
        let home = Home::new();
        let manager = home.manager();
        home.open(&manager, &["x", "y"]);
        home.world
            .guard("x", ResourceKey::new("scripted", other), shared);
        let error = manager.commit_all(&plan("p")).err();
        assert_eq!(error.as_ref().map(Explain::code), code, "{other} {shared}");
        if let Some(error) = error {
            assert_eq!(error.resource().unwrap().as_str(), "x");
            assert_eq!(home.world.count("prepare"), 0);
        }
    }
}

#[test]
fn several_participants_with_files_run_side_by_side_and_one_on_the_thread_of_the_caller() {
    for (files, values, threads) in [(1, 0, 1), (0, 2, 1), (1, 1, 1), (2, 0, 2), (2, 1, 3)] {
        let home = Home::new();
        let manager = home.manager();
        for index in 0..files + values {
            let number = Scripted::new(&home.world, &format!("n{index}"));
            let number = if index < files {
                number
            } else {
                number.volatile()
            };
            manager.open_sandbox(&plan("p"), number).unwrap();
        }
        let seen = Arc::new(Mutex::new(HashSet::new()));
        let ids = Arc::clone(&seen);
        home.world.hook(move |step, _| {
            if step == "prepare" {
                ids.lock().unwrap().insert(std::thread::current().id());
            }
            Ok(())
        });
        manager.commit_all(&plan("p")).unwrap();
        let seen = seen.lock().unwrap();
        assert_eq!(seen.len(), threads, "{files} with files, {values} without");
        assert_eq!(seen.contains(&std::thread::current().id()), threads == 1);
    }
}

#[test]
fn what_a_participant_said_in_its_panic_is_told() {
    for (says, text) in [
        ("words", "fixed words"),
        ("format", "the number 7"),
        ("value", "without a message"),
    ] {
        let home = Home::new();
        let manager = home.manager();
        home.open(&manager, &["x"]);
        home.world.hook(move |step, _| match (step, says) {
            ("seal", "words") => panic!("fixed words"),
            ("seal", "format") => panic!("the number {}", step.len() + 3),
            ("seal", _) => std::panic::panic_any(7_u8),
            _ => Ok(()),
        });
        let error = manager.commit_all(&plan("p")).unwrap_err();
        assert_eq!(error.code(), "panicked");
        let told = error.source().unwrap().to_string();
        assert!(told.contains(text), "{told}");
    }
}

#[test]
fn a_manager_in_memory_leaves_no_files_and_one_beside_it_finds_the_same_places() {
    let real = tempfile::tempdir().unwrap();
    let manager = SandboxManager::in_memory();
    let here = manager
        .open_sandbox(&plan("p"), Directory::at(real.path()))
        .unwrap();
    #[cfg(debug_assertions)]
    {
        let beside = SandboxManager::builder().in_memory_beside(&manager);
        let there = beside
            .open_sandbox(&plan("p"), Directory::at(real.path()))
            .unwrap();
        assert_eq!((there.token(), there.path()), (here.token(), here.path()));
    }
    let base = here
        .path()
        .ancestors()
        .find(|path| path.parent() == Some(&std::env::temp_dir()));
    let base = base.unwrap().to_owned();
    assert!(base.exists());
    drop(manager);
    assert!(!base.exists());
}

#[test]
fn a_plan_that_was_done_but_not_swept_is_swept_by_a_recovery() {
    let home = Home::new();
    let manager = home.manager();
    home.open(&manager, &["x"]);
    home.fails(&[("discard", "x", Fault::Denied)]);
    let options = CommitOptions::default().acknowledge(Acknowledge::Settled);
    let receipt = manager.commit_all_with(&plan("p"), &options).unwrap();
    assert!(!receipt.is_settled());
    assert_eq!(state(&manager), PlanState::Done);
    assert_eq!(manager.sandboxes(&plan("p")).unwrap().len(), 1);
    home.fails(&[]);
    assert_eq!(
        manager.recover_plan(&plan("p")).unwrap(),
        Recovered::Removed
    );
    assert!(manager.sandboxes(&plan("p")).unwrap().is_empty());
    assert_eq!(
        manager.recover_plan(&plan("p")).unwrap(),
        Recovered::Nothing
    );
    let error = manager.rollback_all(&plan("p")).unwrap_err();
    assert!(error.to_string().contains("it is committed"), "{error}");
}

#[test]
fn what_a_power_cut_undid_of_an_applied_plan_is_applied_again() {
    let home = Home::new();
    let manager = home.manager();
    home.open(&manager, &["x", "y"]);
    // The hold leaves the plan applied: nobody settles it.
    let mut hold = manager.hold(&plan("p"), "test").unwrap();
    hold.commit_all(&CommitOptions::default()).unwrap();
    drop(hold);
    assert_eq!(state(&manager), PlanState::Applied);
    home.world.set_real("x", 0);
    assert_eq!(
        manager.recover_plan(&plan("p")).unwrap(),
        Recovered::Completed
    );
    assert_eq!((home.world.real("x"), home.world.real("y")), (1, 1));
    assert_eq!(state(&manager), PlanState::Done);
}

#[test]
fn only_a_foreign_change_makes_a_failing_take_back_a_hazard() {
    let home = Home::new();
    let manager = home.manager();
    home.open(&manager, &["x", "y"]);
    home.fails(&[("apply", "y", Fault::Denied), ("take_back", "x", Fault::Io)]);
    assert_eq!(
        manager.commit_all(&plan("p")).unwrap_err().code(),
        "in-doubt"
    );
    home.fails(&[("take_back", "x", Fault::Io)]);
    manager.recover_plan(&plan("p")).unwrap_err();
    assert_eq!(state(&manager), PlanState::Aborting);
    home.fails(&[("take_back", "x", Fault::Hazard)]);
    manager.recover_plan(&plan("p")).unwrap_err();
    assert_eq!(state(&manager), PlanState::Hazard);
    home.fails(&[]);
    manager.recover_plan(&plan("p")).unwrap();
    assert_eq!(
        (state(&manager), home.world.real("x")),
        (PlanState::Open, 0)
    );
}

/// The test that children run; in the parent it does nothing.
#[test]
fn child_entry() {
    let Some((_, home)) = child::task() else {
        return;
    };
    let world = World::new();
    let manager = manager(&world, &home);
    open(&manager, &world, &["x", "y"]);
    manager.commit_all(&plan("p")).unwrap();
}

#[cfg(debug_assertions)]
#[test]
fn a_redo_that_fails_before_anybody_was_told_is_taken_back() {
    for (take_back, left) in [
        (None, PlanState::Open),
        (Some(Fault::Io), PlanState::Aborting),
        (Some(Fault::Hazard), PlanState::Hazard),
    ] {
        let home = Home::new();
        let mut killed = child::command("protocol::child_entry", "commit", home.dir.path());
        let status = child::run(killed.env("PLANBOX_CRASH_AT", "commit.decided"));
        assert!(child::was_killed(status));
        home.world.hook(move |step, id| {
            let fault = match (step, id) {
                ("apply", "y") => Some(Fault::Denied),
                ("take_back", "x") => take_back,
                _ => None,
            };
            fault.map_or(Ok(()), |fault| Err(ParticipantError::new(fault, "planted")))
        });
        let manager = home.manager();
        assert_eq!(state(&manager), left);
        assert_eq!(manager.recovered().is_clean(), take_back.is_none());
        home.fails(&[]);
        manager.recover_plan(&plan("p")).unwrap();
        assert_eq!(
            (state(&manager), home.world.real("x")),
            (PlanState::Open, 0)
        );
        manager.commit_all(&plan("p")).unwrap();
        assert_eq!((home.world.real("x"), home.world.real("y")), (1, 1));
    }
}

#[test]
fn what_a_seal_changes_about_a_sandbox_is_known_to_the_next_process() {
    let home = Home::new();
    let (first, second) = (home.manager(), home.manager());
    home.open(&first, &["x"]);
    let records = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&records);
    home.world.hook(move |step, record| {
        if step == "reopen" {
            seen.lock().unwrap().push(record.to_owned());
        }
        Ok(())
    });
    second.sandboxes(&plan("p")).unwrap();
    first.seal(&plan("p")).unwrap();
    second.sandboxes(&plan("p")).unwrap();
    assert_eq!(*records.lock().unwrap(), ["x=0", "x=0+"]);
}

#[test]
fn a_sandbox_is_listed_before_its_view_is_made_unless_it_dies_with_its_process() {
    let home = Home::new();
    let (manager, reader) = (home.manager(), home.manager());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    home.world.hook(move |step, id| {
        if step == "open" {
            let listed = reader.sandboxes(&plan("p")).unwrap();
            let is_listed = listed.iter().any(|sandbox| sandbox.name.as_str() == id);
            noted.lock().unwrap().push(is_listed);
        }
        Ok(())
    });
    home.open(&manager, &["a"]);
    let value = Scripted::new(&home.world, "b").volatile();
    manager.open_sandbox(&plan("p"), value).unwrap();
    assert_eq!(*seen.lock().unwrap(), [true, false]);
}
