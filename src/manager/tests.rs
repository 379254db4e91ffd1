//! Each way through a commit, a view, a sweep and a recovery that only the manager decides.

use super::*;
use crate::plan::{CommitOutcome, Recovered};
use crate::register::VersionRegister;
use crate::sandbox::{Directory, Value};
use crate::sync::thread;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

const AN_HOUR: Duration = Duration::from_secs(3600);

fn plan(text: &str) -> PlanId {
    PlanId::new(text).expect("printable")
}

fn write(path: &Path, text: &str) {
    let file = std::fs::File::create(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.expect("a file");
}

/// A directory with a file in it, beside which a store may be.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().expect("a directory"));
        std::fs::create_dir(home.real()).expect("a directory");
        write(&home.real().join("a"), "old");
        home
    }

    fn real(&self) -> PathBuf {
        self.0.path().join("real")
    }

    /// Opens a view of the directory in `plan` and changes nothing.
    fn open(&self, manager: &SandboxManager, plan: &PlanId) -> SandboxHandle<Directory> {
        let opened = manager.open_sandbox(plan, Directory::at(self.real()));
        opened.expect("opens")
    }
}

fn state(manager: &SandboxManager, plan: &PlanId) -> PlanState {
    manager.status(plan).expect("known").state
}

/// A value that `plan` wants to be 2.
fn change_a_value(manager: &SandboxManager, plan: &PlanId) {
    let value = Value::of(&VersionRegister::new("1", 1));
    let value = manager.open_sandbox(plan, value).expect("opens");
    value.set("2", 2).expect("is open");
}

/// Commits the plan and leaves it as an executor does that dies before it settles.
fn commit_and_leave(manager: &SandboxManager, plan: &PlanId) -> Receipt {
    let mut hold = manager.hold_existing(plan, "test").expect("free");
    let options = CommitOptions::default();
    hold.commit_all(&options).expect("commits")
}

#[test]
fn the_temporary_places_go_with_the_manager_that_made_them() {
    let home = Home::new();
    let manager = SandboxManager::in_memory();
    let view = home.open(&manager, &plan("p")).path().to_owned();
    assert!(view.join("a").exists());
    #[cfg(debug_assertions)]
    drop(SandboxManager::builder().in_memory_beside(&manager));
    assert!(view.join("a").exists(), "another one leaves them");
    let base = manager.services().places.base().to_owned();
    assert!(base.exists());
    drop(manager);
    assert!(!base.exists());
}

#[test]
fn a_receipt_says_that_all_is_settled_only_to_who_waited_for_that() {
    let manager = SandboxManager::in_memory();
    for (acknowledge, settled) in [(Acknowledge::Settled, true), (Acknowledge::Applied, false)] {
        let options = CommitOptions::default().acknowledge(acknowledge);
        let (one, other) = (
            plan(&format!("{settled}")),
            plan(&format!("held {settled}")),
        );
        change_a_value(&manager, &one);
        let receipt = manager.commit_all_with(&one, &options).expect("commits");
        assert_eq!(receipt.is_settled(), settled);
        change_a_value(&manager, &other);
        let mut hold = manager.hold_existing(&other, "test").expect("free");
        let receipt = hold.commit_all(&options).expect("commits");
        assert_eq!(receipt.is_settled(), settled);
    }
}

#[test]
fn a_plan_that_was_left_unsettled_is_settled_when_it_is_committed_again() {
    let manager = SandboxManager::in_memory();
    let left = plan("left");
    change_a_value(&manager, &left);
    let first = commit_and_leave(&manager, &left);
    assert_eq!(state(&manager, &left), PlanState::Applied);
    assert!(
        !manager
            .receipt(&left)
            .expect("read")
            .expect("one")
            .is_settled()
    );
    let again = manager.commit_all(&left).expect("committed");
    assert!(again.is_repeat() && again == first);
    manager.settle();
    assert_eq!(state(&manager, &left), PlanState::Done);
    assert!(
        manager
            .receipt(&left)
            .expect("read")
            .expect("one")
            .is_settled()
    );
    assert_eq!(manager.stats().live_plans, 0);
}

