//! The journal file: made whole, looked at before it is touched, verified by every connection.

use super::rules::Counter;
use super::stored::{self, CounterRow, distrust, failed};
use super::tables::{self, OLDEST_VERSION, Object, SCHEMA, USER_VERSION};
use crate::clock;
use crate::error::JournalError;
use crate::fs::Dir;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Name of the journal inside the store.
pub(super) const FILE_NAME: &str = "journal.db";

/// How the name of a journal ends that is being made.
const UNFINISHED: &str = ".new";

/// "plbx": `file` and every other program can tell whose file it is.
pub(super) const APPLICATION_ID: i64 = 0x706c_6278;

/// The first SQLite in which two connections cannot corrupt a write-ahead log that they reset at
/// the same time.
const OLDEST_SQLITE: i32 = 3_051_003;

/// How long a statement waits for another process before it gives up.
const BUSY_WAIT: Duration = Duration::from_secs(10);

/// Most prepared statements kept by one connection: more than there are.
const STATEMENTS_MAX: usize = 48;

/// How hard SQLite works for the durability of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sync {
    /// A killed process loses nothing; a power cut may.
    Normal = 1,
    /// A power cut loses nothing either.
    Full = 2,
}

/// Finds or makes the journal in `store_dir` and gives back its path.
///
/// A file that is not ours, or of a newer format, is refused before anything is written.
///
/// # Errors
/// [`JournalError::Corrupt`] if it is not a journal, [`JournalError::Newer`],
/// [`JournalError::Store`] if it cannot be read or made.
pub(super) fn locate(store_dir: &Path) -> Result<PathBuf, JournalError> {
    let asked = store_dir.join(FILE_NAME);
    let store = |source| JournalError::Store {
        path: asked.clone(),
        action: "find its directory",
        source: Box::new(source),
    };
    let version = rusqlite::version_number();
    if version < OLDEST_SQLITE {
        return Err(JournalError::Store {
            path: asked,
            action: "trust the SQLite library",
            source: format!(
                "it is {}; older than 3.51.3, two connections may corrupt a write-ahead log",
                rusqlite::version()
            )
            .into(),
        });
    }
    let path = store_dir.canonicalize().map_err(store)?.join(FILE_NAME);
    match path.symlink_metadata() {
        Ok(found) if !found.is_file() => Err(distrust(&path, "it is not a regular file")),
        Ok(found) if found.len() == 0 => Err(distrust(&path, "it is empty")),
        Ok(_) => {
            sweep(&path);
            peek_and_migrate(&path).map(|()| path)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => match create(&path) {
            // Somebody else was first, and has swept ours away: theirs is as good.
            Err(_) if path.exists() => peek_and_migrate(&path).map(|()| path),
            made => made.map(|()| path),
        },
        Err(error) => Err(store(error)),
    }
}

/// Removes what was left by a process that died while it made a journal. There is a journal now: a
/// process that is still making another will lose the race anyway.
fn sweep(path: &Path) {
    sweep_of(path, &format!("{FILE_NAME}."));
}

/// Removes every unfinished journal whose name begins with `prefix`, with its neighbours.
fn sweep_of(path: &Path, prefix: &str) {
    let Ok(dir) = Dir::open(path.parent().unwrap_or(path)) else {
        return;
    };
    let mut found: Vec<OsString> = Vec::new();
    let listed = dir.for_each_entry(&mut |name, _| {
        let shown = name.to_string_lossy();
        if shown.starts_with(prefix) && shown.contains(UNFINISHED) {
            found.push(name.to_owned());
        }
        Ok(())
    });
    let removed = found
        .iter()
        .try_for_each(|name| dir.remove_file(name.as_os_str()));
    if let Err(error) = listed.and(removed) {
        // Harmless: the next opener tries again.
        tracing::debug!(%error, journal = %path.display(), "an unfinished journal was left");
    }
}

/// Which file it is, whatever its name: device and inode.
///
/// # Errors
/// [`JournalError::Corrupt`] if it is gone.
pub(super) fn inode(path: &Path) -> Result<(u64, u64), JournalError> {
    match path.symlink_metadata() {
        Ok(found) => Ok((found.dev(), found.ino())),
        Err(error) => Err(distrust(path, format!("it is gone: {error}"))),
    }
}

/// Looks at the header without a lock and without touching the file or its neighbours.
///
/// Through SQLite, not through a descriptor of our own: closing that would drop the locks that
/// this process holds on the file.
///
/// Gives back the format, if it can be told.
fn peek(path: &Path) -> Result<Option<i64>, JournalError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let look = || {
        let conn = Connection::open_with_flags(immutable(path), flags)?;
        Ok((
            conn.pragma_query_value(None, "application_id", |row| row.get(0))?,
            conn.pragma_query_value(None, "user_version", |row| row.get(0))?,
        ))
    };
    match look() {
        Ok((application, version)) => {
            judge(path, application, (version, OLDEST_VERSION)).map(|()| Some(version))
        }
        // The file may be in the middle of a checkpoint: only a look under locks can tell.
        Err(rusqlite::Error::SqliteFailure(cause, _))
            if cause.code == ErrorCode::DatabaseCorrupt =>
        {
            Ok(None)
        }
        Err(error) => Err(failed(path, "open", error)),
    }
}

