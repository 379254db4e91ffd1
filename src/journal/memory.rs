//! The journal for the life of a process.

use super::jobs::{JobChanges, JobJournal, JobRow, JobWork, LineRow};
use super::record::{Decision, Durability, Entry, PlanRecord, SandboxRecord};
use super::rules::{Counter, Op, PlanRow, Rows};
use super::{JournalStore, Journaled};
use crate::clock;
use crate::id::{Epoch, JobId, PlanId, ResourceName};
use crate::state::PlanState;
use crate::sync::{Mutex, Rank, witness};
use std::collections::BTreeMap;
use std::path::Path;

/// A journal in memory: the same rules as the durable one, nothing survives the process.
#[derive(Debug)]
pub(crate) struct MemoryJournal {
    /// One leaf latch over everything; nothing is taken and nothing blocks under it.
    tables: Mutex<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    counters: [u64; Counter::ALL.len()],
    plans: BTreeMap<PlanId, PlanRow>,
    sandboxes: BTreeMap<PlanId, BTreeMap<ResourceName, SandboxRecord>>,
    decisions: BTreeMap<PlanId, Decision>,
    receipts: BTreeMap<PlanId, String>,
    log: Vec<Entry>,
    jobs: BTreeMap<JobId, JobRow>,
    /// By revision, as the index of the durable store.
    changes: BTreeMap<u64, JobId>,
    /// By generation, then by slot.
    lines: BTreeMap<u64, BTreeMap<u64, LineRow>>,
    closed: bool,
}

impl Default for MemoryJournal {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryJournal {
    /// An empty journal.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self {
            tables: Mutex::new(Rank::Leaf, "memory journal", Tables::default()),
        }
    }

    /// Runs one write; in memory every write is as durable as it can be.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the durable store consumes it"
    )]
    fn write(&self, op: Op, _durability: Durability) -> Journaled<Option<PlanRecord>> {
        let now = clock::now_unix_ms();
        witness::about_to_block("journal");
        let mut tables = self.tables.lock();
        if tables.closed {
            return Err(super::closed(tables.file()));
        }
        op.run(&mut *tables, now)
    }
}

/// For a writer that has gathered what several callers want.
#[cfg(debug_assertions)]
impl MemoryJournal {
    /// Runs all of them at once. A refusal comes before the first write of its work.
    pub(super) fn transact<'a>(
        &self,
        ops: impl Iterator<Item = &'a Op>,
        now: u64,
    ) -> Vec<Journaled<Option<PlanRecord>>> {
        let mut tables = self.tables.lock();
        ops.map(|op| op.run(&mut *tables, now)).collect()
    }

    /// The newest epoch of a plan, 0 if there is none.
    pub(super) fn epoch_of(&self, plan: &PlanId) -> u64 {
        let tables = self.tables.lock();
        let row = tables.plans.get(plan);
        row.map_or(0, |row| row.record.epoch.0)
    }
}

impl Tables {
    fn slot(&mut self, counter: Counter) -> &mut u64 {
        let [generation, floor, sequence, plans, jobs, changes] = &mut self.counters;
        match counter {
            Counter::Generation => generation,
            Counter::EpochFloor => floor,
            Counter::Sequence => sequence,
            Counter::Plans => plans,
            Counter::Jobs => jobs,
            Counter::JobRevision => changes,
        }
    }
}

impl Rows for Tables {
    fn file(&self) -> &Path {
        Path::new(":memory:")
    }

    fn counter(&mut self, counter: Counter) -> Journaled<u64> {
        Ok(*self.slot(counter))
    }

    fn set_counter(&mut self, counter: Counter, value: u64) -> Journaled<()> {
        *self.slot(counter) = value;
        Ok(())
    }

    fn plan(&mut self, plan: &PlanId) -> Journaled<Option<PlanRow>> {
        Ok(self.plans.get(plan).cloned())
    }

    fn put_plan(&mut self, row: &PlanRow) -> Journaled<()> {
        self.plans.insert(row.record.plan.clone(), row.clone());
        Ok(())
    }

    fn put_sandbox(&mut self, plan: &PlanId, sandbox: &SandboxRecord) -> Journaled<bool> {
        let sandboxes = self.sandboxes.entry(plan.clone()).or_default();
        Ok(sandboxes
            .insert(sandbox.name.clone(), sandbox.clone())
            .is_some())
    }

    fn remove_sandbox(&mut self, plan: &PlanId, name: &ResourceName) -> Journaled<bool> {
        let sandboxes = self.sandboxes.get_mut(plan);
        Ok(sandboxes.is_some_and(|sandboxes| sandboxes.remove(name).is_some()))
    }

    fn put_decision(&mut self, decision: &Decision) -> Journaled<()> {
        self.decisions
            .insert(decision.plan.clone(), decision.clone());
        Ok(())
    }

