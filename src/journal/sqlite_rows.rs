//! The rows of the journal file, inside one transaction of a connection.

use super::Journaled;
use super::jobs::{JobRow, LineRow};
use super::record::{Decision, Entry, SandboxRecord};
use super::rules::{Counter, PlanRow, Rows};
use super::stored::{self, CounterRow, ReceiptRow, SandboxRow, distrust, failed};
use crate::id::{JobId, PlanId, ResourceName};
use rusqlite::Connection;
use std::path::Path;

/// The rows of the file, inside one transaction of a connection.
pub(super) struct SqliteRows<'a> {
    conn: &'a Connection,
    path: &'a Path,
}

impl<'a> SqliteRows<'a> {
    pub(super) fn new(conn: &'a Connection, path: &'a Path) -> Self {
        Self { conn, path }
    }

    pub(super) fn all<S: stored::Stored>(&self, filter: &str, keys: &[&str]) -> Journaled<Vec<S>> {
        stored::all(self.conn, self.path, filter, keys)
    }

    pub(super) fn count(&self, counter: Counter) -> Journaled<u64> {
        let found: Option<CounterRow> = stored::one(self.conn, self.path, &[counter.key()])?;
        match found {
            Some(row) => Ok(row.value),
            None => Err(distrust(
                self.path,
                format!("meta {:?}: the row is gone", counter.key()),
            )),
        }
    }

    /// A row that vanished, or came from nowhere, is not a smaller or larger answer: it is damage.
    pub(super) fn expect_count(&self, table: &str, found: usize, expected: u64) -> Journaled<()> {
        if found as u64 == expected {
            return Ok(());
        }
        let what = format!("{table}: {found} rows where there should be {expected}");
        Err(distrust(self.path, what))
    }

    /// Removes every row of `table` that belongs to `plan`.
    fn remove_of(&self, table: &str, plan: &PlanId) -> Journaled<()> {
        let sql = format!("DELETE FROM {table} WHERE plan = ?");
        let run = || self.conn.prepare_cached(&sql)?.execute([plan.as_str()]);
        run()
            .map(drop)
            .map_err(|error| failed(self.path, "remove", error))
    }
}

impl Rows for SqliteRows<'_> {
    fn file(&self) -> &Path {
        self.path
    }

    fn counter(&mut self, counter: Counter) -> Journaled<u64> {
        self.count(counter)
    }

    fn set_counter(&mut self, counter: Counter, value: u64) -> Journaled<()> {
        let key = counter.key().to_owned();
        stored::put(self.conn, self.path, &CounterRow { key, value })
    }

    fn plan(&mut self, plan: &PlanId) -> Journaled<Option<PlanRow>> {
        stored::one(self.conn, self.path, &[plan.as_str()])
    }

    fn put_plan(&mut self, row: &PlanRow) -> Journaled<()> {
        stored::put(self.conn, self.path, row)
    }

    fn put_sandbox(&mut self, plan: &PlanId, sandbox: &SandboxRecord) -> Journaled<bool> {
        let keys = [plan.as_str(), sandbox.name.as_str()];
        let there: Option<SandboxRow> = stored::one(self.conn, self.path, &keys)?;
        let row = SandboxRow {
            plan: plan.clone(),
            record: sandbox.clone(),
        };
        stored::put(self.conn, self.path, &row)?;
        Ok(there.is_some())
    }

    fn remove_sandbox(&mut self, plan: &PlanId, name: &ResourceName) -> Journaled<bool> {
        let keys = [plan.as_str(), name.as_str()];
        stored::remove::<SandboxRow>(self.conn, self.path, &keys)
    }

    fn put_decision(&mut self, decision: &Decision) -> Journaled<()> {
        stored::put(self.conn, self.path, decision)
    }

    fn put_receipt(&mut self, plan: &PlanId, receipt: &str) -> Journaled<()> {
        let row = ReceiptRow {
            plan: plan.clone(),
            receipt: receipt.to_owned(),
        };
        stored::put(self.conn, self.path, &row)
    }

    fn append(&mut self, entry: &Entry) -> Journaled<()> {
        stored::put(self.conn, self.path, entry)
    }

    fn remove_decision(&mut self, plan: &PlanId) -> Journaled<()> {
        self.remove_of("decisions", plan)
    }

    fn remove_plan(&mut self, plan: &PlanId) -> Journaled<()> {
        for table in ["plans", "sandboxes", "decisions", "receipts", "log"] {
            self.remove_of(table, plan)?;
        }
        Ok(())
    }

    fn job(&mut self, job: &JobId) -> Journaled<Option<JobRow>> {
        stored::one(self.conn, self.path, &[job.as_str()])
    }

    fn put_job(&mut self, row: &JobRow) -> Journaled<()> {
        stored::put(self.conn, self.path, row)
    }

    fn put_line(&mut self, line: &LineRow) -> Journaled<()> {
        stored::put(self.conn, self.path, line)
    }

    fn remove_job(&mut self, row: &JobRow) -> Journaled<()> {
        stored::remove::<JobRow>(self.conn, self.path, &[row.job.as_str()])?;
        let sql = "DELETE FROM job_log WHERE generation = ?";
        let generation = row.generation.to_string();
        let run = || self.conn.prepare_cached(sql)?.execute([generation]);
        run()
            .map(drop)
            .map_err(|error| failed(self.path, "remove", error))
    }
}
