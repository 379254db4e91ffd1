//! Consistent copies: of the real database when the view is made, of the view when it is sealed.
//!
//! A copy is made by the backup interface inside one read transaction of its source, so it is one
//! moment of it, whatever is still in a write-ahead log. Copies are kept in the rollback mode, as
//! one file. Making one flushes nothing: [`flush`] is called for those that a seal stands on.

use super::connect::{Located, Use, connect, fresh, locate, ours, own, said};
use super::marker;
use crate::clock::{self, Deadline};
use crate::error::{Fault, ParticipantError};
use crate::fs::{self, CopyWish, Dir};
use crate::sandbox::{Outcome, Work};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, ffi};
use std::ffi::{OsStr, OsString};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::Duration;

/// Pages copied between two looks at the wish to stop.
const PAGES: i32 = 256;

/// How long the plan's own programs may keep the view locked.
const VIEW_WAIT: Duration = Duration::from_secs(5);

/// How a rollback journal ends that names a journal over several databases.
const SUPER_JOURNAL: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];

/// Copies `from` over the empty database `to`. `from` is inside a read transaction.
fn backup(
    (from, source): (&Connection, &Path),
    (to, target): (&mut Connection, &Path),
    work: &Work<'_>,
) -> Outcome<()> {
    let deadline = Deadline::after(VIEW_WAIT);
    let backup = Backup::new(from, to).map_err(|error| ours(target, "copy", error))?;
    loop {
        let step = backup.step(PAGES);
        let step = step.map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => ours(target, "copy", error),
            _ => said(source, "copy the database", error),
        })?;
        let progress = backup.progress();
        let total = u64::try_from(progress.pagecount).unwrap_or(0);
        let left = u64::try_from(progress.remaining).unwrap_or(0);
        work.step(total.saturating_sub(left), total, "pages")?;
        match step {
            StepResult::Done => return Ok(()),
            StepResult::Busy | StepResult::Locked if deadline.is_over() => {
                let busy = "copy the database: somebody else holds its lock";
                return Err(ParticipantError::new(Fault::Busy, busy).at(source));
            }
            _ => (),
        }
    }
}

/// Begins a read transaction and looks at the first page.
fn begin_reading(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch("BEGIN")?;
    let count = "SELECT count(*) FROM main.sqlite_schema";
    conn.query_row(count, [], |row| row.get::<_, i64>(0))
        .map(drop)
}

/// Makes the copy `name` of what `conn` sees, without our own table in it.
fn copy_into(
    (conn, source): (&Connection, &Path),
    (dir, name): (&Dir, &str),
    work: &Work<'_>,
) -> Outcome<()> {
    begin_reading(conn).map_err(|error| said(source, "read the database", error))?;
    let target = dir.path().join(name);
    let mut copy = fresh(dir, OsStr::new(name))?;
    backup((conn, source), (&mut copy, &target), work)?;
    let end = || {
        // A copy of a database with a write-ahead log asks for one, too.
        let mode: String =
            copy.pragma_update_and_check(None, "journal_mode", "delete", |row| row.get(0))?;
        marker::forget_all(&copy)?;
        conn.execute_batch("ROLLBACK")?;
        Ok(mode)
    };
    let mode = end().map_err(|error| said(source, "copy the database", error))?;
    if mode != "delete" {
        let why = format!("finish a copy: its journal mode stays {mode}");
        return Err(ParticipantError::new(Fault::Io, why).at(target));
    }
    drop(copy);
    Ok(())
}

/// Brings the copies `names` in `dir` to disk. No connection of this process has one open.
pub(super) fn flush(dir: &Dir, names: &[&str]) -> Outcome<()> {
    let failed = |error| ParticipantError::io("flush a copy", dir.path(), error);
    for name in names {
        let file = dir.read_file(OsStr::new(name)).map_err(failed)?;
        fs::sync_all(file).map_err(failed)?;
    }
    dir.sync().map_err(failed)
}

