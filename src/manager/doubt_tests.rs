//! A durable write whose outcome is unknown, and how the same manager ends the doubt.

use super::{ManagerBuilder, SandboxManager};
use crate::error::{CommitError, Explain as _, JournalError, Stage};
use crate::id::{Epoch, JobId, PlanId, ResourceName};
use crate::journal::{
    Decision, Durability, Entry, JobChanges, JobJournal, JobRow, JobWork, JournalStore, Journaled,
    LineRow, MemoryJournal, PlanRecord, SandboxRecord,
};
use crate::plan::{Acknowledge, CommitOptions, Places, Recovered};
use crate::register::VersionRegister;
use crate::sandbox::Value;
use crate::state::PlanState;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};

/// What becomes of the next decision.
const HEALTHY: u8 = 0;
/// Decisions go through, and the next flushed step after one does not.
const FAILS_LATER: u8 = 3;
const LOST: u8 = 1;
const WRITTEN: u8 = 2;
/// The next receipt is not stored.
const FAILS_AT_THE_RECEIPT: u8 = 4;
/// The device is dead: nothing is written any more.
const DEAD: u8 = u8::MAX;

/// A journal whose device fails at a decision: the record is there, or it is not, and nobody says.
#[derive(Debug)]
struct Failing {
    inner: MemoryJournal,
    next: AtomicU8,
    /// How often somebody asked for the sandboxes of a plan.
    reads: AtomicUsize,
    /// The decisions are not found any more.
    hides: AtomicBool,
}

impl Failing {
    fn poisoned(&self) -> Journaled<()> {
        if self.next.load(Ordering::SeqCst) == DEAD {
            return Err(JournalError::Poisoned {
                path: PathBuf::from("failing"),
            });
        }
        Ok(())
    }
}

impl JobJournal for Failing {
    fn work(&self, work: JobWork, durability: Durability) -> Journaled<()> {
        self.poisoned()?;
        self.inner.work(work, durability)
    }
    fn job(&self, job: &JobId) -> Journaled<Option<JobRow>> {
        self.inner.job(job)
    }
    fn job_and_log(&self, job: &JobId, after: u64) -> Journaled<Option<(JobRow, Vec<LineRow>)>> {
        self.inner.job_and_log(job, after)
    }
    fn jobs(&self) -> Journaled<Vec<JobRow>> {
        self.inner.jobs()
    }
    fn job_changes(&self, since: u64, most: usize) -> Journaled<JobChanges> {
        self.inner.job_changes(since, most)
    }
}

impl JournalStore for Failing {
    fn acquire(&self, plan: &PlanId, op: &str, create: bool) -> Journaled<Option<PlanRecord>> {
        self.poisoned()?;
        self.inner.acquire(plan, op, create)
    }
    fn enlist(&self, plan: &PlanId, epoch: Epoch, sandbox: &SandboxRecord) -> Journaled<()> {
        self.poisoned()?;
        self.inner.enlist(plan, epoch, sandbox)
    }
    fn delist(&self, plan: &PlanId, epoch: Epoch, name: &ResourceName) -> Journaled<()> {
        self.poisoned()?;
        self.inner.delist(plan, epoch, name)
    }
    fn advance(
        &self,
        plan: &PlanId,
        epoch: Epoch,
        state: PlanState,
        event: &str,
        detail: &str,
        durability: Durability,
    ) -> Journaled<()> {
        self.poisoned()?;
        if state == PlanState::Done && self.next.load(Ordering::SeqCst) == FAILS_LATER {
            self.next.store(DEAD, Ordering::SeqCst);
            return self.poisoned();
        }
        self.inner
            .advance(plan, epoch, state, event, detail, durability)
    }
    fn decide(&self, decision: &Decision) -> Journaled<()> {
        self.poisoned()?;
        if [FAILS_LATER, FAILS_AT_THE_RECEIPT].contains(&self.next.load(Ordering::SeqCst)) {
            return self.inner.decide(decision);
        }
        let next = self.next.swap(DEAD, Ordering::SeqCst);
        if next == HEALTHY {
            self.next.store(HEALTHY, Ordering::SeqCst);
            return self.inner.decide(decision);
        }
        if next == WRITTEN {
            self.inner.decide(decision)?;
        }
        Err(JournalError::Poisoned {
            path: PathBuf::from("failing"),
        })
    }
    fn finish(
        &self,
        plan: &PlanId,
        epoch: Epoch,
        state: PlanState,
        receipt: &str,
        durability: Durability,
    ) -> Journaled<()> {
        if self.next.load(Ordering::SeqCst) == FAILS_AT_THE_RECEIPT {
            self.next.store(DEAD, Ordering::SeqCst);
        }
        self.poisoned()?;
        self.inner.finish(plan, epoch, state, receipt, durability)
    }
    fn plan(&self, plan: &PlanId) -> Journaled<Option<PlanRecord>> {
        self.inner.plan(plan)
    }
    fn plans(&self) -> Journaled<Vec<PlanRecord>> {
        self.inner.plans()
    }
    fn sandboxes(&self, plan: &PlanId) -> Journaled<Vec<SandboxRecord>> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.inner.sandboxes(plan)
    }
    fn decision(&self, plan: &PlanId) -> Journaled<Option<Decision>> {
        if self.hides.load(Ordering::SeqCst) {
            return Ok(None);
        }
        self.inner.decision(plan)
    }
    fn receipt(&self, plan: &PlanId) -> Journaled<Option<String>> {
        self.inner.receipt(plan)
    }
    fn log(&self, plan: Option<&PlanId>) -> Journaled<Vec<Entry>> {
        self.inner.log(plan)
    }
    fn forget(&self, plan: &PlanId, epoch: Epoch) -> Journaled<()> {
        self.inner.forget(plan, epoch)
    }
    fn check(&self) -> Journaled<Vec<String>> {
        self.inner.check()
    }
    fn revive(&self) -> Journaled<()> {
        self.next.store(HEALTHY, Ordering::SeqCst);
        Ok(())
    }
    fn close(&self) {
        self.inner.close();
    }
}

