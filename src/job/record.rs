//! A job as callers see it, and the JSON object that holds all of it that the journal need not know.

use super::json::Json;
use crate::error::{Holder, JournalError};
use crate::id::JobId;
use crate::journal::{JobRow, LineRow};
use crate::state::JobState;
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::path::Path;

/// Most bytes of what is filed with one job: kind, result, error and the fields of the caller.
pub const RECORD_MAX_BYTES: usize = 1 << 20;

/// A job at one moment: complete, and never changed afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Job {
    /// The job.
    pub id: JobId,
    /// What its maker called it.
    pub kind: String,
    /// Where it is in its life.
    pub state: JobState,
    /// How far it is, in percent; 100 once it is completed.
    pub progress: u8,
    /// How often it was taken by an owner: 0 while it is queued, then 1, 2, ...
    pub attempt: u64,
    /// The number of its last change among the changes of all jobs of the store: it grows with each
    /// change of this job, with gaps.
    pub revision: u64,
    /// True if somebody asked the owner of this attempt to stop.
    pub cancel_requested: bool,
    /// What came out of it; there if and only if it is completed.
    pub result: Option<Json>,
    /// Why it failed; there if and only if it failed.
    pub error: Option<Json>,
    /// The newest lines of its log, oldest first; empty in a list.
    pub log: Vec<LogLine>,
    /// How many lines its log ever had.
    pub lines: u64,
    /// How many of them gave way to newer ones.
    pub dropped: u64,
    /// When it was made: milliseconds since the Unix epoch.
    pub created_unix_ms: u64,
    /// When it was changed last: milliseconds since the Unix epoch.
    pub changed_unix_ms: u64,
    /// Who took the last attempt.
    pub owner: Option<Holder>,
    /// What callers filed with it.
    pub extra: BTreeMap<String, Json>,
}

/// A line of the log of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LogLine {
    /// Its number, from 1; lines that gave way are counted too.
    pub seq: u64,
    /// The attempt during which it was written.
    pub attempt: u64,
    /// When: milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// The line, as it was given; it may hold anything but a line longer than the limit.
    pub text: String,
}

impl From<LineRow> for LogLine {
    fn from(row: LineRow) -> Self {
        Self {
            seq: row.seq,
            attempt: row.attempt,
            at_unix_ms: row.at_unix_ms,
            text: row.text,
        }
    }
}

impl Job {
    /// The job in these rows of the store `file`.
    ///
    /// # Errors
    /// [`JournalError::Corrupt`] if the record of the job is not one of ours.
    pub(super) fn of(row: JobRow, lines: Vec<LineRow>, file: &Path) -> Result<Self, JournalError> {
        let record = Record::parse(&row, file)?;
        let dropped = row.lines - row.kept();
        Ok(Self {
            id: row.job,
            kind: record.kind,
            state: row.state,
            progress: u8::try_from(row.progress).unwrap_or(100),
            attempt: row.attempt,
            revision: row.revision,
            cancel_requested: row.cancel,
            result: record.result,
            error: record.error,
            log: lines.into_iter().map(LogLine::from).collect(),
            lines: row.lines,
            dropped,
            created_unix_ms: row.created_unix_ms,
            changed_unix_ms: row.changed_unix_ms,
            owner: record.owner.and_then(|owner| owner.parse().ok()),
            extra: record.extra,
        })
    }
}

/// The JSON object of a row, taken apart. Fields that this planbox does not know are kept.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) kind: String,
    pub(super) owner: Option<Json>,
    pub(super) result: Option<Json>,
    pub(super) error: Option<Json>,
    pub(super) extra: BTreeMap<String, Json>,
    unknown: BTreeMap<String, Json>,
}

impl Record {
    /// The record of a job that is new.
    pub(super) fn new(kind: String, extra: BTreeMap<String, Json>) -> Self {
        Self {
            kind,
            extra,
            ..Self::default()
        }
    }

    /// Reads what [`Record::to_text`] wrote, in this version or in a newer one.
    ///
    /// # Errors
    /// [`JournalError::Corrupt`].
    pub(super) fn parse(row: &JobRow, file: &Path) -> Result<Self, JournalError> {
        let broken = |error: serde_json::Error| JournalError::Corrupt {
            path: file.to_owned(),
            what: format!("jobs {:?}: {error}", row.job.as_str()),
        };
        let fields: BTreeMap<String, Box<RawValue>> =
            serde_json::from_str(&row.record).map_err(broken)?;
        let mut unknown: BTreeMap<String, Json> = fields
            .into_iter()
            .map(|(name, value)| (name, Json::of_raw(&value)))
            .collect();
        let kind = unknown.remove("kind");
        let extra = unknown.remove("extra");
        Ok(Self {
            kind: kind.map_or_else(|| Ok(String::new()), |kind| kind.parse().map_err(broken))?,
            owner: unknown.remove("owner"),
            result: unknown.remove("result"),
            error: unknown.remove("error"),
            extra: extra.map_or_else(
                || Ok(BTreeMap::new()),
                |extra| extra.parse().map_err(broken),
            )?,
            unknown,
        })
    }

    /// The object, as it is stored.
    pub(super) fn to_text(&self) -> Result<String, serde_json::Error> {
        let mut fields = self.unknown.clone();
        fields.insert("kind".to_owned(), Json::of(&self.kind)?);
        if !self.extra.is_empty() {
            fields.insert("extra".to_owned(), Json::of(&self.extra)?);
        }
        let optional = [
            ("owner", &self.owner),
            ("result", &self.result),
            ("error", &self.error),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                fields.insert(name.to_owned(), value.clone());
            }
        }
        serde_json::to_string(&fields)
    }
}
