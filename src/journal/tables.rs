//! The tables of the journal file, format by format, and the way from one format to the next.

use super::rules::Counter;
use super::schema::{judge, verify_schema};
use super::stored::{self, CounterRow, failed};
use crate::error::JournalError;
use rusqlite::Connection;
use std::path::Path;

/// The format this code reads and writes.
pub(super) const USER_VERSION: i64 = 2;

/// The oldest format that this code brings to the present one.
pub(super) const OLDEST_VERSION: i64 = 1;

/// Something in a schema: kind, name and text.
pub(super) type Object = (&'static str, &'static str, &'static str);

const JOBS_BY_REVISION: Object = (
    "index",
    "jobs_by_revision",
    "CREATE INDEX jobs_by_revision ON jobs (revision)",
);

const JOB_LOG: Object = (
    "table",
    "job_log",
    "CREATE TABLE job_log (generation INTEGER NOT NULL, slot INTEGER NOT NULL, \
     seq INTEGER NOT NULL, attempt INTEGER NOT NULL, at_unix_ms INTEGER NOT NULL, \
     line TEXT NOT NULL, checksum BLOB NOT NULL, \
     PRIMARY KEY (generation, slot)) STRICT, WITHOUT ROWID",
);

const JOBS: Object = (
    "table",
    "jobs",
    "CREATE TABLE jobs (job TEXT NOT NULL PRIMARY KEY, generation INTEGER NOT NULL, \
     state TEXT NOT NULL, attempt INTEGER NOT NULL, progress INTEGER NOT NULL, \
     cancel INTEGER NOT NULL, revision INTEGER NOT NULL, lines INTEGER NOT NULL, \
     created_unix_ms INTEGER NOT NULL, changed_unix_ms INTEGER NOT NULL, record TEXT NOT NULL, \
     checksum BLOB NOT NULL) STRICT",
);

/// What format 2 has and format 1 had not: the jobs. In the order in which they are made.
const SINCE_2: [Object; 3] = [JOBS, JOB_LOG, JOBS_BY_REVISION];

/// The counters that came with format 2.
const COUNTERS_SINCE_2: [Counter; 2] = [Counter::Jobs, Counter::JobRevision];

/// Everything in the schema: kind, name and text. A file with more, less or other is not ours.
pub(super) const SCHEMA: [Object; 10] = [
    JOBS_BY_REVISION,
    (
        "index",
        "log_by_plan",
        "CREATE INDEX log_by_plan ON log (plan, seq)",
    ),
    (
        "table",
        "decisions",
        "CREATE TABLE decisions (plan TEXT NOT NULL PRIMARY KEY, epoch INTEGER NOT NULL, \
         verdict TEXT NOT NULL, boot TEXT NOT NULL, sealed INTEGER NOT NULL, participants TEXT NOT NULL, receipt TEXT NOT NULL, at_unix_ms INTEGER NOT NULL, \
         checksum BLOB NOT NULL) STRICT",
    ),
    JOB_LOG,
    JOBS,
    (
        "table",
        "log",
        "CREATE TABLE log (seq INTEGER PRIMARY KEY, plan TEXT NOT NULL, \
         at_unix_ms INTEGER NOT NULL, epoch INTEGER NOT NULL, event TEXT NOT NULL, \
         detail TEXT NOT NULL, checksum BLOB NOT NULL) STRICT",
    ),
    (
        "table",
        "meta",
        "CREATE TABLE meta (key TEXT NOT NULL PRIMARY KEY, value INTEGER NOT NULL, \
         checksum BLOB NOT NULL) STRICT, WITHOUT ROWID",
    ),
    (
        "table",
        "plans",
        "CREATE TABLE plans (plan TEXT NOT NULL PRIMARY KEY, state TEXT NOT NULL, \
         epoch INTEGER NOT NULL, generation INTEGER NOT NULL, revision INTEGER NOT NULL, \
         opened_unix_ms INTEGER NOT NULL, changed_unix_ms INTEGER NOT NULL, operation TEXT, \
         sandboxes INTEGER NOT NULL, decided INTEGER NOT NULL, received INTEGER NOT NULL, \
         checksum BLOB NOT NULL) STRICT, WITHOUT ROWID",
    ),
    (
        "table",
        "receipts",
        "CREATE TABLE receipts (plan TEXT NOT NULL PRIMARY KEY, receipt TEXT NOT NULL, \
         checksum BLOB NOT NULL) STRICT",
    ),
    (
        "table",
        "sandboxes",
        "CREATE TABLE sandboxes (plan TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL, \
         key TEXT NOT NULL, token TEXT NOT NULL, record TEXT NOT NULL, \
         volatile INTEGER NOT NULL, owner TEXT NOT NULL, checksum BLOB NOT NULL, \
         PRIMARY KEY (plan, name)) STRICT",
    ),
];

/// Brings a journal of an older format to the present one, in one transaction. Nothing happens to
/// one that is there already: another process may have been faster.
///
/// # Errors
/// [`JournalError::Corrupt`] if its tables are not those of its format, [`JournalError::Newer`],
/// [`JournalError::Store`]; the file is as it was.
pub(super) fn migrate(conn: &Connection, path: &Path) -> Result<(), JournalError> {
    // Without the turn to write, which somebody may have for long.
    if number(conn, path, "user_version")? == USER_VERSION {
        return Ok(());
    }
    let busy = |error| failed(path, "take the turn to change its format", error);
    conn.execute_batch("BEGIN IMMEDIATE").map_err(busy)?;
    let outcome = change_format(conn, path);
    let end = if outcome.is_ok() {
        "COMMIT"
    } else {
        "ROLLBACK"
    };
    let ended = conn.execute_batch(end);
    outcome.and(ended.map_err(|error| failed(path, "change its format", error)))
}

fn number(conn: &Connection, path: &Path, name: &str) -> Result<i64, JournalError> {
    let value = conn.pragma_query_value(None, name, |row| row.get(0));
    value.map_err(|error| failed(path, "read", error))
}

fn change_format(conn: &Connection, path: &Path) -> Result<(), JournalError> {
    let version = number(conn, path, "user_version")?;
    let application = number(conn, path, "application_id")?;
    judge(path, application, (version, OLDEST_VERSION))?;
    if version == USER_VERSION {
        return Ok(());
    }
    let old: Vec<Object> = SCHEMA
        .into_iter()
        .filter(|object| !SINCE_2.contains(object))
        .collect();
    verify_schema(conn, path, &old)?;
    let write = |error| failed(path, "change its format", error);
    for (_, _, sql) in SINCE_2 {
        conn.execute_batch(sql).map_err(write)?;
    }
    for counter in COUNTERS_SINCE_2 {
        let key = counter.key().to_owned();
        stored::put(conn, path, &CounterRow { key, value: 0 })?;
    }
    conn.pragma_update(None, "user_version", USER_VERSION)
        .map_err(write)
}
