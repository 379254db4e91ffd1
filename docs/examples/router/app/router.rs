//! The three functions of a router, on a register and a plan.

use super::model::Model;
use super::table::{self, Home};
use super::{Answer, Fault, Refusal, Turn};
use planbox::{
    Explain as _, PlanId, SandboxManager, Snapshot, Sqlite, Stored, Value, VersionRegister,
};
use rusqlite::Connection;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a router does.
pub(crate) trait Router: Send + Sync {
    /// Makes `version` the active one, in the table and in memory.
    fn activate(&self, version: &str, fault: &Fault) -> Result<Stored, Refusal>;
    /// Answers `x`. `across` holds the answer up in the middle until an activation has passed by.
    fn predict(&self, desk: &mut Desk, x: u32, across: bool) -> Result<Answer, Refusal>;
    /// The metrics of the active model. `across` as in `predict`.
    fn metrics(&self, desk: &mut Desk, across: bool) -> Result<Answer, Refusal>;
}

/// What one serving thread has for itself: a connection, and when it looked last.
pub(crate) struct Desk {
    pub(crate) connection: Connection,
    /// The counter of the database at the last look that found the register in agreement.
    seen: Option<i64>,
}

impl Desk {
    pub(crate) fn new(home: &Home) -> Result<Self, Refusal> {
        let connection = table::open(&home.database())?;
        Ok(Self {
            connection,
            seen: None,
        })
    }

    /// A number that is another one whenever somebody else has changed the database.
    fn counter(&self) -> Result<i64, Refusal> {
        let mut ask = self.connection.prepare_cached("PRAGMA data_version")?;
        Ok(ask.query_row([], |row| row.get(0))?)
    }
}

/// The router that planbox makes possible.
pub(crate) struct Ours {
    home: Home,
    manager: SandboxManager,
    register: VersionRegister<Model>,
    activations: AtomicU64,
    turn: Turn,
}

impl Ours {
    /// Opens the store, which finishes what a killed router left, and loads what the row names.
    pub(crate) fn open(home: &Home) -> Result<Self, Refusal> {
        let ours = Self {
            home: home.clone(),
            manager: SandboxManager::open(home.store()).map_err(failed)?,
            register: VersionRegister::unloaded(),
            activations: AtomicU64::new(0),
            turn: Turn::default(),
        };
        ours.current(&mut Desk::new(home)?)?;
        Ok(ours)
    }

    /// Waits until everything that was activated is settled, too.
    pub(crate) fn finish(&self) {
        self.manager.settle();
    }

    /// The snapshot that a request answers from: of the row as it was when the request began, or
    /// of the one before while somebody is bringing the next.
    fn current(&self, desk: &mut Desk) -> Result<Snapshot<Model>, Refusal> {
        let counter = desk.counter()?;
        if desk.seen == Some(counter) {
            return Ok(self.register.snapshot());
        }
        let read = || table::active(&desk.connection);
        let load = |version: &str| table::load(&desk.connection, version).map(Arc::new);
        let refreshed = self.register.refresh(read, load)?;
        if refreshed.is_current() {
            desk.seen = Some(counter);
            self.turn.passed();
        }
        Ok(refreshed.into_snapshot())
    }

    fn try_activate(&self, plan: &PlanId, version: &str, fault: &Fault) -> Result<Stored, Refusal> {
        let database = self.home.database();
        let row = self
            .manager
            .open_sandbox(plan, Sqlite::at(&database).busy_timeout(table::PATIENCE));
        let row = row.map_err(failed)?;
        let cell = Value::of(&self.register);
        let cell = self.manager.open_sandbox(plan, cell).map_err(failed)?;
        fault.at("opened", &self.home)?;
        let (stored, model) = {
            let mut copy = Connection::open(row.path())?;
            // The copy is the plan's own: what is to last is flushed by the commit.
            copy.pragma_update(None, "synchronous", false)?;
            let stored = table::activate(&mut copy, version)?;
            fault.at("row", &self.home)?;
            (stored, table::load(&copy, version)?)
        };
        cell.set_stored(&stored, Some(model)).map_err(failed)?;
        fault.at("loaded", &self.home)?;
        self.manager
            .commit_all(plan)
            .map_err(|error| refused(&error))?;
        fault.at("committed", &self.home)?;
        Ok(stored)
    }
}

impl Router for Ours {
    fn activate(&self, version: &str, fault: &Fault) -> Result<Stored, Refusal> {
        let number = self.activations.fetch_add(1, Ordering::Relaxed);
        let name = format!("activate-{}-{number}", self.register.id());
        let plan = PlanId::new(name).map_err(failed)?;
        let outcome = self.try_activate(&plan, version, fault);
        match &outcome {
            Ok(_) => self.turn.passed(),
            // Nothing has changed; what the plan had prepared goes.
            Err(_) => drop(self.manager.rollback_all(&plan)),
        }
        outcome
    }

    fn predict(&self, desk: &mut Desk, x: u32, across: bool) -> Result<Answer, Refusal> {
        let active = self.current(desk)?;
        let model = active.value().ok_or_else(Refusal::nothing_active)?;
        let y = model.predict(x);
        self.turn.hold(across);
        Ok(Answer::of(active.version(), model.tag()).predicting(x, y))
    }

    fn metrics(&self, desk: &mut Desk, across: bool) -> Result<Answer, Refusal> {
        let active = self.current(desk)?;
        let model = active.value().ok_or_else(Refusal::nothing_active)?;
        self.turn.hold(across);
        let metrics = table::metrics(&desk.connection, active.version())?;
        Ok(Answer::of(active.version(), model.tag()).with_metrics(metrics))
    }
}

/// A failure that leaves everything as it was.
fn failed(error: impl Into<planbox::Error>) -> Refusal {
    let error = error.into();
    Refusal::new(500, error.code(), error.to_string())
}

/// A commit that did not happen: somebody else was faster, or is at it.
fn refused(error: &planbox::error::CommitError) -> Refusal {
    let status = match error.code() {
        "conflict" => 409,
        _ if error.is_retryable() => 503,
        _ => 500,
    };
    Refusal::new(status, error.code(), error.to_string())
}
