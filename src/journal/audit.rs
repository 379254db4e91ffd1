//! The doctor's look at the journal: every record, every count, every setting.

use super::jobs::{JobRow, LineRow};
use super::record::{Decision, Entry};
use super::rules::{Counter, PlanRow};
use super::schema;
use super::stored::{self, CounterRow, ReceiptRow, SandboxRow, Stored, failed};
use crate::error::JournalError;
use crate::id::PlanId;
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// What was found of one plan.
#[derive(Default)]
struct Found {
    sandboxes: u64,
    decisions: u64,
    receipts: u64,
}

/// Says what is wrong, one sentence each; an empty answer is a clean bill.
///
/// # Errors
/// [`JournalError::Store`] if the file cannot be read at all.
pub(super) fn check(conn: &Connection, path: &Path) -> Result<Vec<String>, JournalError> {
    let snapshot = conn
        .unchecked_transaction()
        .map_err(|error| failed(path, "read", error))?;
    let mut audit = Audit {
        conn,
        path,
        said: Vec::new(),
    };
    audit.file();
    audit.pages();
    audit.records();
    audit.jobs();
    let Audit { said, .. } = audit;
    snapshot
        .finish()
        .map_err(|error| failed(path, "read", error))?;
    Ok(said)
}

struct Audit<'a> {
    conn: &'a Connection,
    path: &'a Path,
    said: Vec<String>,
}

impl Audit<'_> {
    fn file(&mut self) {
        match self.path.symlink_metadata() {
            Ok(found) if found.permissions().mode() & 0o077 != 0 => {
                let mode = found.permissions().mode() & 0o777;
                self.said
                    .push(format!("others may use the journal: its mode is {mode:o}"));
            }
            Ok(_) => {}
            Err(error) => self.said.push(format!("the journal is gone: {error}")),
        }
        match schema::settings(self.conn, self.path) {
            Ok(complaints) => self.said.extend(complaints),
            Err(error) => self.said.push(error.to_string()),
        }
    }

    fn pages(&mut self) {
        let run = || {
            let mut statement = self.conn.prepare("PRAGMA integrity_check")?;
            let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
            rows.collect::<rusqlite::Result<Vec<String>>>()
        };
        match run() {
            Ok(answers) => {
                let bad = answers.into_iter().filter(|answer| answer != "ok");
                self.said.extend(bad);
            }
            Err(error) => self
                .said
                .push(failed(self.path, "be checked", error).to_string()),
        }
    }

    fn records(&mut self) {
        let mut found: BTreeMap<PlanId, Found> = BTreeMap::new();
        for row in self.good::<SandboxRow>() {
            found.entry(row.plan).or_default().sandboxes += 1;
        }
        for row in self.good::<Decision>() {
            found.entry(row.plan).or_default().decisions += 1;
        }
        for row in self.good::<ReceiptRow>() {
            found.entry(row.plan).or_default().receipts += 1;
        }
        let plans = self.good::<PlanRow>();
        let story = self.good::<Entry>();
        self.counters(plans.len(), story.last());
        for row in plans {
            let plan = &row.record.plan;
            let there = found.remove(plan).unwrap_or_default();
            self.compare(plan, "sandboxes", there.sandboxes, row.sandboxes);
            self.compare(plan, "decisions", there.decisions, row.decided.into());
            self.compare(plan, "receipts", there.receipts, row.received.into());
        }
        for plan in found.keys() {
            self.said.push(format!(
                "there are records of plan {plan}, but not the plan"
            ));
        }
    }

    fn counters(&mut self, plans: usize, last: Option<&Entry>) {
        let rows = self.good::<CounterRow>();
        let value = |counter: Counter| {
            let row = rows.iter().find(|row| row.key == counter.key());
            row.map(|row| row.value)
        };
        for counter in Counter::ALL {
            if value(counter).is_none() {
                self.said
                    .push(format!("meta {:?}: the row is gone", counter.key()));
            }
        }
        if value(Counter::Plans).is_some_and(|expected| expected != plans as u64) {
            self.said.push(format!(
                "plans: {plans} rows, which is not what the store counted"
            ));
        }
        let newest = last.map_or(0, |entry| entry.seq);
        if value(Counter::Sequence).is_some_and(|sequence| sequence < newest) {
            self.said
                .push(format!("log {newest}: it comes after the end of the story"));
        }
    }

    /// The jobs: their number, their revisions, and the lines of each, one job at a time.
    fn jobs(&mut self) {
        let jobs = self.good::<JobRow>();
        let newest = jobs.iter().map(|row| row.revision).max().unwrap_or(0);
        self.counted("jobs", Counter::Jobs, |counted| {
            counted == jobs.len() as u64
        });
        self.counted("jobs", Counter::JobRevision, |counted| counted >= newest);
        let mut total = 0;
        for row in jobs {
            let key = row.generation.to_string();
            let lines: Vec<LineRow> = self.good_where("WHERE generation = ?", &[&key]);
            let (there, expected) = (lines.len() as u64, row.kept());
            total += there;
            if there != expected {
                let job = &row.job;
                self.said.push(format!(
                    "job {job}: {there} trusted rows in job_log where there should be {expected}"
                ));
            }
        }
        let sql = "SELECT count(*) FROM job_log";
        match self.conn.query_row(sql, [], |row| row.get::<_, i64>(0)) {
            Ok(there) if there.cast_unsigned() == total => {}
            Ok(there) => self.said.push(format!(
                "job_log: {there} rows, of which {total} can be trusted and belong to a job"
            )),
            Err(error) => self
                .said
                .push(failed(self.path, "be checked", error).to_string()),
        }
    }

    fn counted(&mut self, table: &str, counter: Counter, fits: impl Fn(u64) -> bool) {
        let row: Result<Option<CounterRow>, _> =
            stored::one(self.conn, self.path, &[counter.key()]);
        if let Ok(Some(row)) = row
            && !fits(row.value)
        {
            let (key, value) = (counter.key(), row.value);
            self.said.push(format!(
                "{table}: the store counted {value} as {key}, which does not fit"
            ));
        }
    }

    fn compare(&mut self, plan: &PlanId, table: &str, there: u64, expected: u64) {
        if there != expected {
            self.said.push(format!(
                "plan {plan}: {there} trusted rows in {table} where there should be {expected}"
            ));
        }
    }

    /// The records that can be trusted, in the order of their keys; the others are named.
    fn good<S: Stored>(&mut self) -> Vec<S> {
        let key = S::COLUMNS.first().unwrap_or(&"rowid");
        self.good_where(&format!("ORDER BY {key}"), &[])
    }

    fn good_where<S: Stored>(&mut self, filter: &str, keys: &[&str]) -> Vec<S> {
        let scanned = stored::scan(self.conn, self.path, filter, keys);
        let mut good = Vec::new();
        match scanned {
            Ok(rows) => {
                for row in rows {
                    match row {
                        Ok(record) => good.push(record),
                        Err(error) => self.said.push(error.to_string()),
                    }
                }
            }
            Err(error) => self.said.push(error.to_string()),
        }
        good
    }
}
