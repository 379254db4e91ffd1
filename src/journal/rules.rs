//! The rules of the journal, written once over rows; both stores run them.

use super::jobs::{JobRow, JobTx, JobWork, LineRow};
use super::record::{Decision, Entry, PlanRecord, SandboxRecord};
use crate::error::JournalError;
use crate::id::{Epoch, JobId, PlanId, ResourceName};
use crate::state::PlanState;
use std::fmt;
use std::path::Path;

/// A number that belongs to the whole store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Counter {
    /// The newest generation given out.
    Generation,
    /// No plan that begins from now on gets an epoch at or below this one.
    EpochFloor,
    /// The newest line of the story.
    Sequence,
    /// How many plans there are: a plan row that vanished is noticed.
    Plans,
    /// How many jobs there are: a job row that vanished is noticed.
    Jobs,
    /// The newest change of any job.
    JobRevision,
}

impl Counter {
    /// All of them.
    pub(super) const ALL: [Self; 6] = [
        Self::Generation,
        Self::EpochFloor,
        Self::Sequence,
        Self::Plans,
        Self::Jobs,
        Self::JobRevision,
    ];

    /// Its key in the store.
    #[cfg(feature = "sqlite")]
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Generation => "generation",
            Self::EpochFloor => "epoch-floor",
            Self::Sequence => "sequence",
            Self::Plans => "plans",
            Self::Jobs => "jobs",
            Self::JobRevision => "job-revision",
        }
    }
}

/// A plan together with what else the store must hold of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PlanRow {
    /// What the caller sees.
    pub(super) record: PlanRecord,
    /// How many sandboxes it has: one that vanished is noticed.
    pub(super) sandboxes: u64,
    /// True if there is a decision.
    pub(super) decided: bool,
    /// True if there is a receipt.
    pub(super) received: bool,
}

/// The rows of a store, inside one transaction.
pub(super) trait Rows {
    /// The file, for errors.
    fn file(&self) -> &Path;
    fn counter(&mut self, counter: Counter) -> Result<u64, JournalError>;
    fn set_counter(&mut self, counter: Counter, value: u64) -> Result<(), JournalError>;
    fn plan(&mut self, plan: &PlanId) -> Result<Option<PlanRow>, JournalError>;
    fn put_plan(&mut self, row: &PlanRow) -> Result<(), JournalError>;
    /// True if it replaced a sandbox of that name.
    fn put_sandbox(&mut self, plan: &PlanId, sandbox: &SandboxRecord)
    -> Result<bool, JournalError>;
    /// True if there was one.
    fn remove_sandbox(&mut self, plan: &PlanId, name: &ResourceName) -> Result<bool, JournalError>;
    fn put_decision(&mut self, decision: &Decision) -> Result<(), JournalError>;
    fn remove_decision(&mut self, plan: &PlanId) -> Result<(), JournalError>;
    fn put_receipt(&mut self, plan: &PlanId, receipt: &str) -> Result<(), JournalError>;
    fn append(&mut self, entry: &Entry) -> Result<(), JournalError>;
    /// Removes the plan and everything that is filed under it.
    fn remove_plan(&mut self, plan: &PlanId) -> Result<(), JournalError>;
    fn job(&mut self, job: &JobId) -> Result<Option<JobRow>, JournalError>;
    fn put_job(&mut self, row: &JobRow) -> Result<(), JournalError>;
    /// Over the line that has its slot.
    fn put_line(&mut self, line: &LineRow) -> Result<(), JournalError>;
    /// Removes the job and its log.
    fn remove_job(&mut self, row: &JobRow) -> Result<(), JournalError>;
}

