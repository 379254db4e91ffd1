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
use std::sync::atomic::{AtomicU8, Ordering};

/// What becomes of the next decision.
const HEALTHY: u8 = 0;
/// Decisions go through, and the next flushed step after one does not.
const FAILS_LATER: u8 = 3;
const LOST: u8 = 1;
const WRITTEN: u8 = 2;

/// A journal whose device fails at a decision: the record is there, or it is not, and nobody says.
#[derive(Debug)]
struct Failing {
    inner: MemoryJournal,
    next: AtomicU8,
}

impl Failing {
    fn poisoned(&self) -> Journaled<()> {
        if self.next.load(Ordering::SeqCst) == u8::MAX {
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
            self.next.store(u8::MAX, Ordering::SeqCst);
            return self.poisoned();
        }
        self.inner
            .advance(plan, epoch, state, event, detail, durability)
    }
    fn decide(&self, decision: &Decision) -> Journaled<()> {
        self.poisoned()?;
        if self.next.load(Ordering::SeqCst) == FAILS_LATER {
            return self.inner.decide(decision);
        }
        let next = self.next.swap(u8::MAX, Ordering::SeqCst);
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
        self.inner.sandboxes(plan)
    }
    fn decision(&self, plan: &PlanId) -> Journaled<Option<Decision>> {
        self.inner.decision(plan)
    }
    fn receipt(&self, plan: &PlanId) -> Journaled<Option<String>> {
        self.inner.receipt(plan)
    }
    fn log(&self, plan: Option<&PlanId>) -> Journaled<Vec<Entry>> {
        self.inner.log(plan)
    }
    fn forget(&self, plan: &PlanId) -> Journaled<()> {
        self.inner.forget(plan)
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

/// A plan over a value that wants to be 2, in a journal that will fail.
fn plan_over(next: u8) -> (SandboxManager, PlanId, VersionRegister<u32>) {
    let journal = Arc::new(Failing {
        inner: MemoryJournal::new(),
        next: AtomicU8::new(next),
    });
    let places = Places::new(PathBuf::from("/nonexistent/planbox"), "test".to_owned());
    let manager = ManagerBuilder::default().build(journal, places, None);
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
    assert!(manager.commit_all(&plan).expect("committed").is_repeat());
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