#[test]
fn a_plan_that_changed_nothing_is_swept_in_the_background_too() {
    let home = Home::new();
    let manager = SandboxManager::in_memory();
    let view = home.open(&manager, &plan("idle")).path().to_owned();
    assert_eq!(manager.stats().live_plans, 1);
    let receipt = manager.commit_all(&plan("idle")).expect("commits");
    assert_eq!(receipt.outcome(), CommitOutcome::NothingToDo);
    manager.settle();
    assert!(!view.exists());
    assert_eq!(manager.sandboxes(&plan("idle")).expect("known"), []);
    assert_eq!(
        (manager.stats().live_plans, manager.stats().unsettled),
        (0, 0)
    );
}

#[test]
fn the_receipt_of_a_settled_plan_is_given_although_somebody_holds_the_plan() {
    let manager = SandboxManager::in_memory();
    change_a_value(&manager, &plan("p"));
    let settled = CommitOptions::default().acknowledge(Acknowledge::Settled);
    manager
        .commit_all_with(&plan("p"), &settled)
        .expect("commits");
    let _hold = manager.hold_existing(&plan("p"), "test").expect("free");
    let late = || manager.try_commit_all(&plan("p"));
    let late = thread::scope(|scope| scope.spawn(late).join()).expect("an answer");
    let late = late.expect("nobody needs to wait for it");
    assert!(late.is_repeat() && late.is_settled());
}

#[test]
fn the_doctor_finds_work_that_nobody_does_and_is_content_with_the_rest() {
    let home = Home::new();
    let manager = SandboxManager::in_memory();
    let problems = |manager: &SandboxManager| {
        let found = manager.doctor().expect("a look").into_iter();
        let problems = found.filter(|found| found.severity == Severity::Problem);
        problems
            .map(|found| (found.what, found.fix))
            .collect::<Vec<_>>()
    };
    let id = plan("p");
    let site = home.open(&manager, &id);
    write(&site.path().join("a"), "newer");
    assert_eq!(problems(&manager), [], "an open plan is no trouble");
    let mut hold = manager.hold_existing(&id, "test").expect("free");
    hold.commit_all(&CommitOptions::default()).expect("commits");
    assert_eq!(problems(&manager), [], "somebody works on it");
    drop(hold);
    let what = "plan p is applied and nobody works on it".to_owned();
    assert_eq!(
        problems(&manager),
        [(what, "run `planbox recover p`".to_owned())]
    );
    assert!(manager.recover().expect("a recovery").is_clean());
    assert_eq!(problems(&manager), []);
    let notes: Vec<_> = manager.doctor().expect("a look");
    let says = |text: &str| notes.iter().any(|note| note.what.contains(text));
    assert!(says("reflink") && says("MiB are free"), "{notes:?}");
    assert!(notes.iter().all(|note| note.fix.is_empty()));
}

#[test]
#[cfg(debug_assertions)]
fn a_value_of_another_process_is_trouble_and_one_of_our_own_is_not() {
    let manager = SandboxManager::in_memory();
    let other = SandboxManager::builder().in_memory_beside(&manager);
    change_a_value(&manager, &plan("p"));
    let only = |manager: &SandboxManager| {
        let found = manager.sandboxes(&plan("p")).expect("known");
        let [only] = <[SandboxStatus; 1]>::try_from(found).expect("one sandbox");
        only
    };
    let ours = only(&manager);
    assert_eq!(
        (&*ours.view, ours.decides, ours.trouble),
        ("memory", false, None)
    );
    let theirs = only(&other).trouble.expect("it cannot be committed there");
    assert!(theirs.contains("another process"), "{theirs}");
    let findings = other.doctor().expect("a look");
    assert!(
        findings
            .iter()
            .any(|found| found.fix.contains("planbox rollback p"))
    );
    // What a participant refuses to open is trouble for everybody.
    let record = manager
        .services()
        .journal
        .plan(&plan("p"))
        .expect("read")
        .expect("known");
    let lost = crate::journal::SandboxRecord {
        volatile: false,
        ..manager
            .services()
            .journal
            .sandboxes(&plan("p"))
            .expect("read")
            .remove(0)
    };
    let enlisted = manager
        .services()
        .journal
        .enlist(&plan("p"), record.epoch, &lost);
    enlisted.expect("written");
    assert!(only(&manager).trouble.is_some());
}

