//! The protocol, step by step, with the sandbox opened again between steps.

use super::{Sqlite, SqliteKind};
use crate::error::{Fault, ParticipantError};
use crate::sandbox::{Changes, Kind as _, Place, Redo, Resource as _, Sandbox, Vote, Work};
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

mod exact;
mod hostile;
mod model;
mod protocol;
mod whole;

/// A database and a store.
pub(super) struct Rig {
    home: TempDir,
}

/// A sandbox in the store.
pub(super) struct Box_ {
    pub(super) place: Place,
    pub(super) sandbox: Box<dyn Sandbox>,
}

const USERS: &str = "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, age)";

impl Rig {
    /// A database made by `sql`.
    pub(super) fn new(sql: &str) -> Self {
        // Memory: nothing here is about a power cut, and every commit flushes.
        let quick = Path::new("/dev/shm");
        let home = if quick.is_dir() {
            tempfile::tempdir_in(quick)
        } else {
            tempfile::tempdir()
        };
        let rig = Self {
            home: home.unwrap(),
        };
        rig.db().execute_batch(sql).unwrap();
        rig
    }

    /// Ten users.
    pub(super) fn users() -> Self {
        let rig = Self::new(USERS);
        for n in 0..10 {
            rig.run(&format!("INSERT INTO users VALUES ({n}, 'user {n}', {n})"));
        }
        rig
    }

    pub(super) fn path(&self) -> PathBuf {
        self.home.path().join("real.db")
    }

    pub(super) fn home(&self) -> &Path {
        self.home.path()
    }

    /// A connection of somebody else.
    pub(super) fn db(&self) -> Connection {
        open(&self.path())
    }

    pub(super) fn run(&self, sql: &str) {
        self.db().execute_batch(sql).unwrap();
    }

    pub(super) fn resource(&self) -> Sqlite {
        Sqlite::at(self.path()).busy_timeout(Duration::from_millis(50))
    }

    pub(super) fn open(&self, token: &str) -> Box_ {
        self.try_open(&self.resource(), token).unwrap()
    }

    pub(super) fn try_open(
        &self,
        resource: &Sqlite,
        token: &str,
    ) -> Result<Box_, ParticipantError> {
        let dir = self.home.path().join(token);
        std::fs::create_dir(&dir).unwrap();
        let place = Place {
            dir,
            token: token.to_owned(),
            label: format!("plan {token}"),
        };
        let sandbox = resource.open(&place, &Work::silent())?;
        Ok(Box_ { place, sandbox })
    }

    pub(super) fn rows(&self, sql: &str) -> Vec<String> {
        rows(&self.path(), sql)
    }

    /// Sound, and without a trace of ours.
    pub(super) fn check(&self) {
        assert_eq!(self.rows("PRAGMA integrity_check"), ["ok"]);
        let sql = "SELECT name FROM sqlite_schema WHERE name LIKE '%planbox%'";
        assert_eq!(self.rows(sql), Vec::<String>::new());
    }
}

pub(super) fn open(path: &Path) -> Connection {
    let conn = Connection::open(path).unwrap();
    conn.busy_timeout(Duration::from_secs(10)).unwrap();
    conn
}

/// Every row as one text.
pub(super) fn rows(path: &Path, sql: &str) -> Vec<String> {
    let conn = open(path);
    let mut statement = conn.prepare(sql).unwrap();
    let width = statement.column_count();
    let rows = statement.query_map([], |row| {
        let cells = (0..width).map(|at| match row.get_ref(at).unwrap() {
            rusqlite::types::ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
            other => format!("{other:?}"),
        });
        Ok(cells.collect::<Vec<_>>().join("|"))
    });
    rows.unwrap().map(Result::unwrap).collect()
}

impl Box_ {
    /// The plan runs `sql` in its copy.
    pub(super) fn run(&self, sql: &str) {
        open(self.view()).execute_batch(sql).unwrap();
    }

    pub(super) fn view(&self) -> &Path {
        self.sandbox.path().unwrap()
    }

    /// As after a crash: whatever was held is gone.
    pub(super) fn again(self) -> Self {
        let record = self.sandbox.record();
        drop(self.sandbox);
        let sandbox = SqliteKind.reopen(&record, &self.place).unwrap();
        Self {
            place: self.place,
            sandbox,
        }
    }

    pub(super) fn diff(&self) -> Changes {
        self.sandbox.diff(&Work::silent()).unwrap()
    }

    pub(super) fn vote(&mut self) -> Vote {
        self.sandbox.seal(&Work::silent()).unwrap();
        self.sandbox.prepare(&Work::silent()).unwrap()
    }

    pub(super) fn ready(&mut self) -> Redo {
        match self.vote() {
            Vote::Ready { redo, .. } => redo,
            other => panic!("{other:?}"),
        }
    }

    /// The conflicts, as text.
    pub(super) fn conflicts(&mut self) -> Vec<String> {
        match self.vote() {
            Vote::Conflict(found) => found.iter().map(ToString::to_string).collect(),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn apply(&mut self, redo: &Redo) {
        self.sandbox.apply(redo, &Work::silent()).unwrap();
    }

    pub(super) fn take_back(&mut self, redo: &Redo) -> Result<(), ParticipantError> {
        self.sandbox.take_back(redo, &Work::silent())
    }

    pub(super) fn discard(mut self) {
        self.sandbox.discard(&Work::silent()).unwrap();
        let left: Vec<_> = std::fs::read_dir(&self.place.dir).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }

    /// From the seal to the end.
    pub(super) fn commit(mut self) {
        let redo = self.ready();
        self.apply(&redo);
        self.sandbox.settle(&redo).unwrap();
        self.discard();
    }
}

pub(super) fn fault<T>(outcome: Result<T, ParticipantError>) -> Fault {
    match outcome {
        Ok(_) => panic!("it went well"),
        Err(error) => error.fault,
    }
}
