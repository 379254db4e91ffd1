//! Connections: to the real database, to the plan's view, to our own copies.
//!
//! A path given to SQLite is always absolute: a name that begins with `file:` is a URI even for a
//! library that was not asked for URIs, and `:memory:` is a file only with a directory before it.
//! Nothing here opens a database file by an ordinary call: closing such a descriptor would drop
//! every lock that this process holds on the file, those of the host's own connections included.

use crate::error::{Fault, ParticipantError};
use crate::fs::{Dir, FileKind, Stat};
use crate::sandbox::Outcome;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a statement on one of our own copies waits for anybody.
const OWN_WAIT: Duration = Duration::from_secs(5);

/// A file by the directory that holds it, which is free of links, and its name.
#[derive(Debug)]
pub(super) struct Located {
    /// The directory.
    pub(super) dir: Dir,
    /// The whole path, without links before the last component.
    pub(super) path: PathBuf,
    /// What is there.
    pub(super) stat: Stat,
}

/// Looks at the file at `path` without opening it.
///
/// # Errors
/// [`Fault::Refused`] if it is absent, a link, or not a regular file.
pub(super) fn look(path: &Path) -> Outcome<Located> {
    let refused = |why: &str| ParticipantError::new(Fault::Refused, why).at(path);
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(refused("this is not the name of a file"));
    };
    let absent = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            refused("there is no such database file")
        }
        _ => ParticipantError::io("look for the database file", path, error),
    };
    let parent = parent.canonicalize().map_err(absent)?;
    let dir = Dir::open(&parent).map_err(absent)?;
    let stat = dir.stat_at(name).map_err(absent)?;
    let Some(stat) = stat else {
        return Err(refused("there is no such database file"));
    };
    match stat.kind {
        FileKind::File => (),
        FileKind::Symlink => return Err(refused("it is a symbolic link; name the file itself")),
        _ => return Err(refused("it is not a regular file")),
    }
    let path = parent.join(name);
    Ok(Located { dir, path, stat })
}

/// As [`look`], for a file that may be opened.
///
/// # Errors
/// [`Fault::Refused`] also if it has several names.
pub(super) fn locate(path: &Path) -> Outcome<Located> {
    let found = look(path)?;
    found.single().map(|()| found)
}

impl Located {
    /// Refuses a file with several names.
    pub(super) fn single(&self) -> Outcome<()> {
        if self.stat.nlink == 1 {
            return Ok(());
        }
        let why = "it has several names (hard links), and SQLite finds its journal by the name";
        Err(ParticipantError::new(Fault::Refused, why).at(&self.path))
    }
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Reading. A hot journal is rolled back, as by every other reader; nothing else is written.
    Look,
    /// Reading a file that the plan wrote: nothing at all is written.
    Untrusted,
    /// Changing.
    Change,
}

/// Opens the database at the absolute `path`, with everything in its schema that could run taken
/// out of power.
pub(super) fn connect(path: &Path, purpose: Use, wait: Duration) -> rusqlite::Result<Connection> {
    let mode = if purpose == Use::Untrusted {
        OpenFlags::SQLITE_OPEN_READ_ONLY
    } else {
        OpenFlags::SQLITE_OPEN_READ_WRITE
    };
    let flags = mode | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(wait)?;
    for (setting, on) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, false),
        (
            DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE,
            purpose != Use::Change,
        ),
    ] {
        conn.set_db_config(setting, on)?;
    }
    conn.pragma_update(None, "cell_size_check", true)?;
    if purpose == Use::Change {
        conn.pragma_update(None, "fullfsync", true)?;
        conn.pragma_update(None, "checkpoint_fullfsync", true)?;
        // EXTRA: a rollback journal that was removed stays removed after a power cut.
        conn.pragma_update(None, "synchronous", 3)?;
    } else {
        conn.pragma_update(None, "query_only", true)?;
    }
    Ok(conn)
}

/// Opens one of our own copies, `name` in `dir`.
///
/// # Errors
/// [`Fault::Lost`] if it is gone, [`Fault::Corrupt`] if it is no database any more.
pub(super) fn own(dir: &Path, name: &str, purpose: Use) -> Outcome<Connection> {
    let path = absolute(dir)?.join(name);
    let found = path.symlink_metadata();
    match found {
        Ok(found) if found.is_file() => (),
        _ => {
            let gone = ParticipantError::new(Fault::Lost, "a file of the sandbox is gone");
            return Err(gone.at(path));
        }
    }
    connect(&path, purpose, OWN_WAIT).map_err(|error| ours(&path, "open a copy", error))
}

/// Makes the new file `name` of mode 0600 in `dir` and opens it as an empty database.
pub(super) fn fresh(dir: &Dir, name: &OsStr) -> Outcome<Connection> {
    let path = absolute(dir.path())?.join(name);
    let made = dir.create_file(name, 0o600);
    drop(made.map_err(|error| ParticipantError::io("make a copy", &path, error))?);
    connect(&path, Use::Change, OWN_WAIT).map_err(|error| ours(&path, "make a copy", error))
}

fn absolute(dir: &Path) -> Outcome<PathBuf> {
    dir.canonicalize().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            ParticipantError::new(Fault::Lost, "the sandbox is gone").at(dir)
        }
        _ => ParticipantError::io("look for the sandbox", dir, error),
    })
}

/// What SQLite said about the real database at `path`, or about the plan's view.
pub(super) fn said(path: &Path, action: &str, error: rusqlite::Error) -> ParticipantError {
    let (fault, message) = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => (
            Fault::Busy,
            format!("{action}: somebody else holds the lock of the database"),
        ),
        Some(ErrorCode::NotADatabase) => (
            Fault::Refused,
            "it is not a SQLite database, or it is encrypted".to_owned(),
        ),
        Some(ErrorCode::DatabaseCorrupt) => {
            (Fault::Refused, format!("{action}: the database is damaged"))
        }
        Some(ErrorCode::DiskFull) => (Fault::NoSpace, action.to_owned()),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            (Fault::Denied, action.to_owned())
        }
        Some(ErrorCode::CannotOpen) => (Fault::Denied, format!("{action}: it cannot be opened")),
        _ => (Fault::Io, action.to_owned()),
    };
    let mut failure = ParticipantError::new(fault, message).at(path);
    failure.source = Some(io::Error::other(error));
    failure
}

/// What SQLite said about one of our own copies: damage there is not the plan's doing.
pub(super) fn ours(path: &Path, action: &str, error: rusqlite::Error) -> ParticipantError {
    let mut failure = said(path, action, error);
    if failure.fault == Fault::Refused {
        failure.fault = Fault::Corrupt;
    }
    failure
}

/// An identifier as SQL text.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
