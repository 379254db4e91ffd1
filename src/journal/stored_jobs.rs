//! Jobs as rows of their tables.

use super::jobs::{JobRow, LineRow};
use super::stored::{Stored, Unreadable, flag, number, text, unsigned, word};
use crate::id::JobId;
use crate::state::JobState;
use rusqlite::Row;
use rusqlite::types::Value;

impl Stored for JobRow {
    const TABLE: &'static str = "jobs";
    const COLUMNS: &'static [&'static str] = &[
        "job",
        "generation",
        "state",
        "attempt",
        "progress",
        "cancel",
        "revision",
        "lines",
        "created_unix_ms",
        "changed_unix_ms",
        "record",
    ];

    fn values(&self) -> Vec<Value> {
        vec![
            text(self.job.as_str()),
            number(self.generation),
            text(self.state.as_str()),
            number(self.attempt),
            number(self.progress),
            number(self.cancel.into()),
            number(self.revision),
            number(self.lines),
            number(self.created_unix_ms),
            number(self.changed_unix_ms),
            text(&self.record),
        ]
    }

    fn read(row: &Row<'_>) -> Result<Self, Unreadable> {
        Ok(Self {
            job: JobId::new(row.get::<_, String>(0)?)?,
            generation: unsigned(row, 1)?,
            state: word(row, 2, JobState::parse)?,
            attempt: unsigned(row, 3)?,
            progress: unsigned(row, 4)?,
            cancel: flag(row, 5)?,
            revision: unsigned(row, 6)?,
            lines: unsigned(row, 7)?,
            created_unix_ms: unsigned(row, 8)?,
            changed_unix_ms: unsigned(row, 9)?,
            record: row.get(10)?,
        })
    }
}

impl Stored for LineRow {
    const TABLE: &'static str = "job_log";
    const COLUMNS: &'static [&'static str] =
        &["generation", "slot", "seq", "attempt", "at_unix_ms", "line"];
    const KEY: usize = 2;

    fn values(&self) -> Vec<Value> {
        vec![
            number(self.generation),
            number(self.slot()),
            number(self.seq),
            number(self.attempt),
            number(self.at_unix_ms),
            text(&self.text),
        ]
    }

    fn read(row: &Row<'_>) -> Result<Self, Unreadable> {
        Ok(Self {
            generation: unsigned(row, 0)?,
            seq: unsigned(row, 2)?,
            attempt: unsigned(row, 3)?,
            at_unix_ms: unsigned(row, 4)?,
            text: row.get(5)?,
        })
    }
}