/// A manager over a journal that will fail.
fn manager_over(next: u8) -> (SandboxManager, Arc<Failing>) {
    let journal = Arc::new(Failing {
        inner: MemoryJournal::new(),
        next: AtomicU8::new(next),
        reads: AtomicUsize::new(0),
        hides: AtomicBool::new(false),
    });
    let places = Places::new(PathBuf::from("/nonexistent/planbox"), "test".to_owned());
    let store: Arc<dyn JournalStore> = Arc::<Failing>::clone(&journal);
    (
        ManagerBuilder::default().build(store, places, None),
        journal,
    )
}

/// A plan over a value that wants to be 2, in a journal that will fail.
fn plan_over(next: u8) -> (SandboxManager, PlanId, VersionRegister<u32>) {
    let (manager, _) = manager_over(next);
    let plan = PlanId::new("doubt").expect("printable");
    let register = VersionRegister::new("1", 1);
    let value = manager
        .open_sandbox(&plan, Value::of(&register))
        .expect("opens");
    value.set("2", 2).expect("is open");
    (manager, plan, register)
}

/// A plan over a value whose commit ends in doubt.
fn in_doubt(next: u8) -> (SandboxManager, PlanId, VersionRegister<u32>) {
    let (manager, plan, register) = plan_over(next);
    let error = manager.commit_all(&plan).expect_err("the device fails");
    assert!(
        matches!(
            error,
            CommitError::InDoubt {
                stage: Stage::Decide,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(error.needs_recovery());
    assert_eq!(
        register.snapshot().version(),
        "1",
        "nothing is applied in doubt"
    );
    let again = manager
        .commit_all(&plan)
        .expect_err("the journal takes no writes");
    assert_eq!(again.code(), "journal-poisoned");
    (manager, plan, register)
}

#[test]
fn a_decision_that_reached_the_disk_is_carried_out_by_recover() {
    let (manager, plan, register) = in_doubt(WRITTEN);
    assert_eq!(
        manager.recover_plan(&plan).expect("revived"),
        Recovered::Completed
    );
    assert_eq!(register.snapshot().version(), "2");
    let receipt = manager.commit_all(&plan).expect("committed");
    assert!(receipt.is_repeat());
    let applied = receipt.resources().iter().map(|one| one.applied);
    assert!(applied.eq([true]), "the value is alive: {receipt}");
}

#[test]
fn a_decision_that_was_lost_leaves_the_plan_open_with_its_work() {
    let (manager, plan, register) = in_doubt(LOST);
    assert_eq!(
        manager.recover_plan(&plan).expect("revived"),
        Recovered::Nothing
    );
    assert_eq!(register.snapshot().version(), "1");
    assert!(!manager.commit_all(&plan).expect("commits now").is_repeat());
    assert_eq!(register.snapshot().version(), "2");
}

#[test]
fn a_plan_that_cannot_be_settled_is_committed_all_the_same() {
    let (manager, plan, register) = plan_over(FAILS_LATER);
    let options = CommitOptions::default().acknowledge(Acknowledge::Settled);
    let receipt = manager
        .commit_all_with(&plan, &options)
        .expect("it is committed");
    assert!(!receipt.is_settled(), "and says what is missing");
    assert_eq!(register.snapshot().version(), "2");
    assert_eq!(
        manager.recover_plan(&plan).expect("revived"),
        Recovered::Completed
    );
    let again = manager.commit_all(&plan).expect("committed");
    assert!(again.is_settled() && again == receipt);
}

#[test]
fn what_was_promised_to_a_plan_in_doubt_stays_promised() {
    let (manager, _, register) = in_doubt(LOST);
    let now = register.snapshot().generation();
    let error = register
        .activate(now, "foreign", Arc::new(3))
        .expect_err("the plan may be committed");
    assert_eq!(error.code(), "register-promised");
    assert!(manager.recover().expect("revived").is_clean());
    register
        .activate(now, "foreign", Arc::new(3))
        .expect("it was not committed");
}

#[test]
fn a_doubt_ends_under_the_hold_that_met_it_and_the_seal_of_the_caller_is_kept() {
    for (next, sealed, version) in [
        (LOST, false, "1"),
        (LOST, true, "1"),
        (WRITTEN, false, "2"),
        (WRITTEN, true, "2"),
    ] {
        let (manager, journal) = manager_over(next);
        let plan = PlanId::new("held").expect("printable");
        let register = VersionRegister::new("1", 1);
        let value = manager.open_sandbox(&plan, Value::of(&register));
        let value = value.expect("opens");
        value.set("2", 2).expect("is open");
        if sealed {
            manager.seal(&plan).expect("is open");
        }
        let mut hold = manager.hold(&plan, "test").expect("is free");
        let options = CommitOptions::default();
        let error = hold.commit_all(&options).expect_err("the device fails");
        assert_eq!(error.code(), "in-doubt");
        journal.revive().expect("a new device");
        let checked = hold.check(options.wait);
        assert_eq!(register.snapshot().version(), version);
        if version == "1" {
            assert!(checked.expect("undecided").conflicts.is_empty());
            assert_eq!(value.set("2", 2).is_err(), sealed, "{sealed}");
        }
        hold.commit_all(&options).expect("commits now");
        assert_eq!(register.snapshot().version(), "2");
    }
}

#[test]
fn a_receipt_that_cannot_be_stored_is_a_doubt_only_if_something_was_decided() {
    let (manager, plan, register) = plan_over(FAILS_AT_THE_RECEIPT);
    let error = manager.commit_all(&plan).expect_err("the device fails");
    assert_eq!((error.code(), error.needs_recovery()), ("in-doubt", true));
    assert_eq!(
        manager.recover_plan(&plan).expect("revived"),
        Recovered::Completed
    );
    assert_eq!(register.snapshot().version(), "2");

    let (manager, _journal) = manager_over(FAILS_AT_THE_RECEIPT);
    let register = VersionRegister::new("1", 1);
    let unchanged = manager.open_sandbox(&plan, Value::of(&register));
    unchanged.expect("opens");
    let error = manager.commit_all(&plan).expect_err("the device fails");
    assert_eq!(
        (error.code(), error.needs_recovery()),
        ("journal-poisoned", false)
    );
}

#[test]
fn a_plan_that_nobody_else_worked_on_is_read_once_at_most() {
    let (manager, journal) = manager_over(HEALTHY);
    let plan = PlanId::new("read").expect("printable");
    let registers = [VersionRegister::new("1", 1), VersionRegister::new("1", 1)];
    let reads = || journal.reads.swap(0, Ordering::SeqCst);
    let mut hold = manager.hold(&plan, "test").expect("is free");
    for register in &registers {
        hold.open_sandbox(Value::of(register)).expect("opens");
    }
    assert_eq!(reads(), 1, "under one taking of the lock");
    drop(hold);
    manager.diff(&plan).expect("is there");
    let value = manager.open_sandbox(&plan, Value::of(&registers[0]));
    value.expect("is open").set("2", 2).expect("is open");
    manager.commit_all(&plan).expect("commits");
    manager.settle();
    assert_eq!(reads(), 0, "what the manager kept is what the journal says");
}

#[test]
fn a_decided_plan_without_a_decision_is_left_alone() {
    let (manager, journal) = manager_over(FAILS_AT_THE_RECEIPT);
    let plan = PlanId::new("torn").expect("printable");
    let register = VersionRegister::new("1", 1);
    let value = manager.open_sandbox(&plan, Value::of(&register));
    value.expect("opens").set("2", 2).expect("is open");
    manager.commit_all(&plan).expect_err("the device fails");
    journal.hides.store(true, Ordering::SeqCst);
    let error = manager
        .recover_plan(&plan)
        .expect_err("not as it should be");
    assert_eq!(error.code(), "recovery-needed", "{error}");
    let status = manager.status(&plan).expect("is there");
    assert_eq!(status.state, PlanState::Committing);
    assert_eq!(status.sandboxes.len(), 1, "nothing is removed");
    journal.hides.store(false, Ordering::SeqCst);
    assert_eq!(
        manager.recover_plan(&plan).expect("found again"),
        Recovered::Completed
    );
}