/// Looks at the file, and brings one of an older format to the present one.
fn peek_and_migrate(path: &Path) -> Result<(), JournalError> {
    if peek(path)? == Some(USER_VERSION) {
        return Ok(());
    }
    let conn = configure(path).map_err(|error| failed(path, "open", error))?;
    tables::migrate(&conn, path)
}

/// The path as a URI that tells SQLite to take no lock and write nothing.
fn immutable(path: &Path) -> String {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                uri.push(char::from(*byte));
            }
            other => {
                uri.push('%');
                uri.push_str(&hex(*other));
            }
        }
    }
    uri + "?immutable=1"
}

fn hex(byte: u8) -> String {
    format!("{byte:02x}")
}

/// Refuses a file that is not ours, newer than this code, or older than `oldest`.
pub(super) fn judge(
    path: &Path,
    application: i64,
    (version, oldest): (i64, i64),
) -> Result<(), JournalError> {
    if application != APPLICATION_ID {
        let what = format!("application id {application:#x} is not that of planbox");
        return Err(distrust(path, what));
    }
    if version > USER_VERSION {
        return Err(JournalError::Newer {
            path: path.to_owned(),
            found: version,
            known: USER_VERSION,
        });
    }
    if version < oldest {
        return Err(distrust(
            path,
            format!("format {version} is not one of ours"),
        ));
    }
    Ok(())
}

/// Makes a whole journal beside its name and moves it there: nobody ever sees half of one.
fn create(path: &Path) -> Result<(), JournalError> {
    if neighbour(path, "-wal").symlink_metadata().is_ok() {
        let what = "it is gone, but its write-ahead log is there";
        return Err(distrust(path, what));
    }
    let name = format!("{FILE_NAME}.{}{UNFINISHED}", clock::fresh_token());
    let fresh = path.with_file_name(&name);
    let moved = fill(&fresh).and_then(|()| {
        put_in_place(path, OsStr::new(&name)).map_err(|source| JournalError::Store {
            path: path.to_owned(),
            action: "be put in place",
            source: Box::new(source),
        })
    });
    sweep_of(path, &name);
    moved
}

/// Gives the file its final name unless somebody else was first: then theirs is as good.
fn put_in_place(path: &Path, name: &OsStr) -> io::Result<()> {
    let dir = Dir::open(path.parent().unwrap_or(path))?;
    let to = OsStr::new(FILE_NAME);
    let moved = dir.rename_new(name, &dir, to).or_else(|error| {
        match error.kind() {
            // A file system that cannot refuse to replace can still refuse to link.
            io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported => {
                dir.hard_link(name, &dir, to)
            }
            _ => Err(error),
        }
    });
    match moved {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        Ok(()) => dir.sync(),
    }
}

/// The file whose name is that of `path` and `suffix`.
fn neighbour(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn fill(fresh: &Path) -> Result<(), JournalError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let build = || {
        let conn = Connection::open_with_flags(fresh, flags)?;
        std::fs::set_permissions(fresh, std::fs::Permissions::from_mode(0o600))
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        conn.execute_batch("PRAGMA synchronous = EXTRA; BEGIN IMMEDIATE")?;
        for (_, _, sql) in SCHEMA.iter().rev() {
            conn.execute_batch(sql)?;
        }
        conn.pragma_update(None, "application_id", APPLICATION_ID)?;
        conn.pragma_update(None, "user_version", USER_VERSION)?;
        Ok(conn)
    };
    let conn = build().map_err(|error| failed(fresh, "be made", error))?;
    for counter in Counter::ALL {
        let key = counter.key().to_owned();
        stored::put(&conn, fresh, &CounterRow { key, value: 0 })?;
    }
    let end = || {
        conn.execute_batch("COMMIT")?;
        conn.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0))
    };
    end()
        .map(drop)
        .map_err(|error| failed(fresh, "be made", error))
}