/// What a kill after a plan ended and before its sandbox was swept leaves behind.
fn leave_behind(home: &Home, manager: &SandboxManager, id: &PlanId) -> PathBuf {
    let view = home.open(manager, id).path().to_owned();
    let journal = &manager.services().journal;
    let [sandbox] = &journal.sandboxes(id).expect("read")[..] else {
        panic!("one sandbox");
    };
    manager.rollback_all(id).expect("gone");
    let epoch = journal.plan(id).expect("read").expect("known").epoch;
    journal.enlist(id, epoch, sandbox).expect("written");
    crate::fs::make_private_dirs(&view).expect("a directory");
    view
}

#[test]
fn gc_sweeps_what_an_ended_plan_left_and_a_dry_run_only_says_so() {
    let home = Home::new();
    let manager = SandboxManager::in_memory();
    let id = plan("left");
    let view = leave_behind(&home, &manager, &id);
    let swept = |options: &GcOptions| {
        let report = manager.gc(options).expect("a sweep");
        assert!(report.forgotten.is_empty() && report.given_up.is_empty());
        assert!(report.busy.is_empty());
        report.swept
    };
    let old = GcOptions::default()
        .forget_ended(AN_HOUR)
        .give_up_idle(AN_HOUR);
    assert_eq!(
        swept(&GcOptions::default().dry_run(true)),
        std::slice::from_ref(&id)
    );
    assert!(view.exists());
    assert_eq!(swept(&old), std::slice::from_ref(&id));
    assert!(!view.exists());
    assert_eq!(manager.sandboxes(&id).expect("known"), []);
    assert_eq!(swept(&GcOptions::default()), []);
    // Somebody else removed the view; the row is still to go.
    let id = plan("listed");
    leave_behind(&home, &manager, &id);
    let places = &manager.services().places;
    places.remove_plan(&id, u64::MAX).expect("removed");
    assert_eq!(swept(&old), std::slice::from_ref(&id));
    assert_eq!(manager.sandboxes(&id).expect("known"), []);
}

#[test]
fn gc_forgets_or_gives_up_each_by_itself_and_only_what_is_old_enough() {
    let home = Home::new();
    let manager = SandboxManager::in_memory();
    let [ended, open, sealed] = ["ended", "open", "sealed"].map(plan);
    for id in [&ended, &open, &sealed] {
        home.open(&manager, id);
    }
    manager.rollback_all(&ended).expect("gone");
    manager.seal(&sealed).expect("sealed");
    let none = GcOptions::default();
    let young = none.forget_ended(AN_HOUR).give_up_idle(AN_HOUR);
    for options in [none, young] {
        assert_eq!(manager.gc(&options).expect("a sweep"), GcReport::default());
    }
    let report = manager
        .gc(&none.forget_ended(Duration::ZERO))
        .expect("a sweep");
    assert_eq!(
        (report.forgotten, report.given_up),
        (vec![ended.clone()], vec![])
    );
    assert!(manager.status(&ended).is_err());
    let report = manager
        .gc(&none.give_up_idle(Duration::ZERO))
        .expect("a sweep");
    assert_eq!((report.forgotten, report.swept), (vec![], vec![]));
    assert_eq!(report.given_up, [open.clone(), sealed.clone()]);
    assert_eq!(
        [&open, &sealed].map(|id| state(&manager, id)),
        [PlanState::Aborted; 2]
    );
}

