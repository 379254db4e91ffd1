//! The line to the file: how SQLite writes what the [`Writer`](super::writer::Writer) has gathered.

use super::Journaled;
use super::record::Durability;
use super::rules::{Op, Rows};
use super::schema::{self, Sync};
use super::sqlite_rows::SqliteRows;
use super::stored::{distrust, failed};
use super::writer::{Device, Line, Reply, Trouble, Work, undone};
use crate::clock;
use crate::fs;
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A journal file. Nothing is opened before the first write.
#[derive(Debug)]
pub(super) struct SqliteFile {
    path: PathBuf,
    told: Arc<Told>,
}

/// What is known of the writing, whoever does it.
#[derive(Debug, Default)]
pub(super) struct Told {
    commits: AtomicU64,
    /// A device that fails every commit from now on.
    #[cfg(test)]
    broken: std::sync::atomic::AtomicBool,
}

impl Told {
    #[cfg_attr(
        not(test),
        expect(clippy::unused_self, reason = "tests break the device")
    )]
    fn commit(&self, conn: &Connection, path: &Path) -> rusqlite::Result<()> {
        #[cfg(test)]
        if self.broken.load(Ordering::Acquire) {
            return Err(rusqlite::Error::InvalidQuery);
        }
        fs::about_to_end_transaction(path).map_err(|error| refused(&error))?;
        run(conn, "COMMIT")
    }
}

/// What SQLite would say if the system refused to write its log.
fn refused(error: &std::io::Error) -> rusqlite::Error {
    let code = match error.kind() {
        std::io::ErrorKind::StorageFull => rusqlite::ffi::SQLITE_FULL,
        _ => rusqlite::ffi::SQLITE_IOERR_WRITE,
    };
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), Some(error.to_string()))
}

/// Runs a statement that is run again and again.
fn run(conn: &Connection, sql: &str) -> rusqlite::Result<()> {
    conn.prepare_cached(sql)?.execute([]).map(drop)
}

impl SqliteFile {
    /// The file at `path`.
    pub(super) fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            told: Arc::default(),
        }
    }

    /// How many transactions were committed.
    #[cfg(test)]
    pub(super) fn commits(&self) -> u64 {
        self.told.commits.load(Ordering::Relaxed)
    }

    /// Makes every later commit fail, as a dying device does, or work again.
    #[cfg(test)]
    pub(super) fn set_broken(&self, broken: bool) {
        self.told.broken.store(broken, Ordering::Release);
    }
}

impl Device for SqliteFile {
    type Line = SqliteLine;

    fn path(&self) -> &Path {
        &self.path
    }

    fn line(&self) -> SqliteLine {
        SqliteLine {
            path: self.path.clone(),
            told: Arc::clone(&self.told),
            open: None,
        }
    }

    fn make_certain(&self) -> Journaled<()> {
        schema::make_certain(&self.path)
    }
}

/// A connection that writes, as soon as there is something to write.
#[derive(Debug)]
pub(super) struct SqliteLine {
    path: PathBuf,
    told: Arc<Told>,
    /// Opened by the first write.
    open: Option<Open>,
}

/// A connection that writes, and how hard it works now.
#[derive(Debug)]
struct Open {
    conn: Connection,
    /// Which file it writes to.
    inode: (u64, u64),
    sync: Sync,
    /// False until the first commit, which is always flushed: if an earlier process died with a
    /// transaction in doubt, whatever that left at the end of the log is overwritten for good
    /// before anybody acts on its absence.
    settled: bool,
}