/// Opens the journal and verifies settings, format and schema.
///
/// # Errors
/// See [`locate`].
pub(super) fn connect(path: &Path) -> Result<Connection, JournalError> {
    let conn = configure(path).map_err(|error| failed(path, "open", error))?;
    if let Some(complaint) = settings(&conn, path)?.into_iter().next() {
        return Err(JournalError::Store {
            path: path.to_owned(),
            action: "take its settings",
            source: complaint.into(),
        });
    }
    Ok(conn)
}

/// Makes certain what the journal holds after a flush of its log failed: pages that the system
/// believes to be on disk, and may not be, are written anew into the database itself, which is
/// flushed then.
///
/// # Errors
/// [`JournalError::Store`] if another connection is in the way or the disk fails again.
pub(super) fn make_certain(path: &Path) -> Result<(), JournalError> {
    let conn = connect(path)?;
    let busy: i64 = conn
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
        .map_err(|error| failed(path, "make certain what it holds", error))?;
    if busy != 0 {
        return Err(JournalError::Store {
            path: path.to_owned(),
            action: "make certain what it holds",
            source: "another process is using it; try again".into(),
        });
    }
    Ok(())
}

fn configure(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(BUSY_WAIT)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    conn.pragma_update(None, "cell_size_check", true)?;
    conn.pragma_update(None, "fullfsync", true)?;
    conn.pragma_update(None, "checkpoint_fullfsync", true)?;
    conn.pragma_update(None, "synchronous", Sync::Full as i64)?;
    Ok(conn)
}

/// What is wrong with the settings of a connection that was just opened, one sentence each.
///
/// # Errors
/// [`JournalError::Corrupt`] or [`JournalError::Newer`] if the file is not ours.
pub(super) fn settings(conn: &Connection, path: &Path) -> Result<Vec<String>, JournalError> {
    let read = |error| failed(path, "read", error);
    let application = conn.pragma_query_value(None, "application_id", |row| row.get(0));
    let version = conn.pragma_query_value(None, "user_version", |row| row.get(0));
    let version = (version.map_err(read)?, USER_VERSION);
    judge(path, application.map_err(read)?, version)?;
    verify_schema(conn, path, &SCHEMA)?;
    let mut complaints = Vec::new();
    let mode: String = conn
        .pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))
        .map_err(read)?;
    if mode != "wal" {
        complaints.push(format!(
            "the journal mode is {mode}; a write-ahead log needs a file system with shared memory"
        ));
    }
    let sync: i64 = conn
        .pragma_query_value(None, "synchronous", |row| row.get(0))
        .map_err(read)?;
    if sync != Sync::Full as i64 {
        complaints.push(format!("synchronous is {sync}, not FULL"));
    }
    Ok(complaints)
}

/// Refuses a file that has more, less or other than `schema`, which is sorted by kind and name.
///
/// # Errors
/// [`JournalError::Corrupt`].
pub(super) fn verify_schema(
    conn: &Connection,
    path: &Path,
    schema: &[Object],
) -> Result<(), JournalError> {
    type Found = (String, String, String);
    let read = || {
        let mut statement = conn.prepare(
            "SELECT type, name, ifnull(sql, '') FROM sqlite_schema \
             WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY type, name",
        )?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        rows.collect::<rusqlite::Result<Vec<Found>>>()
    };
    let found = read().map_err(|error| failed(path, "read", error))?;
    let same = |(theirs, ours): (&Found, &Object)| {
        (theirs.0.as_str(), theirs.1.as_str(), theirs.2.as_str()) == *ours
    };
    if found.len() == schema.len() && found.iter().zip(schema).all(same) {
        return Ok(());
    }
    Err(distrust(path, "its schema is not that of planbox"))
}

/// Changes how hard the next transactions work, and verifies it.
///
/// # Errors
/// A failure of SQLite, or its refusal.
pub(super) fn set_sync(conn: &Connection, path: &Path, sync: Sync) -> Result<(), JournalError> {
    let change = || {
        conn.pragma_update(None, "synchronous", sync as i64)?;
        conn.pragma_query_value(None, "synchronous", |row| row.get::<_, i64>(0))
    };
    match change() {
        Ok(now) if now == sync as i64 => Ok(()),
        Ok(now) => Err(JournalError::Store {
            path: path.to_owned(),
            action: "change its durability",
            source: format!("synchronous stays {now}").into(),
        }),
        Err(error) => Err(failed(path, "change its durability", error)),
    }
}