/// Removes everything in `dir`, and keeps it.
pub(super) fn empty(dir: &Dir, work: &Work<'_>) -> Outcome<()> {
    let failed = |error| ParticipantError::io("remove the sandbox", dir.path(), error);
    for name in dir.entries().map_err(failed)?.sorted() {
        let mut stopped = None;
        let removed = fs::remove_tree(dir, &name, &mut |done| {
            work.step(done, 0, "entries").map_err(|error| {
                stopped = Some(error);
                io::Error::from(io::ErrorKind::Interrupted)
            })
        });
        match stopped {
            Some(error) => return Err(error),
            None => removed.map_err(failed)?,
        }
    }
    Ok(())
}

/// Copies the real database to `name` in `dir`.
///
/// # Errors
/// [`Fault::Refused`] if it is no database, [`Fault::Busy`] if `wait` runs out.
pub(super) fn snapshot(
    real: &Located,
    (dir, name): (&Dir, &str),
    wait: Duration,
    work: &Work<'_>,
) -> Outcome<()> {
    let conn = connect(&real.path, Use::Look, wait)
        .map_err(|error| said(&real.path, "open the database", error))?;
    let log = real.dir.stat_at(&neighbour(&real.path, "-wal"));
    if !matches!(log, Ok(Some(_))) {
        // Without a log there is nothing to put back, and closing may remove what opening makes.
        let off = conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false);
        off.map_err(|error| said(&real.path, "open the database", error))?;
    }
    copy_into((&conn, &real.path), (dir, name), work)
}

/// Copies our own `from` to `name` in `dir`, byte by byte: nobody writes to it, and it is one file.
pub(super) fn duplicate(
    (from, from_name): (&Dir, &str),
    (dir, name): (&Dir, &OsStr),
    work: &Work<'_>,
) -> Outcome<()> {
    let failed = |error| ParticipantError::io("make a copy", dir.path().join(name), error);
    let source = from.read_file(OsStr::new(from_name)).map_err(failed)?;
    let total = source.metadata().map_err(failed)?.len();
    let target = dir.create_file(name, 0o600).map_err(failed)?;
    let mut stopped = None;
    let copied = fs::copy_file(&source, &target, CopyWish::CloneOrCopy, &mut |done| {
        work.step(done, total, "bytes").map_err(|error| {
            stopped = Some(error);
            io::Error::from(io::ErrorKind::Interrupted)
        })
    });
    match stopped {
        Some(error) => Err(error),
        None => copied.map(drop).map_err(failed),
    }
}

/// Copies what the plan left in `view` to `name` in `dir`, whatever state it is in. Gives back a
/// connection to the copy, which was found sound.
///
/// # Errors
/// [`Fault::Refused`] for a view that is not one sound database file any more, [`Fault::Busy`] if
/// one of the plan's programs is still writing.
pub(super) fn freeze(
    view: &Path,
    real: (u64, u64),
    (dir, name): (&Dir, &str),
    work: &Work<'_>,
) -> Outcome<Connection> {
    let found = locate(view)?;
    if found.stat.id() == real {
        let why = "the view is the real database itself; the plan replaced its copy by a link";
        return Err(ParticipantError::new(Fault::Refused, why).at(view));
    }
    for suffix in ["-wal", "-shm", "-journal"] {
        let beside = neighbour(&found.path, suffix);
        let stat = found.dir.stat_at(&beside);
        let stat = stat.map_err(|error| ParticipantError::io("look at the view", view, error))?;
        if stat.is_some_and(|stat| stat.kind != fs::FileKind::File || stat.nlink != 1) {
            let why = format!("its {suffix} file is a link or no regular file");
            return Err(ParticipantError::new(Fault::Refused, why).at(view));
        }
    }
    let conn = connect(&found.path, Use::Untrusted, VIEW_WAIT)
        .map_err(|error| said(view, "open the view", error))?;
    if is_hot(&conn) {
        drop(conn);
        return freeze_hot(&found, (dir, name), work);
    }
    copy_into((&conn, view), (dir, name), work)?;
    if locate(view)?.stat.id() != found.stat.id() {
        let why = "the view was replaced while it was read";
        return Err(ParticipantError::new(Fault::Refused, why).at(view));
    }
    check((dir, name), view)
}

