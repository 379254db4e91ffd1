//! The manager's public face: stores that are refused, plan handles, holds, gc, events, errors.

use crate::support::manifest::manifest;
use crate::support::plan;
use crate::support::scripted::{Scripted, ScriptedKind, World};
use planbox::{
    Acknowledge, CommitOptions, CommitOutcome, Directory, Error, Event, Explain, Fault, GcOptions,
    LockWait, ParticipantError, PlanState, Resource as _, ResourceName, SandboxManager, Severity,
    Value, VersionRegister,
};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A home with a store and a real directory.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(home.real()).unwrap();
        write(&home.real().join("a"), "old");
        home
    }

    fn real(&self) -> PathBuf {
        self.0.path().join("real")
    }

    fn store(&self) -> PathBuf {
        self.0.path().join("store")
    }

    fn manager(&self) -> SandboxManager {
        SandboxManager::open(self.store()).unwrap()
    }
}

fn write(path: &Path, text: &str) {
    std::fs::File::create(path)
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
}

fn name(text: &str) -> ResourceName {
    ResourceName::new(text).unwrap()
}

/// What every failure must be able to say.
fn speaks(error: &dyn Explain) {
    let code = error.code();
    assert!(
        code.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'),
        "{code}"
    );
    assert!(
        error.next_step().len() > 10,
        "{code}: {}",
        error.next_step()
    );
    let text = error.to_string();
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text}");
    assert!(!text.contains("{ "), "no debug text for people: {text}");
}

