//! Our own table in the real database: which plans are committed there, and not yet forgotten.
//!
//! A row is written in the same transaction as the changes, so it tells after a crash whether they
//! are in. The table is plain SQL of old, so that every SQLite that can read the database can still
//! read it; it is made with the first row and removed with the last.

use super::cell::shown_text;
use super::schema::has;
use crate::clock;
use crate::error::{Fault, ParticipantError};
use crate::sandbox::{Outcome, Stamp};
use rusqlite::{Connection, OptionalExtension as _, params};
use std::path::Path;

/// Name of the table. It is in no difference.
pub(super) const TABLE: &str = "planbox_marker";

const CREATE: &str = "CREATE TABLE planbox_marker (token TEXT NOT NULL PRIMARY KEY, \
                      plan TEXT NOT NULL, epoch INTEGER NOT NULL, at INTEGER NOT NULL)";

/// What stands in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    /// The token of the sandbox.
    pub(super) token: String,
    /// The plan, for people; exact only with a stamp.
    pub(super) plan: String,
    /// The epoch that decided; 0 if the decision is written elsewhere.
    pub(super) epoch: i64,
    /// When: milliseconds since the Unix epoch.
    pub(super) at: i64,
}

impl Mark {
    /// The row of a participant that votes.
    pub(super) fn vote(token: &str, label: &str) -> Self {
        Self::new(token, label.to_owned(), 0)
    }

    /// The row of a participant that decides.
    pub(super) fn decision(token: &str, stamp: &Stamp) -> Self {
        let epoch = i64::try_from(stamp.epoch.0).unwrap_or(i64::MAX);
        Self::new(token, stamp.plan.as_str().to_owned(), epoch)
    }

    fn new(token: &str, plan: String, epoch: i64) -> Self {
        Self {
            token: token.to_owned(),
            plan,
            epoch,
            at: i64::try_from(clock::now_unix_ms()).unwrap_or(i64::MAX),
        }
    }
}

/// True if the table is there.
///
/// # Errors
/// [`Fault::Refused`] if it is not the one that we make.
pub(super) fn is_there(conn: &Connection, path: &Path) -> Outcome<bool> {
    let text: rusqlite::Result<Option<String>> = conn
        .query_row(
            "SELECT ifnull(sql, '') FROM main.sqlite_schema WHERE name = ?",
            [TABLE],
            |row| row.get(0),
        )
        .optional();
    let text = text.map_err(|error| super::connect::said(path, "look for the marker", error))?;
    match text {
        None => Ok(false),
        Some(text) if text == CREATE => Ok(true),
        Some(text) => {
            let why = format!("its {TABLE} is not ours: {}", shown_text(text.as_bytes()));
            Err(ParticipantError::new(Fault::Refused, why).at(path))
        }
    }
}

/// The row with this token. The table is there.
pub(super) fn find(conn: &Connection, token: &str) -> rusqlite::Result<Option<Mark>> {
    let sql = "SELECT token, plan, epoch, at FROM main.planbox_marker WHERE token = ?";
    conn.query_row(sql, [token], read).optional()
}

/// All rows. The table is there.
pub(super) fn all(conn: &Connection) -> rusqlite::Result<Vec<Mark>> {
    let sql = "SELECT token, plan, epoch, at FROM main.planbox_marker";
    let mut statement = conn.prepare(sql)?;
    let rows = statement.query_map([], read)?;
    rows.collect()
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Mark> {
    Ok(Mark {
        token: row.get(0)?,
        plan: row.get(1)?,
        epoch: row.get(2)?,
        at: row.get(3)?,
    })
}

/// Writes a row, and makes the table if it is not there. Inside a transaction.
pub(super) fn put(conn: &Connection, mark: &Mark) -> rusqlite::Result<()> {
    if !has(conn, TABLE)? {
        conn.execute_batch(CREATE)?;
    }
    conn.execute(
        "INSERT OR REPLACE INTO main.planbox_marker VALUES (?, ?, ?, ?)",
        params![mark.token, mark.plan, mark.epoch, mark.at],
    )
    .map(drop)
}

/// Removes the row with this token, and the table with the last row. Inside a transaction.
pub(super) fn remove(conn: &Connection, token: &str) -> rusqlite::Result<()> {
    conn.execute("DELETE FROM main.planbox_marker WHERE token = ?", [token])?;
    let count = "SELECT count(*) FROM main.planbox_marker";
    if conn.query_row(count, [], |row| row.get::<_, i64>(0))? == 0 {
        conn.execute_batch("DROP TABLE main.planbox_marker")?;
    }
    Ok(())
}

/// Removes whatever is called like our table from a copy.
pub(super) fn forget_all(copy: &Connection) -> rusqlite::Result<()> {
    let kind: Option<String> = copy
        .query_row(
            "SELECT type FROM main.sqlite_schema WHERE name = ?",
            [TABLE],
            |row| row.get(0),
        )
        .optional()?;
    match kind.as_deref() {
        Some("table") => copy.execute_batch("DROP TABLE main.planbox_marker"),
        Some("view") => copy.execute_batch("DROP VIEW main.planbox_marker"),
        Some("index") => copy.execute_batch("DROP INDEX main.planbox_marker"),
        Some("trigger") => copy.execute_batch("DROP TRIGGER main.planbox_marker"),
        _ => Ok(()),
    }
}
