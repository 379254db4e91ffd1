//! Committing a database as a whole, where a difference by rows would not be exact.
//!
//! The pages of an image are written over those of the live database by the backup interface: one
//! transaction, atomic by SQLite's own journal, seen by every open connection, whatever the schema
//! holds; nothing of it is interpreted or run. The interface needs a connection that is in no
//! transaction, so the write lock that the check was made under must be carried over:
//! - with a rollback journal, the same connection keeps its lock between the two (exclusive locking
//!   mode);
//! - with a write-ahead log, a second connection takes the lock before it writes, and the first one
//!   then tells whether anybody committed in between.

use super::connect::{Use, connect, own, said};
use super::copying::duplicate;
use super::difference::{Halt, first_difference};
use super::marker::{self, Mark};
use super::real::Held;
use crate::clock::{self, Deadline};
use crate::error::{Conflict, Fault, ParticipantError};
use crate::fs::Dir;
use crate::sandbox::{Outcome, Work};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode};
use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

/// What becomes of our row.
#[derive(Debug, Clone, Copy)]
pub(super) enum Trace<'a> {
    /// It is written.
    Put(&'a Mark),
    /// It is removed.
    Remove(&'a str),
}

/// A failure of SQLite on the real database, or the wish to stop.
pub(super) fn halted(path: &Path, halt: Halt) -> ParticipantError {
    match halt {
        Halt::Sql(error) => said(path, "compare the database", error),
        Halt::Stopped(error) => error,
    }
}

/// Where the real database is different from our copy `name`, if it is.
pub(super) fn moved(
    held: &Held,
    (dir, name): (&Path, &str),
    work: &Work<'_>,
) -> Outcome<Option<Conflict>> {
    let copy = own(dir, name, Use::Look)?;
    let found = first_difference(&copy, &held.conn, work);
    let found = found.map_err(|halt| halted(&held.path, halt))?;
    Ok(found.map(|place| {
        Conflict::new(
            super::cell::shown_text(place.as_bytes()),
            "the database as it was opened".to_owned(),
            "changed by somebody else".to_owned(),
            "the database as a whole".to_owned(),
        )
    }))
}

/// Refuses what could not be written over the real database.
pub(super) fn fits(held: &Held, (dir, name): (&Path, &str)) -> Outcome<()> {
    let copy = own(dir, name, Use::Look)?;
    let look = |conn: &Connection| -> rusqlite::Result<i64> {
        conn.pragma_query_value(None, "page_size", |row| row.get(0))
    };
    let failed = |error| said(&held.path, "read the page size", error);
    let (ours, theirs) = (
        look(&copy).map_err(failed)?,
        look(&held.conn).map_err(failed)?,
    );
    if ours != theirs && logs_ahead(held)? {
        let why = "the page size changed, and a database with a write-ahead log keeps its own";
        return Err(ParticipantError::new(Fault::Unsupported, why).at(&held.path));
    }
    Ok(())
}

fn logs_ahead(held: &Held) -> Outcome<bool> {
    let mode: rusqlite::Result<String> =
        held.conn
            .pragma_query_value(None, "journal_mode", |row| row.get(0));
    let mode = mode.map_err(|error| said(&held.path, "read the journal mode", error))?;
    Ok(mode == "wal")
}

/// Puts our copy `name` in the place of the content of the real database, which was checked under
/// the lock of `held`.
///
/// # Errors
/// [`Fault::Busy`] if somebody committed between the check and the write, or readers are in the
/// way: nothing was written.
pub(super) fn replace(
    held: Held,
    (dir, name): (&Dir, &str),
    trace: Trace<'_>,
    wait: Duration,
) -> Outcome<()> {
    let image = format!("image-{}.db", clock::fresh_token());
    let written = make_image(&held, (dir, name), &image, trace)
        .and_then(|()| write(held, (dir.path(), &image), wait));
    let removed = dir.remove_file(OsStr::new(&image));
    written?;
    removed.map_err(|error| ParticipantError::io("remove an image", dir.path().join(&image), error))
}

/// The copy with the rows of our table that are in the real database, and ours.
fn make_image(
    held: &Held,
    (dir, name): (&Dir, &str),
    image: &str,
    trace: Trace<'_>,
) -> Outcome<()> {
    let marks = if marker::is_there(&held.conn, &held.path)? {
        marker::all(&held.conn).map_err(|error| said(&held.path, "read the markers", error))?
    } else {
        Vec::new()
    };
    duplicate((dir, name), (dir, OsStr::new(image)), &Work::silent())?;
    let conn = own(dir.path(), image, Use::Make)?;
    let fill = || {
        conn.execute_batch("BEGIN IMMEDIATE")?;
        let gone = match trace {
            Trace::Put(_) => None,
            Trace::Remove(token) => Some(token),
        };
        for mark in marks
            .iter()
            .filter(|mark| Some(mark.token.as_str()) != gone)
        {
            marker::put(&conn, mark)?;
        }
        if let Trace::Put(mark) = trace {
            marker::put(&conn, mark)?;
        }
        conn.execute_batch("COMMIT")
    };
    fill().map_err(|error| said(&dir.path().join(image), "mark the image", error))
}

fn write(held: Held, (dir, image): (&Path, &str), wait: Duration) -> Outcome<()> {
    let ahead = logs_ahead(&held)?;
    let Held { mut conn, path } = held;
    let failed = |error| said(&path, "write the database", error);
    let source = own(dir, image, Use::Look)?;
    if !ahead {
        conn.execute_batch("PRAGMA locking_mode = EXCLUSIVE; ROLLBACK")
            .map_err(failed)?;
        return over((&source, &mut conn), &path, wait, || Ok(()));
    }
    let version = || -> rusqlite::Result<i64> {
        conn.pragma_query_value(None, "data_version", |row| row.get(0))
    };
    let before = version().map_err(failed)?;
    conn.execute_batch("ROLLBACK").map_err(failed)?;
    let mut writer = connect(&path, Use::Change, wait).map_err(failed)?;
    over((&source, &mut writer), &path, wait, || {
        if version().map_err(failed)? == before {
            return Ok(());
        }
        let why = "somebody else committed at the last moment; nothing was written";
        Err(ParticipantError::new(Fault::Busy, why).at(&path))
    })
}

/// Copies `source` over the live `target`; `checked` is asked once the write lock is taken.
fn over(
    (source, target): (&Connection, &mut Connection),
    path: &Path,
    wait: Duration,
    checked: impl FnOnce() -> Outcome<()>,
) -> Outcome<()> {
    let failed = |error| said(path, "write the database", error);
    let backup = Backup::new(source, target).map_err(failed)?;
    let deadline = Deadline::after(wait);
    let step = |pages| loop {
        let busy = match backup.step(pages) {
            Ok(StepResult::Busy | StepResult::Locked) => None,
            Ok(step) => return Ok(step),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Some(error),
            Err(error) => return Err(failed(error)),
        };
        if deadline.is_over() {
            return Err(busy.map_or_else(
                || {
                    let why = "write the database: somebody else holds its lock";
                    ParticipantError::new(Fault::Busy, why).at(path)
                },
                failed,
            ));
        }
    };
    // No page: only the locks are taken.
    step(0)?;
    checked()?;
    while step(-1)? != StepResult::Done {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(path: &Path, mode: &str, sql: &str) -> Connection {
        let conn = Connection::open(path).unwrap();
        conn.pragma_update_and_check(None, "journal_mode", mode, |_| Ok(()))
            .unwrap();
        conn.execute_batch(sql).unwrap();
        conn
    }

    fn held(path: &Path) -> Held {
        let conn = connect(path, Use::Change, Duration::ZERO).unwrap();
        conn.execute_batch("BEGIN IMMEDIATE").unwrap();
        Held {
            conn,
            path: path.to_owned(),
        }
    }

    /// Where the lock changes hands, somebody may be quick: then nothing is written.
    #[test]
    fn a_commit_between_the_check_and_the_write_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let (real, image) = (dir.path().join("real.db"), dir.path().join("image.db"));
        let other = database(&real, "wal", "CREATE TABLE t (x)");
        drop(database(&image, "delete", "CREATE TABLE u (x)"));
        let watcher = held(&real).conn;
        let version = || -> i64 {
            watcher
                .pragma_query_value(None, "data_version", |row| row.get(0))
                .unwrap()
        };
        let before = version();
        watcher.execute_batch("ROLLBACK").unwrap();
        other.execute_batch("INSERT INTO t VALUES (1)").unwrap();
        let source = own(dir.path(), "image.db", Use::Look).unwrap();
        let mut writer = connect(&real, Use::Change, Duration::ZERO).unwrap();
        let mut seen = false;
        let outcome = over((&source, &mut writer), &real, Duration::ZERO, || {
            assert!(
                other.execute_batch("INSERT INTO t VALUES (2)").is_err(),
                "the lock is taken"
            );
            seen = version() != before;
            Err(ParticipantError::new(Fault::Busy, "moved"))
        });
        assert!(seen && outcome.is_err());
        drop(writer);
        let count: i64 = other
            .query_row("SELECT count(*) FROM t", [], |row| row.get(0))
            .unwrap();
        assert_eq!(count, 1);
    }

    #[test]
    fn with_a_rollback_journal_the_lock_is_never_let_go() {
        let dir = tempfile::tempdir().unwrap();
        let (real, image) = (dir.path().join("real.db"), dir.path().join("image.db"));
        let other = database(&real, "delete", "CREATE TABLE t (x)");
        drop(database(&image, "delete", "CREATE TABLE u (x)"));
        let mut held = held(&real);
        held.conn
            .execute_batch("PRAGMA locking_mode = EXCLUSIVE; ROLLBACK")
            .unwrap();
        let write = "INSERT INTO t VALUES (2)";
        assert!(
            other.execute_batch(write).is_err(),
            "between check and write"
        );
        let source = own(dir.path(), "image.db", Use::Look).unwrap();
        over((&source, &mut held.conn), &real, Duration::ZERO, || {
            assert!(other.execute_batch(write).is_err(), "while it is written");
            Ok(())
        })
        .unwrap();
        drop(held);
        other.execute_batch("INSERT INTO u VALUES (2)").unwrap();
    }
}