fn neighbour(path: &Path, suffix: &str) -> OsString {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    name
}

/// True if a program died in the middle of a transaction: only a writer may roll it back.
fn is_hot(conn: &Connection) -> bool {
    let look = begin_reading(conn);
    if conn.is_autocommit() {
        return matches!(
            look,
            Err(rusqlite::Error::SqliteFailure(
                ffi::Error {
                    extended_code: ffi::SQLITE_READONLY_ROLLBACK | ffi::SQLITE_READONLY_RECOVERY,
                    ..
                },
                _,
            ))
        );
    }
    let hot = look.is_err_and(|error| {
        error
            .sqlite_error()
            .is_some_and(|error| error.extended_code == ffi::SQLITE_READONLY_ROLLBACK)
    });
    // A transaction that is open already would be in the way of the next one.
    drop(conn.execute_batch("ROLLBACK"));
    hot
}

/// Rolls an unfinished transaction back in a copy of both files, out of the plan's reach.
///
/// A journal may name a journal over several databases, which SQLite looks for and may remove,
/// wherever it is: the plan could name any file of the user, so such a journal is refused.
fn freeze_hot(view: &Located, (dir, name): (&Dir, &str), work: &Work<'_>) -> Outcome<Connection> {
    let failed = |error| ParticipantError::io("copy the view", &view.path, error);
    let room = OsString::from(format!("hot-{}", clock::fresh_token()));
    dir.make_dir(&room, 0o700).map_err(failed)?;
    let inside = dir.child(&room).map_err(failed)?;
    let copied = copy_hot(view, &inside).and_then(|()| {
        let path = inside.path().join("view.db");
        let conn = own(inside.path(), "view.db", Use::Look)?;
        copy_into((&conn, &path), (dir, name), work)
    });
    drop(inside);
    let removed = fs::remove_tree(dir, &room, &mut |_| Ok(()));
    copied?;
    removed.map_err(failed)?;
    check((dir, name), &view.path)
}

fn copy_hot(view: &Located, room: &Dir) -> Outcome<()> {
    let name = view.path.file_name().unwrap_or_default();
    let journal = neighbour(&view.path, "-journal");
    for (from, to) in [(name, "view.db"), (&*journal, "view.db-journal")] {
        let copy = || {
            let source = view.dir.read_file(from)?;
            let mut target = room.create_file(OsStr::new(to), 0o600)?;
            fs::copy_file(&source, &target, CopyWish::CloneOrCopy, &mut |_| Ok(()))?;
            let mut tail = [0; 8];
            let long = target.seek(SeekFrom::End(0))? >= 8;
            if long {
                target.seek(SeekFrom::End(-8))?;
                target.read_exact(&mut tail)?;
            }
            Ok(to == "view.db-journal" && tail == SUPER_JOURNAL)
        };
        let names_another = copy()
            .map_err(|error: io::Error| ParticipantError::io("copy the view", &view.path, error))?;
        if names_another {
            let why = "an unfinished transaction over several databases is in the view";
            return Err(ParticipantError::new(Fault::Refused, why).at(&view.path));
        }
    }
    Ok(())
}

/// Refuses a copy that is not sound.
fn check((dir, name): (&Dir, &str), view: &Path) -> Outcome<Connection> {
    let conn = own(dir.path(), name, Use::Look)?;
    let verdict: rusqlite::Result<String> =
        conn.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0));
    let verdict = verdict.map_err(|error| said(view, "check the view", error))?;
    if verdict == "ok" {
        return Ok(conn);
    }
    let why = format!(
        "the plan left a damaged database: {}",
        super::cell::shown_text(verdict.as_bytes())
    );
    Err(ParticipantError::new(Fault::Refused, why).at(view))
}
