//! What is asked of a job: a new one, or a change of several fields at once.

use super::json::{Json, is_about_a_secret};
use crate::error::JobError;
use crate::id::{ID_MAX_BYTES, JobId};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Longest line of a log, in bytes of UTF-8; the rest of a longer one is cut off and replaced by
/// `...`.
pub const LOG_LINE_MAX_BYTES: usize = 4_096;

/// Most lines in one patch.
pub const PATCH_LINES_MAX: usize = 100;

/// How a line ends that was cut.
const CUT: &str = "...";

type Value = Result<Json, serde_json::Error>;

/// A job that is to be made.
#[derive(Debug)]
#[must_use = "it is made by JobStore::create"]
pub struct NewJob {
    kind: String,
    extra: BTreeMap<String, Value>,
}

impl NewJob {
    /// A job of this kind: a word of the caller's choice, 1 to 200 bytes of printable text.
    pub fn new(kind: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            extra: BTreeMap::new(),
        }
    }

    /// Files `value` under `field`. A value that cannot be stored fails the creation.
    pub fn set<T: Serialize + ?Sized>(mut self, field: impl Into<String>, value: &T) -> Self {
        self.extra.insert(field.into(), Json::of(value));
        self
    }

    pub(super) fn check(self, job: &JobId) -> Result<(String, BTreeMap<String, Json>), JobError> {
        let Self { kind, extra } = self;
        check_name(job, "kind", &kind)?;
        Ok((kind, check_values(job, extra)?))
    }
}

/// A change of several fields of a job, all of it in one durable step.
///
/// ```
/// # use planbox::job::JobPatch;
/// let patch = JobPatch::new()
///     .progress(40)
///     .set("stage", "encode")
///     .log("pass 1 is done");
/// assert!(format!("{patch:?}").contains("encode"));
/// ```
#[derive(Debug, Default)]
#[must_use = "it is carried out by JobStore::update"]
pub struct JobPatch {
    progress: Option<i64>,
    set: BTreeMap<String, Value>,
    unset: BTreeSet<String>,
    lines: Vec<String>,
}

impl JobPatch {
    /// A patch that changes nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// How far the job is, in percent: clamped to 0..=100, and never less than before within one
    /// attempt.
    pub fn progress(mut self, percent: i64) -> Self {
        self.progress = Some(percent);
        self
    }

    /// Files `value` under `field`, in place of what was there. A value that cannot be stored fails
    /// the whole patch.
    pub fn set<T: Serialize + ?Sized>(mut self, field: impl Into<String>, value: &T) -> Self {
        let field = field.into();
        self.unset.remove(&field);
        self.set.insert(field, Json::of(value));
        self
    }

    /// Removes what is filed under `field`.
    pub fn unset(mut self, field: impl Into<String>) -> Self {
        let field = field.into();
        self.set.remove(&field);
        self.unset.insert(field);
        self
    }

    /// Adds a line to the log; see [`LOG_LINE_MAX_BYTES`].
    pub fn log(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }

    pub(super) fn check(self, job: &JobId) -> Result<Change, JobError> {
        let Self {
            progress,
            set,
            unset,
            lines,
        } = self;
        if lines.len() > PATCH_LINES_MAX {
            let reason = format!("{} lines are more than {PATCH_LINES_MAX}", lines.len());
            return Err(unstorable(job, "log", reason));
        }
        Ok(Change {
            progress: progress.map(percent),
            set: check_values(job, set)?,
            unset,
            lines: lines.into_iter().map(cut).collect(),
        })
    }
}

/// A patch that was found fit to be stored.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub(super) progress: Option<u64>,
    pub(super) set: BTreeMap<String, Json>,
    pub(super) unset: BTreeSet<String>,
    pub(super) lines: Vec<String>,
}

impl Change {
    /// One line, and how far the job is now.
    pub(super) fn line(line: &str, progress: Option<i64>) -> Self {
        Self {
            progress: progress.map(percent),
            lines: vec![cut(line.to_owned())],
            ..Self::default()
        }
    }

    /// True if it is about what the present attempt does, not only about what is filed.
    pub(super) fn is_of_the_attempt(&self) -> bool {
        self.progress.is_some() || !self.lines.is_empty()
    }

    /// True if it changes what is filed.
    pub(super) fn is_of_the_record(&self) -> bool {
        !(self.set.is_empty() && self.unset.is_empty())
    }
}

fn percent(wanted: i64) -> u64 {
    wanted.clamp(0, 100).unsigned_abs()
}

/// The line, at most [`LOG_LINE_MAX_BYTES`] long.
fn cut(mut line: String) -> String {
    if line.len() > LOG_LINE_MAX_BYTES {
        let longest = LOG_LINE_MAX_BYTES - CUT.len();
        let fits = |end: &usize| line.is_char_boundary(*end);
        line.truncate((0..=longest).rev().find(fits).unwrap_or(0));
        line.push_str(CUT);
    }
    line
}

fn check_name(job: &JobId, field: &str, name: &str) -> Result<(), JobError> {
    let fits = (1..=ID_MAX_BYTES).contains(&name.len()) && !name.chars().any(char::is_control);
    if fits {
        return Ok(());
    }
    let reason = format!("it takes 1 to {ID_MAX_BYTES} bytes of printable text");
    Err(unstorable(job, field, reason))
}

fn check_values(
    job: &JobId,
    values: BTreeMap<String, Value>,
) -> Result<BTreeMap<String, Json>, JobError> {
    let check = |(field, value): (String, Value)| {
        check_name(job, &field, &field)?;
        let value = value.map_err(|error| refused(job, &field, &error))?;
        Ok((field, value))
    };
    values.into_iter().map(check).collect()
}

/// `value` as JSON that may be stored in the place named `field`.
pub(super) fn json<T: Serialize + ?Sized>(
    job: &JobId,
    field: &str,
    value: &T,
) -> Result<Json, JobError> {
    Json::of(value).map_err(|error| refused(job, field, &error))
}

fn refused(job: &JobId, field: &str, error: &serde_json::Error) -> JobError {
    if is_about_a_secret(error) {
        return JobError::Secret {
            job: job.clone(),
            field: field.to_owned(),
        };
    }
    unstorable(job, field, error.to_string())
}

pub(super) fn unstorable(job: &JobId, field: &str, reason: String) -> JobError {
    JobError::Unstorable {
        job: job.clone(),
        field: field.to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percents_are_clamped_and_lines_are_cut_between_characters() {
        assert_eq!(
            [percent(-1), percent(0), percent(100), percent(i64::MAX)],
            [0, 0, 100, 100]
        );
        let fits = "x".repeat(LOG_LINE_MAX_BYTES);
        assert_eq!(cut(fits.clone()), fits);
        let long = cut("\u{e9}".repeat(LOG_LINE_MAX_BYTES));
        assert!(long.len() <= LOG_LINE_MAX_BYTES && long.ends_with("\u{e9}..."));
    }
}