/// One write.
#[derive(Debug, Clone)]
pub(super) enum Op {
    Acquire {
        plan: PlanId,
        operation: String,
        create: bool,
    },
    Enlist {
        plan: PlanId,
        epoch: Epoch,
        sandbox: SandboxRecord,
    },
    Delist {
        plan: PlanId,
        epoch: Epoch,
        name: ResourceName,
    },
    Advance {
        plan: PlanId,
        epoch: Epoch,
        state: PlanState,
        event: String,
        detail: String,
    },
    Decide(Decision),
    Finish {
        plan: PlanId,
        epoch: Epoch,
        state: PlanState,
        receipt: String,
    },
    Forget {
        plan: PlanId,
        epoch: Epoch,
    },
    Jobs(JobWork),
}

/// A refusal that is neither a failure of the store nor a fence.
#[derive(Debug)]
struct NotOver {
    plan: PlanId,
    state: PlanState,
}

impl fmt::Display for NotOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plan, state } = self;
        write!(
            f,
            "plan {plan} is {state}; only a plan that is done or aborted can be forgotten"
        )
    }
}

impl std::error::Error for NotOver {}

impl Op {
    /// Runs the write over `rows` at the time `now`.
    ///
    /// # Errors
    /// A [`JournalError`]; the caller undoes whatever was written until then. A fence or a refusal
    /// comes before the first write.
    pub(super) fn run(
        &self,
        rows: &mut dyn Rows,
        now: u64,
    ) -> Result<Option<PlanRecord>, JournalError> {
        match self {
            Self::Acquire {
                plan,
                operation,
                create,
            } => return acquire(rows, now, plan, (operation, *create)),
            Self::Enlist {
                plan,
                epoch,
                sandbox,
            } => {
                let mut held = Held::take(rows, now, plan, *epoch)?;
                if !held.rows.put_sandbox(plan, sandbox)? {
                    held.row.sandboxes += 1;
                    held.tell("enlisted", &story_of(&sandbox.name, &sandbox.kind))?;
                }
                held.put()?;
            }
            Self::Delist { plan, epoch, name } => {
                let mut held = Held::take(rows, now, plan, *epoch)?;
                if held.rows.remove_sandbox(plan, name)? {
                    held.row.sandboxes = held.row.sandboxes.saturating_sub(1);
                    held.tell("delisted", &serde_json::json!({ "name": name }).to_string())?;
                    held.put()?;
                }
            }
            Self::Advance {
                plan,
                epoch,
                state,
                event,
                detail,
            } => {
                let mut held = Held::take(rows, now, plan, *epoch)?;
                held.row.record.state = *state;
                let goes_on = matches!(state, PlanState::Open | PlanState::Sealed);
                if goes_on && held.row.decided {
                    // What was taken back is decided no more; the next attempt starts clean.
                    held.row.decided = false;
                    held.rows.remove_decision(plan)?;
                }
                held.tell(event, detail)?;
                held.put()?;
            }
            Self::Decide(decision) => {
                let mut held = Held::take(rows, now, &decision.plan, decision.epoch)?;
                held.row.record.state = decision.verdict.state();
                held.row.decided = true;
                held.rows.put_decision(decision)?;
                held.tell("decided", &verdict_story(decision))?;
                held.put()?;
            }
            Self::Finish {
                plan,
                epoch,
                state,
                receipt,
            } => {
                let mut held = Held::take(rows, now, plan, *epoch)?;
                held.row.record.state = *state;
                held.row.received = true;
                held.rows.put_receipt(plan, receipt)?;
                held.tell(state.as_str(), "")?;
                held.put()?;
            }
            Self::Forget { plan, epoch } => forget(rows, plan, *epoch)?,
            Self::Jobs(work) => work.run(&mut JobTx::new(rows, now))?,
        }
        Ok(None)
    }
}

fn story_of(name: &ResourceName, kind: &str) -> String {
    serde_json::json!({ "name": name, "kind": kind }).to_string()
}

fn verdict_story(decision: &Decision) -> String {
    serde_json::json!({
        "verdict": decision.verdict,
        "participants": decision.participants.len(),
    })
    .to_string()
}

/// A plan whose newest epoch is the caller's.
struct Held<'a> {
    rows: &'a mut dyn Rows,
    row: PlanRow,
    now: u64,
}