#[test]
fn gc_writes_down_which_jobs_are_interrupted() {
    let manager = SandboxManager::in_memory();
    let jobs = manager.jobs();
    let id = crate::id::JobId::new("left").expect("printable");
    jobs.create(&id, crate::job::NewJob::new("encode"))
        .expect("new");
    drop(jobs.start(&id).expect("begins"));
    let begun = jobs.revision().expect("read");
    manager
        .gc(&GcOptions::default().dry_run(true))
        .expect("a look");
    assert_eq!(jobs.revision().expect("read"), begun);
    manager.gc(&GcOptions::default()).expect("a sweep");
    assert!(jobs.revision().expect("read") > begun);
    assert_eq!(jobs.sweep().expect("a sweep"), [], "all is written down");
}

#[test]
fn a_recovery_looks_only_at_plans_that_are_not_at_rest() {
    let home = Home::new();
    let manager = SandboxManager::in_memory();
    let [open, sealed, ended, swept, applied] = ["a", "b", "c", "d", "e"].map(plan);
    for id in [&open, &sealed, &ended] {
        home.open(&manager, id);
    }
    manager.seal(&sealed).expect("sealed");
    manager.rollback_all(&ended).expect("gone");
    leave_behind(&home, &manager, &swept);
    change_a_value(&manager, &applied);
    commit_and_leave(&manager, &applied);
    let looked_at = |manager: &SandboxManager| {
        let report = manager.recover().expect("a recovery");
        assert!(report.is_clean());
        let plans = report.plans.into_iter();
        plans
            .map(|plan| (plan.plan, plan.outcome.expect("clean")))
            .collect::<Vec<_>>()
    };
    let hold = manager.hold_existing(&applied, "test").expect("free");
    let busy = thread::scope(|scope| scope.spawn(|| looked_at(&manager)).join());
    let removed = (swept, Recovered::Removed);
    let left = (applied.clone(), Recovered::Busy);
    assert_eq!(busy.expect("an answer"), [removed, left]);
    drop(hold);
    assert_eq!(looked_at(&manager), [(applied, Recovered::Completed)]);
    assert_eq!(looked_at(&manager), []);
}

#[test]
fn a_manager_waits_as_long_as_it_was_told_to() {
    assert_eq!(SandboxManager::in_memory().wait(), DEFAULT_LOCK_WAIT);
    let wait = LockWait::For(Duration::from_millis(2));
    let manager = SandboxManager::builder().wait(wait).in_memory();
    assert_eq!(manager.wait(), wait);
    let _hold = manager.hold(&plan("p"), "test").expect("free");
    let late = || manager.commit_all(&plan("p"));
    let late = thread::scope(|scope| scope.spawn(late).join()).expect("an answer");
    let late = late.expect_err("held");
    assert_eq!(crate::error::Explain::code(&late), "lock-timeout");
}

#[test]
fn the_settler_counts_what_waits_and_what_is_at_work() {
    let manager = SandboxManager::in_memory();
    let settler = Settler::new();
    assert_eq!(settler.len(), 0);
    // As if its thread were busy with a plan.
    settler.set_running();
    let slots = ["one", "two"].map(|id| manager.services().plans.handle(&plan(id)));
    for slot in &slots {
        settler.push(&manager, slot);
    }
    assert_eq!(settler.len(), 3);
    let (returned, was_idle) = crate::sync::channel::bounded(1);
    thread::scope(|scope| {
        scope.spawn(|| {
            settler.wait_until_idle();
            returned.send(settler.len()).expect("a listener");
        });
        for slot in &slots {
            assert_eq!(
                settler.next().map(|next| next.key().clone()),
                Some(slot.key().clone())
            );
        }
        assert_eq!((settler.len(), was_idle.try_recv().is_err()), (1, true));
        assert!(settler.next().is_none());
    });
    assert_eq!((settler.len(), was_idle.recv()), (0, Ok(0)));
}

