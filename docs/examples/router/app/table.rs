//! The table of models, as any program might keep it.

use super::Refusal;
use super::model::Model;
use planbox::Stored;
use rusqlite::{Connection, OptionalExtension as _, params};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long somebody else may hold the lock of the database.
pub(crate) const PATIENCE: Duration = Duration::from_millis(500);

/// How many models there are: `v1` and so on. `v1` is active at first.
pub(crate) const MODELS: u32 = 8;
/// A model whose artefact is damaged.
pub(crate) const DAMAGED: &str = "damaged";
/// A model that a trigger of the database refuses to make active.
pub(crate) const FORBIDDEN: &str = "forbidden";

/// Every activation changes the row that was active before, so that two of them always meet in it.
const SCHEMA: &str = "
PRAGMA journal_mode = WAL;
CREATE TABLE models (
    version     TEXT PRIMARY KEY NOT NULL,
    path        TEXT NOT NULL,
    active      INTEGER NOT NULL DEFAULT 0,
    deployed_at INTEGER,
    generation  INTEGER NOT NULL DEFAULT 0,
    metrics     TEXT NOT NULL
);
CREATE TRIGGER forbidden BEFORE UPDATE OF active ON models
WHEN new.active = 1 AND new.version = 'forbidden'
BEGIN SELECT RAISE(ABORT, 'this model must not be active'); END;
";

/// Where a router keeps its things.
#[derive(Debug, Clone)]
pub(crate) struct Home(pub(crate) PathBuf);

impl Home {
    /// The database.
    pub(crate) fn database(&self) -> PathBuf {
        self.0.join("router.db")
    }

    /// The store of the plans.
    pub(crate) fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    /// Makes the table and the artefacts, unless they are there.
    pub(crate) fn found(&self) -> Result<(), Refusal> {
        let database = self.database();
        if database.exists() {
            return Ok(());
        }
        std::fs::create_dir_all(&self.0)?;
        let mut connection = Connection::open(database)?;
        connection.execute_batch(SCHEMA)?;
        let write = connection.transaction()?;
        let names = (1..=MODELS).map(|number| format!("v{number}"));
        for version in names.chain([DAMAGED.to_owned(), FORBIDDEN.to_owned()]) {
            let path = self.0.join(format!("{version}.model"));
            Model::write(&path, &version)?;
            if version == DAMAGED {
                let file = std::fs::OpenOptions::new().write(true).open(&path)?;
                file.set_len(1_000)?;
            }
            let metrics = format!("metrics of {version}");
            let path = path.to_string_lossy();
            write.execute(
                "INSERT INTO models (version, path, metrics) VALUES (?, ?, ?)",
                params![version, path, metrics],
            )?;
        }
        write.execute(
            "UPDATE models SET active = 1, generation = 1 WHERE version = 'v1'",
            [],
        )?;
        Ok(write.commit()?)
    }
}

/// Opens a database for looking, or for the writes of the broken router.
pub(crate) fn open(path: &Path) -> Result<Connection, Refusal> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(PATIENCE)?;
    Ok(connection)
}

/// What the table says is active.
pub(crate) fn active(connection: &Connection) -> Result<Stored, Refusal> {
    let found = connection
        .prepare_cached("SELECT version, generation FROM models WHERE active = 1")?
        .query_row([], |row| {
            let generation = row.get::<_, i64>(1)?.unsigned_abs();
            Ok(Stored::new(row.get::<_, String>(0)?, generation))
        })
        .optional()?;
    Ok(found.unwrap_or_else(|| Stored::nothing(0)))
}

/// Loads the artefact that the table names for `version`.
pub(crate) fn load(connection: &Connection, version: &str) -> Result<Model, Refusal> {
    let path: Option<String> = connection
        .prepare_cached("SELECT path FROM models WHERE version = ?")?
        .query_row([version], |row| row.get(0))
        .optional()?;
    let path = path.ok_or_else(|| unknown(version))?;
    Model::load(Path::new(&path))
}

/// The metrics of `version`.
pub(crate) fn metrics(connection: &Connection, version: &str) -> Result<String, Refusal> {
    let found = connection
        .prepare_cached("SELECT metrics FROM models WHERE version = ?")?
        .query_row([version], |row| row.get(0))
        .optional()?;
    found.ok_or_else(|| unknown(version))
}

/// Makes `version` the active one, in one transaction; what the table says afterwards.
pub(crate) fn activate(connection: &mut Connection, version: &str) -> Result<Stored, Refusal> {
    let write = connection.transaction()?;
    write.execute("UPDATE models SET active = 0 WHERE active = 1", [])?;
    let changed = write.execute(
        "UPDATE models SET active = 1, deployed_at = unixepoch(),
         generation = (SELECT max(generation) + 1 FROM models) WHERE version = ?",
        [version],
    )?;
    if changed != 1 {
        return Err(unknown(version));
    }
    let row = active(&write)?;
    write.commit()?;
    Ok(row)
}

/// What some other program does to the row that is active.
pub(crate) fn meddle(path: &Path) -> Result<(), Refusal> {
    let changed = open(path)?.execute(
        "UPDATE models SET deployed_at = ifnull(deployed_at, 0) + 1 WHERE active = 1",
        [],
    )?;
    (changed == 1)
        .then_some(())
        .ok_or_else(|| Refusal::new(500, "no-row", "no row is active"))
}

fn unknown(version: &str) -> Refusal {
    Refusal::new(404, "unknown-model", format!("there is no model {version}"))
}
