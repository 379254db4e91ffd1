//! The kind `sqlite`: each spot is a row, found by its key.

use planbox::Sqlite;
use planbox::conformance::{Spot, Subject, Tried, View};
use planbox::sandbox::sqlite::SqliteKind;
use planbox::sandbox::{Kind, Resource};
use rusqlite::{Connection, OpenFlags};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long the participant waits for a foreign writer; none of them stays longer than a moment.
const WAIT: Duration = Duration::from_millis(200);

#[derive(Debug)]
struct Rows {
    home: PathBuf,
    decides: bool,
}

/// A database that votes.
pub(crate) fn sqlite(home: &Path) -> Tried<Box<dyn Subject>> {
    lay_out(home, false)
}

/// A database whose commit decides for the plan.
pub(crate) fn deciding(home: &Path) -> Tried<Box<dyn Subject>> {
    lay_out(home, true)
}

fn lay_out(home: &Path, decides: bool) -> Tried<Box<dyn Subject>> {
    let subject = Rows {
        home: home.to_owned(),
        decides,
    };
    let sql = "CREATE TABLE numbers (id INTEGER PRIMARY KEY, version INTEGER NOT NULL); \
               CREATE TABLE still (id INTEGER PRIMARY KEY, text TEXT); \
               INSERT INTO numbers VALUES (1, 0), (2, 0), (3, 0); \
               INSERT INTO still VALUES (1, 'still');";
    Connection::open(subject.file())?.execute_batch(sql)?;
    Ok(Box::new(subject))
}

fn id(spot: Spot) -> i64 {
    match spot {
        Spot::A => 1,
        Spot::B => 2,
        Spot::C => 3,
    }
}

fn open(file: &Path) -> Tried<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
    let database = Connection::open_with_flags(file, flags)?;
    // A plan that settles in the background writes once more, for a moment.
    database.busy_timeout(Duration::from_secs(5))?;
    Ok(database)
}

fn put(file: &Path, spot: Spot, version: u32) -> Tried<()> {
    let sql = "UPDATE numbers SET version = ?2 WHERE id = ?1";
    let database = open(file)?;
    // Longer than a plan that settles takes; one that holds the lock from vote to apply keeps a
    // foreign writer out.
    database.busy_timeout(Duration::from_secs(1))?;
    let changed = database.execute(sql, (id(spot), version))?;
    if changed == 1 {
        return Ok(());
    }
    Err(format!("{changed} rows were changed").into())
}

/// Every row of every table that is not ours.
fn told(file: &Path) -> Tried<String> {
    let database = open(file)?;
    let mut lines = Vec::new();
    for sql in [
        "SELECT sql FROM sqlite_schema WHERE name NOT LIKE 'planbox%' \
         AND tbl_name NOT LIKE 'planbox%' ORDER BY name",
        "SELECT id || '=' || version FROM numbers ORDER BY id",
        "SELECT id || '=' || text FROM still ORDER BY id",
    ] {
        let mut statement = database.prepare(sql)?;
        let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
        for row in rows {
            lines.push(row?);
        }
    }
    Ok(lines.join("\n"))
}

impl Rows {
    fn file(&self) -> PathBuf {
        self.home.join("real.db")
    }
}

impl Subject for Rows {
    fn resource(&self) -> Box<dyn Resource> {
        let database = Sqlite::at(self.file()).busy_timeout(WAIT);
        Box::new(if self.decides {
            database.decides()
        } else {
            database
        })
    }

    fn kind(&self) -> Option<Arc<dyn Kind>> {
        Some(Arc::new(SqliteKind))
    }

    fn name_of(&self, spot: Spot) -> String {
        format!("numbers[id={}]", id(spot))
    }

    fn change(&self, view: View<'_>, spot: Spot, version: u32) -> Tried<()> {
        put(view.path.ok_or("a database has a path")?, spot, version)
    }

    fn meddle(&self, spot: Spot, version: u32) -> Tried<()> {
        put(&self.file(), spot, version)
    }

    fn manifest(&self) -> Tried<String> {
        told(&self.file())
    }

    fn seen(&self, view: View<'_>) -> Tried<String> {
        told(view.path.ok_or("a database has a path")?)
    }

    /// Our table in the real database, and files beside it.
    fn leftovers(&self) -> Tried<String> {
        let sql = "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'planbox%'";
        let ours: i64 = open(&self.file())?.query_row(sql, [], |row| row.get(0))?;
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.home)? {
            let name = entry?.file_name();
            // SQLite's own files come and go with its connections.
            if !name.to_string_lossy().starts_with("real.db-") {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(format!("{ours} {names:?}"))
    }

    fn examine(&self) -> Tried<()> {
        let check = open(&self.file())?;
        let found: String = check.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
        if found == "ok" {
            return Ok(());
        }
        Err(found.into())
    }
}

mod voting {
    planbox::conformance_tests!(super::sqlite);
}

mod marker {
    planbox::conformance_tests!(super::deciding);
}
