//! The real database: found again, locked, committed to.

use super::connect::{Located, Use, connect, look, said};
use super::marker::{self, Mark};
use super::record::Record;
use crate::error::{Fault, ParticipantError};
use crate::sandbox::Outcome;
use rusqlite::Connection;
use std::path::PathBuf;

/// The first SQLite in which two connections cannot corrupt a write-ahead log that they reset at
/// the same time.
const OLDEST_SQLITE: i32 = 3_051_003;

/// The real database inside a write transaction, which ends without a trace if this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    /// The connection.
    pub(super) conn: Connection,
    /// The file.
    pub(super) path: PathBuf,
}

/// The real database, open and in no transaction: what a [`Held`] leaves when it is committed.
///
/// The last connection that goes moves the log into the database, with two flushes or three: a step
/// that follows at once takes this one over instead.
#[derive(Debug)]
pub(super) struct Idle {
    conn: Connection,
    path: PathBuf,
}

impl Idle {
    /// As [`Held::begin`], on the connection that is open already.
    pub(super) fn begin(self, record: &Record) -> Outcome<Held> {
        let Self { conn, path } = self;
        conn.execute_batch("BEGIN IMMEDIATE")
            .map_err(|error| said(&path, "lock the database", error))?;
        drop(still(record)?);
        Ok(Held { conn, path })
    }
}

/// Finds the real file.
///
/// # Errors
/// [`Fault::Lost`] if it is no longer the one that was opened.
pub(super) fn still(record: &Record) -> Outcome<Located> {
    let lost = |why: &str| Err(ParticipantError::new(Fault::Lost, why).at(record.file()));
    match look(&record.file()) {
        Ok(found) if found.stat.id() == record.id => found.single().map(|()| found),
        Ok(_) => lost("another file is at this path now; the database was moved or replaced"),
        Err(error) if error.fault == Fault::Refused => {
            lost("the database that was opened is no longer at this path")
        }
        Err(error) => Err(error),
    }
}

impl Held {
    /// Takes the write lock of the real database, and makes sure that it is the right one.
    ///
    /// # Errors
    /// [`Fault::Busy`] if the bounded wait runs out, [`Fault::Lost`] as [`still`].
    pub(super) fn begin(record: &Record) -> Outcome<Self> {
        let path = still(record)?.path;
        let failed = |error| said(&path, "lock the database", error);
        let conn = connect(&path, Use::Change, record.wait()).map_err(failed)?;
        // Changed pages stay in memory, so that readers go on until the commit.
        let begin = || -> rusqlite::Result<String> {
            conn.execute_batch("PRAGMA cache_spill = OFF; BEGIN IMMEDIATE")?;
            conn.pragma_query_value(None, "journal_mode", |row| row.get(0))
        };
        let mode = begin().map_err(failed)?;
        drop(still(record)?);
        let version = rusqlite::version_number();
        if mode == "wal" && version < OLDEST_SQLITE {
            let why = format!(
                "the SQLite library is {}; older than 3.51.3, two connections may corrupt a \
                 write-ahead log",
                rusqlite::version()
            );
            return Err(ParticipantError::new(Fault::Unsupported, why).at(path));
        }
        Ok(Self { conn, path })
    }

    /// The row of `token` in our table, if both are there.
    pub(super) fn mark(&self, token: &str) -> Outcome<Option<Mark>> {
        if !marker::is_there(&self.conn, &self.path)? {
            return Ok(None);
        }
        marker::find(&self.conn, token)
            .map_err(|error| said(&self.path, "look for the marker", error))
    }

    /// Writes `mark` into our table.
    pub(super) fn put(&self, mark: &Mark) -> Outcome<()> {
        marker::is_there(&self.conn, &self.path)?;
        marker::put(&self.conn, mark).map_err(|error| said(&self.path, "write the marker", error))
    }

    /// Removes the row of `token`, which is there.
    pub(super) fn remove(&self, token: &str) -> Outcome<()> {
        marker::remove(&self.conn, token)
            .map_err(|error| said(&self.path, "remove the marker", error))
    }

    /// Commits. Durable when it returns.
    ///
    /// # Errors
    /// [`Fault::Busy`] if readers are in the way for the whole of the bounded wait. The transaction
    /// is gone then.
    pub(super) fn commit(self) -> Outcome<Idle> {
        let Self { conn, path } = self;
        conn.execute_batch("COMMIT")
            .map_err(|error| said(&path, "commit", error))?;
        Ok(Idle { conn, path })
    }
}