impl<'a> Held<'a> {
    /// The fence: reads the plan and compares its epoch, in the transaction of the write itself.
    fn take(
        rows: &'a mut dyn Rows,
        now: u64,
        plan: &PlanId,
        epoch: Epoch,
    ) -> Result<Self, JournalError> {
        let found = rows.plan(plan)?;
        let newest = match &found {
            Some(row) => row.record.epoch,
            None => Epoch(rows.counter(Counter::EpochFloor)?),
        };
        match found {
            Some(row) if newest == epoch => Ok(Self { rows, row, now }),
            _ => Err(JournalError::Fenced {
                plan: plan.clone(),
                held: epoch,
                now: newest,
            }),
        }
    }

    fn tell(&mut self, event: &str, detail: &str) -> Result<(), JournalError> {
        let record = &self.row.record;
        tell(self.rows, self.now, record, (event, detail))
    }

    /// Stores the plan with the next revision.
    fn put(mut self) -> Result<(), JournalError> {
        self.row.record.revision += 1;
        self.row.record.changed_unix_ms = self.now;
        self.rows.put_plan(&self.row)
    }
}

fn tell(
    rows: &mut dyn Rows,
    now: u64,
    record: &PlanRecord,
    (event, detail): (&str, &str),
) -> Result<(), JournalError> {
    let seq = next(rows, Counter::Sequence)?;
    rows.append(&Entry {
        seq,
        plan: record.plan.clone(),
        at_unix_ms: now,
        epoch: record.epoch,
        event: event.to_owned(),
        detail: detail.to_owned(),
    })
}

pub(super) fn next(rows: &mut dyn Rows, counter: Counter) -> Result<u64, JournalError> {
    let value = rows.counter(counter)? + 1;
    rows.set_counter(counter, value)?;
    Ok(value)
}

fn acquire(
    rows: &mut dyn Rows,
    now: u64,
    plan: &PlanId,
    (operation, create): (&str, bool),
) -> Result<Option<PlanRecord>, JournalError> {
    if let Some(mut row) = rows.plan(plan)? {
        row.record.epoch.0 += 1;
        row.record.operation = Some(operation.to_owned());
        rows.put_plan(&row)?;
        return Ok(Some(row.record));
    }
    if !create {
        return Ok(None);
    }
    let record = PlanRecord {
        plan: plan.clone(),
        state: PlanState::Open,
        epoch: Epoch(rows.counter(Counter::EpochFloor)? + 1),
        generation: next(rows, Counter::Generation)?,
        revision: 1,
        opened_unix_ms: now,
        changed_unix_ms: now,
        operation: Some(operation.to_owned()),
    };
    next(rows, Counter::Plans)?;
    tell(rows, now, &record, ("opened", ""))?;
    let row = PlanRow {
        record,
        sandboxes: 0,
        decided: false,
        received: false,
    };
    rows.put_plan(&row)?;
    Ok(Some(row.record))
}

/// Forgetting counts as a taking: the floor is above every epoch the plan ever had, so that one
/// number for the whole store is enough and nothing grows.
fn forget(rows: &mut dyn Rows, plan: &PlanId, epoch: Epoch) -> Result<(), JournalError> {
    let Some(row) = rows.plan(plan)? else {
        return Ok(());
    };
    if row.record.epoch != epoch {
        return Err(JournalError::Fenced {
            plan: plan.clone(),
            held: epoch,
            now: row.record.epoch,
        });
    }
    let state = row.record.state;
    if !state.is_terminal() {
        return Err(JournalError::Store {
            path: rows.file().to_owned(),
            action: "forget a plan",
            source: Box::new(NotOver {
                plan: plan.clone(),
                state,
            }),
        });
    }
    let floor = rows.counter(Counter::EpochFloor)?;
    rows.set_counter(Counter::EpochFloor, floor.max(row.record.epoch.0 + 1))?;
    let plans = rows.counter(Counter::Plans)?;
    rows.set_counter(Counter::Plans, plans.saturating_sub(1))?;
    rows.remove_plan(plan)
}