    fn put_receipt(&mut self, plan: &PlanId, receipt: &str) -> Journaled<()> {
        self.receipts.insert(plan.clone(), receipt.to_owned());
        Ok(())
    }

    fn append(&mut self, entry: &Entry) -> Journaled<()> {
        self.log.push(entry.clone());
        Ok(())
    }

    fn remove_decision(&mut self, plan: &PlanId) -> Journaled<()> {
        self.decisions.remove(plan);
        Ok(())
    }

    fn remove_plan(&mut self, plan: &PlanId) -> Journaled<()> {
        self.plans.remove(plan);
        self.sandboxes.remove(plan);
        self.decisions.remove(plan);
        self.receipts.remove(plan);
        self.log.retain(|entry| entry.plan != *plan);
        Ok(())
    }

    fn job(&mut self, job: &JobId) -> Journaled<Option<JobRow>> {
        Ok(self.jobs.get(job).cloned())
    }

    fn put_job(&mut self, row: &JobRow) -> Journaled<()> {
        if let Some(old) = self.jobs.insert(row.job.clone(), row.clone()) {
            self.changes.remove(&old.revision);
        }
        self.changes.insert(row.revision, row.job.clone());
        Ok(())
    }

    fn put_line(&mut self, line: &LineRow) -> Journaled<()> {
        let lines = self.lines.entry(line.generation).or_default();
        lines.insert(line.slot(), line.clone());
        Ok(())
    }

    fn remove_job(&mut self, row: &JobRow) -> Journaled<()> {
        self.jobs.remove(&row.job);
        self.changes.remove(&row.revision);
        self.lines.remove(&row.generation);
        Ok(())
    }
}

impl JournalStore for MemoryJournal {
    journal_writes!();

    fn plan(&self, plan: &PlanId) -> Journaled<Option<PlanRecord>> {
        let tables = self.tables.lock();
        Ok(tables.plans.get(plan).map(|row| row.record.clone()))
    }

    fn plans(&self) -> Journaled<Vec<PlanRecord>> {
        let tables = self.tables.lock();
        Ok(tables
            .plans
            .values()
            .map(|row| row.record.clone())
            .collect())
    }

    fn sandboxes(&self, plan: &PlanId) -> Journaled<Vec<SandboxRecord>> {
        let tables = self.tables.lock();
        let sandboxes = tables.sandboxes.get(plan);
        Ok(sandboxes.map_or_else(Vec::new, |all| all.values().cloned().collect()))
    }

    fn decision(&self, plan: &PlanId) -> Journaled<Option<Decision>> {
        Ok(self.tables.lock().decisions.get(plan).cloned())
    }

    fn receipt(&self, plan: &PlanId) -> Journaled<Option<String>> {
        Ok(self.tables.lock().receipts.get(plan).cloned())
    }

    fn log(&self, plan: Option<&PlanId>) -> Journaled<Vec<Entry>> {
        let tables = self.tables.lock();
        let wanted = |entry: &&Entry| plan.is_none_or(|plan| entry.plan == *plan);
        Ok(tables.log.iter().filter(wanted).cloned().collect())
    }

    fn check(&self) -> Journaled<Vec<String>> {
        Ok(Vec::new())
    }

    fn revive(&self) -> Journaled<()> {
        Ok(())
    }

    fn close(&self) {
        self.tables.lock().closed = true;
    }
}

impl JobJournal for MemoryJournal {
    fn work(&self, work: JobWork, durability: Durability) -> Journaled<()> {
        self.write(Op::Jobs(work), durability).map(drop)
    }

    fn job(&self, job: &JobId) -> Journaled<Option<JobRow>> {
        Ok(self.tables.lock().jobs.get(job).cloned())
    }

    fn job_and_log(&self, job: &JobId, after: u64) -> Journaled<Option<(JobRow, Vec<LineRow>)>> {
        let tables = self.tables.lock();
        let Some(row) = tables.jobs.get(job) else {
            return Ok(None);
        };
        let kept = tables.lines.get(&row.generation);
        let mut lines: Vec<LineRow> = kept
            .into_iter()
            .flat_map(BTreeMap::values)
            .filter(|line| line.seq > after)
            .cloned()
            .collect();
        lines.sort_unstable_by_key(|line| line.seq);
        Ok(Some((row.clone(), lines)))
    }

    fn jobs(&self) -> Journaled<Vec<JobRow>> {
        Ok(self.tables.lock().jobs.values().cloned().collect())
    }

    fn job_changes(&self, since: u64, most: usize) -> Journaled<JobChanges> {
        let mut tables = self.tables.lock();
        let newest = *tables.slot(Counter::JobRevision);
        let changed = tables.changes.range(since.saturating_add(1)..);
        let jobs = changed
            .filter_map(|(_, job)| tables.jobs.get(job).cloned())
            .take(most)
            .collect();
        Ok(JobChanges { newest, jobs })
    }
}