#[test]
fn what_cannot_be_a_store_is_refused_and_left_alone() {
    let home = Home::new();
    let base = home.0.path();
    let refused = |path: &Path| {
        let error = SandboxManager::open(path).unwrap_err();
        assert_eq!(error.code(), "bad-store", "{error}");
        assert!(error.path().is_some());
        speaks(&Error::from(error));
    };
    write(&base.join("file"), "x");
    refused(&base.join("file"));
    symlink(home.real(), base.join("link")).unwrap();
    refused(&base.join("link"));
    let before = manifest(&home.real());
    std::fs::set_permissions(home.real(), std::fs::Permissions::from_mode(0o700)).unwrap();
    refused(&home.real());
    std::fs::set_permissions(home.real(), std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(
        manifest(&home.real()).len(),
        before.len(),
        "somebody's directory is no store"
    );
    drop(home.manager());
    write(&home.store().join("format"), "planbox store 999\n");
    refused(&home.store());
}

#[test]
fn a_kept_plan_handle_does_what_the_manager_does() {
    let home = Home::new();
    let manager = home.manager();
    let kept = manager.plan(&plan("kept"));
    assert_eq!(kept.id(), &plan("kept"));
    let unknown = kept.status().unwrap_err();
    assert_eq!(unknown.code(), "unknown-plan");
    speaks(&unknown);
    let site = kept
        .open_sandbox(Directory::at(home.real()).named(name("site")))
        .unwrap();
    assert_eq!((site.plan(), site.name().as_str()), (kept.id(), "site"));
    assert!(["copy", "reflink"].contains(&site.view()));
    assert_eq!(site.resource().name(), Some(&name("site")));
    assert!(site.generation() > 0 && !site.token().is_empty());
    write(&site.path().join("a"), "newer");
    assert_eq!(kept.diff().unwrap().resources.len(), 1);
    assert_eq!(kept.seal().unwrap().resources.len(), 1);
    write(&site.path().join("a"), "after the seal");
    let options = CommitOptions::default().acknowledge(Acknowledge::Settled);
    assert_eq!(
        kept.commit_all_with(&options).unwrap().outcome(),
        CommitOutcome::Committed
    );
    assert_eq!(
        std::fs::read(home.real().join("a")).unwrap(),
        b"newer",
        "G8: the seal holds"
    );
    assert!(kept.commit_all().unwrap().is_repeat());
    let error = kept.rollback_all().unwrap_err();
    assert_eq!(error.code(), "wrong-state");
    speaks(&error);
    assert_eq!(
        manager.receipt(kept.id()).unwrap().unwrap().plan(),
        kept.id()
    );
}

#[test]
fn a_hold_opens_checks_and_rolls_back() {
    let home = Home::new();
    let manager = home.manager();
    let mut hold = manager.hold(&plan("held"), "test").unwrap();
    let site = hold.open_sandbox(Directory::at(home.real())).unwrap();
    write(&site.path().join("a"), "newer");
    assert!(!hold.diff().unwrap().is_empty());
    assert!(hold.check(LockWait::Try).unwrap().conflicts.is_empty());
    write(&home.real().join("a"), "theirs!");
    assert_eq!(hold.check(LockWait::Try).unwrap().conflicts.len(), 1);
    assert_eq!(hold.rollback_all().unwrap(), [name("dir")]);
    assert!(hold.rollback_all().unwrap().is_empty(), "again is nothing");
    drop(hold);
    assert_eq!(
        manager.status(&plan("held")).unwrap().state,
        PlanState::Aborted
    );
    let gone = manager.hold_existing(&plan("nobody"), "test").unwrap_err();
    assert_eq!(gone.code(), "unknown-plan");
    assert_eq!(
        std::fs::read_dir(home.store().join("plans"))
            .unwrap()
            .count(),
        0
    );
    assert_eq!(
        std::fs::read_dir(home.store().join("locks"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn names_and_overlaps_are_decided_before_anything_is_made() {
    let home = Home::new();
    let manager = home.manager();
    std::fs::create_dir(home.real().join("sub")).unwrap();
    let other = home.0.path().join("other");
    std::fs::create_dir(&other).unwrap();
    let id = plan("names");
    let first = manager
        .open_sandbox(&id, Directory::at(home.real()))
        .unwrap();
    let again = manager
        .open_sandbox(&id, Directory::at(home.real().join(".")))
        .unwrap();
    assert_eq!(first.path(), again.path(), "one thing, one sandbox");
    let same = Directory::at(home.real()).named(name("second"));
    let inner = Directory::at(home.real().join("sub"));
    let outer = Directory::at(home.0.path());
    for (resource, code) in [(same, "overlap"), (inner, "overlap")] {
        let error = manager.open_sandbox(&id, resource).unwrap_err();
        assert_eq!(error.code(), code);
        speaks(&error);
    }
    // The outer one holds the store as well, which is refused for itself.
    assert!(manager.open_sandbox(&id, outer).is_err());
    let taken = Directory::at(&other).named(name("dir"));
    let error = manager.open_sandbox(&id, taken).unwrap_err();
    assert_eq!(
        (error.code(), error.resource()),
        ("name-taken", Some(&name("dir")))
    );
    speaks(&error);
    let second = manager.open_sandbox(&id, Directory::at(&other)).unwrap();
    assert_eq!(second.name().as_str(), "dir2");
    for place in ["missing", "real/a"] {
        let error = manager
            .open_sandbox(&id, Directory::at(home.0.path().join(place)))
            .unwrap_err();
        assert_eq!(error.code(), "refused");
        speaks(&error);
    }
    assert_eq!(manager.sandboxes(&id).unwrap().len(), 2);
}

#[test]
fn a_value_and_a_directory_change_together_or_not_at_all() {
    let home = Home::new();
    let manager = home.manager();
    let register = VersionRegister::new("v1", "one".to_owned());
    let id = plan("both");
    let site = manager
        .open_sandbox(&id, Directory::at(home.real()))
        .unwrap();
    let value = manager.open_sandbox(&id, Value::of(&register)).unwrap();
    write(&site.path().join("a"), "newer");
    value.set("v2", "two".to_owned()).unwrap();
    assert_eq!(value.get().unwrap().version(), "v2");
    assert_eq!(
        register.snapshot().version(),
        "v1",
        "nobody else sees it yet"
    );
    // Another activation came between: the directory stays as it was.
    let now = register.snapshot().generation();
    register
        .activate(now, "v1b", Arc::new("between".to_owned()))
        .unwrap();
    let error = manager.commit_all(&id).unwrap_err();
    assert_eq!(error.code(), "conflict");
    speaks(&error);
    assert_eq!(std::fs::read(home.real().join("a")).unwrap(), b"old");
    manager.rollback_all(&id).unwrap();
    speaks(&value.set("v3", "late".to_owned()).unwrap_err());
    assert!(value.get().is_err(), "the sandbox is gone");
    let id = plan("both again");
    let site = manager
        .open_sandbox(&id, Directory::at(home.real()))
        .unwrap();
    let value = manager.open_sandbox(&id, Value::of(&register)).unwrap();
    write(&site.path().join("a"), "newer");
    value.set("v2", "two".to_owned()).unwrap();
    assert_eq!(manager.commit_all(&id).unwrap().resources().len(), 2);
    assert_eq!(register.snapshot().value().unwrap(), "two");
    assert_eq!(std::fs::read(home.real().join("a")).unwrap(), b"newer");
}

#[test]
fn gc_removes_what_it_is_told_to_and_nothing_that_is_held() {
    let home = Home::new();
    let manager = home.manager();
    for text in ["ended", "idle", "held"] {
        manager
            .open_sandbox(&plan(text), Directory::at(home.real()))
            .unwrap();
    }
    manager.commit_all(&plan("ended")).unwrap();
    manager.settle();
    let all = GcOptions::default()
        .forget_ended(Duration::ZERO)
        .give_up_idle(Duration::ZERO);
    let dry = manager.gc(&all.dry_run(true)).unwrap();
    assert_eq!((dry.forgotten.len(), dry.given_up.len()), (1, 2));
    assert_eq!(manager.plans().unwrap().len(), 3, "a dry run does nothing");
    let other = home.manager();
    let report = std::thread::scope(|scope| {
        let hold = other.hold_existing(&plan("held"), "test").unwrap();
        let report = scope.spawn(|| manager.gc(&all).unwrap()).join().unwrap();
        drop(hold);
        report
    });
    assert_eq!(report.forgotten, [plan("ended")]);
    assert_eq!(report.given_up, [plan("idle")]);
    assert_eq!(report.busy, [plan("held")]);
    assert!(
        manager
            .gc(&GcOptions::default())
            .unwrap()
            .given_up
            .is_empty()
    );
    assert_eq!(
        manager.status(&plan("held")).unwrap().state,
        PlanState::Open
    );
    assert!(manager.log(Some(&plan("ended"))).unwrap().is_empty());
    assert!(!manager.log(None).unwrap().is_empty());
}

#[test]
fn the_doctor_names_what_is_wrong_and_what_to_do() {
    let home = Home::new();
    let manager = home.manager();
    let problems = || {
        let findings = manager.doctor().unwrap();
        let problems = findings
            .into_iter()
            .filter(|found| found.severity == Severity::Problem);
        problems.collect::<Vec<_>>()
    };
    assert!(problems().is_empty());
    std::fs::create_dir(home.store().join("plans/stranger")).unwrap();
    let found = problems();
    assert!(found[0].what.contains("stranger") && !found[0].fix.is_empty());
}

#[test]
fn subscribers_hear_states_and_progress() {
    let home = Home::new();
    let manager = home.manager();
    let events = manager.subscribe();
    let site = manager
        .open_sandbox(&plan("heard"), Directory::at(home.real()))
        .unwrap();
    write(&site.path().join("a"), "newer");
    manager.commit_all(&plan("heard")).unwrap();
    manager.settle();
    let heard: Vec<Event> = events.try_iter().collect();
    let states: Vec<PlanState> = heard
        .iter()
        .filter_map(|event| match event {
            Event::State { state, .. } => Some(*state),
            _ => None,
        })
        .collect();
    assert_eq!(
        states,
        [
            PlanState::Sealed,
            PlanState::Preparing,
            PlanState::Prepared,
            PlanState::Committing,
            PlanState::Applied,
            PlanState::Done
        ]
    );
    assert!(
        heard
            .iter()
            .any(|event| matches!(event, Event::Progress { .. }))
    );
}

#[test]
fn a_wish_to_stop_stops_a_long_step_and_keeps_everything() {
    let home = Home::new();
    let stop = Arc::new(AtomicBool::new(false));
    let manager = SandboxManager::builder()
        .store(home.store())
        .cancelled(Arc::clone(&stop))
        .open()
        .unwrap();
    let site = manager
        .open_sandbox(&plan("stopped"), Directory::at(home.real()))
        .unwrap();
    write(&site.path().join("a"), "newer");
    stop.store(true, Ordering::Relaxed);
    let error = manager.commit_all(&plan("stopped")).unwrap_err();
    assert_eq!((error.code(), error.is_retryable()), ("interrupted", true));
    speaks(&error);
    stop.store(false, Ordering::Relaxed);
    manager.commit_all(&plan("stopped")).unwrap();
}

#[test]
fn every_step_of_a_participant_that_fails_is_told_and_leaves_the_rest_old() {
    for (step, fault) in [
        ("seal", Fault::NoSpace),
        ("guards", Fault::Lost),
        ("prepare", Fault::Refused),
        ("apply", Fault::Io),
        ("apply", Fault::Conflict),
    ] {
        let world = World::new();
        let builder = SandboxManager::builder().kind(Arc::new(ScriptedKind(Arc::clone(&world))));
        let manager = builder.in_memory();
        for id in ["x", "y", "z"] {
            manager
                .open_sandbox(&plan("p"), Scripted::new(&world, id))
                .unwrap();
        }
        world.hook(move |now, id| match (now == step, id) {
            (true, "y") => Err(ParticipantError::new(fault, "planted").at("/planted")),
            _ => Ok(()),
        });
        let error = manager.commit_all(&plan("p")).unwrap_err();
        speaks(&error);
        assert_eq!(error.plan(), Some(&plan("p")));
        assert!(!error.needs_recovery(), "{step}");
        assert_eq!(
            [world.real("x"), world.real("y"), world.real("z")],
            [0, 0, 0],
            "{step}"
        );
        speaks(&Error::from(error));
    }
}

#[test]
fn a_failing_open_diff_or_removal_is_told_and_can_be_tried_again() {
    let world = World::new();
    let builder = SandboxManager::builder().kind(Arc::new(ScriptedKind(Arc::clone(&world))));
    let manager = builder.in_memory();
    let fails = |at: &'static str| {
        world.hook(move |step, _| {
            if step == at {
                return Err(ParticipantError::new(Fault::Denied, "planted"));
            }
            Ok(())
        });
    };
    fails("open");
    let error = manager
        .open_sandbox(&plan("p"), Scripted::new(&world, "x"))
        .unwrap_err();
    speaks(&error);
    assert!(
        manager.sandboxes(&plan("p")).unwrap().is_empty(),
        "nothing half opened stays"
    );
    fails("nothing");
    manager
        .open_sandbox(&plan("p"), Scripted::new(&world, "x"))
        .unwrap();
    fails("diff");
    speaks(&manager.diff(&plan("p")).unwrap_err());
    fails("seal");
    speaks(&manager.seal(&plan("p")).unwrap_err());
    fails("discard");
    let error = manager.rollback_all(&plan("p")).unwrap_err();
    assert_eq!(error.code(), "denied");
    speaks(&error);
    fails("nothing");
    manager.rollback_all(&plan("p")).unwrap();
    assert_eq!(
        manager.status(&plan("p")).unwrap().state,
        PlanState::Aborted
    );
    for late in [
        manager.seal(&plan("p")).err().map(Error::from),
        manager.diff(&plan("q")).err().map(Error::from),
    ] {
        speaks(&late.unwrap());
    }
    speaks(&manager.recover_plan(&plan("q")).unwrap_err());
}

#[test]
fn a_take_back_that_fails_is_in_doubt_until_recovery_ends_it() {
    let world = World::new();
    let builder = SandboxManager::builder().kind(Arc::new(ScriptedKind(Arc::clone(&world))));
    let manager = builder.in_memory();
    for id in ["x", "y"] {
        manager
            .open_sandbox(&plan("p"), Scripted::new(&world, id))
            .unwrap();
    }
    world.hook(|step, id| match (step, id) {
        ("apply", "y") => Err(ParticipantError::new(Fault::Io, "planted")),
        ("take_back", "x") => Err(ParticipantError::new(Fault::Io, "planted").at("/x")),
        _ => Ok(()),
    });
    let error = manager.commit_all(&plan("p")).unwrap_err();
    assert_eq!((error.code(), error.needs_recovery()), ("in-doubt", true));
    assert_eq!(error.resource().unwrap().as_str(), "x");
    assert_eq!(error.path(), Some(Path::new("/x")));
    assert_eq!(
        error.to_string(),
        "the outcome of plan p is in doubt: x failed at take-back"
    );
    speaks(&error);
    assert_eq!(
        manager.status(&plan("p")).unwrap().state,
        PlanState::Aborting
    );
    assert!(!manager.recover().unwrap().is_clean());
    let refused = manager.rollback_all(&plan("p")).unwrap_err();
    speaks(&refused);
    world.hook(|_, _| Ok(()));
    assert!(manager.recover().unwrap().is_clean());
    assert_eq!([world.real("x"), world.real("y")], [0, 0]);
    assert!(
        manager.recover().unwrap().plans.is_empty(),
        "a second recovery finds nothing"
    );
    manager.commit_all(&plan("p")).unwrap();
    assert_eq!([world.real("x"), world.real("y")], [1, 1]);
}