#[test]
fn a_value_can_be_unloaded_and_a_new_life_of_a_plan_has_another_number() {
    let manager = SandboxManager::in_memory();
    let register = VersionRegister::new("1", 1);
    let id = plan("p");
    let first = manager
        .open_sandbox(&id, Value::of(&register))
        .expect("opens");
    first.unload().expect("is open");
    assert_eq!(register.snapshot().value(), Some(&1));
    manager.commit_all(&id).expect("commits");
    assert_eq!(register.snapshot().value(), None);
    manager.settle();
    let all = GcOptions::default().forget_ended(Duration::ZERO);
    assert_eq!(
        manager.gc(&all).expect("a sweep").forgotten,
        std::slice::from_ref(&id)
    );
    let second = manager
        .open_sandbox(&id, Value::of(&register))
        .expect("opens");
    assert!(second.generation() > first.generation());
    assert_ne!(second.token(), first.token());
    assert_eq!(second.plan(), &id);
}

#[cfg(feature = "sqlite")]
mod stored {
    use super::*;

    #[test]
    fn opening_a_store_recovers_unless_told_not_to_and_says_what_it_did() {
        let home = Home::new();
        let store = home.0.path().join("store");
        let manager = SandboxManager::open(&store).expect("a store");
        assert_eq!(manager.recovered().plans.len(), 0);
        let site = home.open(&manager, &plan("p"));
        write(&site.path().join("a"), "newer");
        commit_and_leave(&manager, &plan("p"));
        drop(manager);
        let builder = || SandboxManager::builder().store(&store);
        let manager = builder().recover_at_open(false).open().expect("a store");
        assert_eq!(manager.recovered().plans.len(), 0);
        assert_eq!(state(&manager, &plan("p")), PlanState::Applied);
        drop(manager);
        let manager = builder().open().expect("a store");
        let [only] = &manager.recovered().plans[..] else {
            panic!("{:?}", manager.recovered());
        };
        assert_eq!(only.plan, plan("p"));
        assert_eq!(state(&manager, &plan("p")), PlanState::Done);
    }

    #[test]
    fn gc_removes_the_lease_files_of_plans_that_are_over_and_no_other() {
        let home = Home::new();
        let store = home.0.path().join("store");
        let manager = SandboxManager::open(&store).expect("a store");
        home.open(&manager, &plan("live"));
        home.open(&manager, &plan("over"));
        manager.rollback_all(&plan("over")).expect("gone");
        let leases = store.join("locks");
        let names = ["live", "over", "gone"].map(|id| plan(id).file_name());
        for name in &names {
            write(&leases.join(name), "");
        }
        let dry = manager
            .gc(&GcOptions::default().dry_run(true))
            .expect("a look");
        assert_eq!(dry.lease_files, 0);
        let report = manager.gc(&GcOptions::default()).expect("a sweep");
        assert_eq!(report.lease_files, 2);
        let stays = names.map(|name| leases.join(name).exists());
        assert_eq!(stays, [true, false, false]);
    }

    #[test]
    fn a_plan_that_another_manager_holds_is_seen_to_be_held() {
        let home = Home::new();
        let store = home.0.path().join("store");
        let [manager, other] = [(), ()].map(|()| SandboxManager::open(&store).expect("a store"));
        let id = plan("p");
        assert_eq!(manager.holder(&id), None);
        let _hold = other.hold(&id, "theirs").expect("free");
        let holder = manager.holder(&id).expect("held");
        assert_eq!((&*holder.key, &*holder.operation), ("p", "theirs"));
        assert_eq!(manager.status(&id).expect("known").holder, Some(holder));
    }
}