impl Line for SqliteLine {
    fn transact(&mut self, batch: &[Work]) -> Result<Vec<Reply>, Trouble> {
        let Self { path, told, open } = self;
        let line = match open {
            Some(open) => open,
            None => open.insert(Open {
                inode: schema::inode(path).map_err(Trouble::Nothing)?,
                conn: schema::connect(path).map_err(Trouble::Nothing)?,
                sync: Sync::Full,
                settled: false,
            }),
        };
        let flushed = batch
            .iter()
            .any(|request| request.durability == Durability::Flushed);
        line.still_there(path)?;
        line.work_for(path, flushed)?;
        let conn = &line.conn;
        let begun = run(conn, "BEGIN IMMEDIATE");
        begun.map_err(|error| Trouble::Nothing(failed(path, "take the turn to write", error)))?;
        let mut outcomes = Vec::with_capacity(batch.len());
        let now = clock::now_unix_ms();
        for request in batch {
            let outcome = match batch {
                // If it fails, so does the transaction: see below.
                [alone] => alone.op.run(&mut SqliteRows::new(conn, path), now),
                _ => guarded(conn, path, &request.op, now),
            };
            if conn.is_autocommit() {
                // SQLite has undone the whole transaction, as after a full disk.
                let why = || undone(path, "the transaction was undone".to_owned());
                let error = outcome.err().unwrap_or_else(why);
                return Err(Trouble::Nothing(error));
            }
            outcomes.push(outcome);
        }
        if outcomes.iter().all(Result::is_err) {
            let undone = conn.execute_batch("ROLLBACK");
            undone.map_err(|error| Trouble::Unknown(failed(path, "roll back", error)))?;
            return Ok(outcomes);
        }
        if let Err(error) = told.commit(conn, path) {
            return Err(not_committed(conn, path, error));
        }
        if line.sync == Sync::Full {
            fs::transaction_flushed(path);
        }
        line.settled = true;
        told.commits.fetch_add(1, Ordering::Relaxed);
        Ok(outcomes)
    }

    fn abandon(&mut self) {
        if let Some(line) = self.open.take() {
            drop(
                line.conn
                    .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true),
            );
        }
    }

    /// A checkpoint syncs the log before it moves it.
    fn flush(&mut self) {
        let Some(line) = self.open.take() else { return };
        let busy = "PRAGMA wal_checkpoint(PASSIVE)";
        if let Err(error) = line.conn.query_row(busy, [], |_| Ok(())) {
            tracing::warn!(%error, journal = %self.path.display(), "the last flush failed");
        }
    }
}

impl Open {
    /// Refuses to write into a file that has lost its name: nobody else would see it.
    fn still_there(&self, path: &Path) -> Result<(), Trouble> {
        let now = schema::inode(path).map_err(Trouble::Nothing)?;
        if now == self.inode {
            return Ok(());
        }
        let error = distrust(path, "another file has taken its place");
        Err(Trouble::Nothing(error))
    }

    fn work_for(&mut self, path: &Path, flushed: bool) -> Result<(), Trouble> {
        let wanted = if flushed || !self.settled {
            Sync::Full
        } else {
            Sync::Normal
        };
        if self.sync != wanted {
            schema::set_sync(&self.conn, path, wanted).map_err(Trouble::Nothing)?;
            self.sync = wanted;
        }
        Ok(())
    }
}

/// What a failed COMMIT means. A full disk is met while the log is written, before the frame that
/// commits: the transaction can be undone for certain. After anything else nobody knows.
fn not_committed(conn: &Connection, path: &Path, error: rusqlite::Error) -> Trouble {
    let full = error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull);
    let undone = conn.is_autocommit() || conn.execute_batch("ROLLBACK").is_ok();
    let error = failed(path, "commit", error);
    if full && undone {
        Trouble::Nothing(error)
    } else {
        Trouble::Unknown(error)
    }
}

/// Runs one request that has neighbours so that its failure undoes it and nothing else.
fn guarded(conn: &Connection, path: &Path, op: &Op, now: u64) -> Reply {
    let step = |sql| run(conn, sql).map_err(|error| failed(path, "write", error));
    step("SAVEPOINT request")?;
    let mut rows = SqliteRows::new(conn, path);
    let outcome = op.run(&mut rows as &mut dyn Rows, now);
    if outcome.is_err() && !conn.is_autocommit() {
        step("ROLLBACK TO request")?;
    }
    if !conn.is_autocommit() {
        step("RELEASE request")?;
    }
    outcome
}
