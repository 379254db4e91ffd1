//! The control: the algorithm as it was reported, line by line.
//!
//! The row is committed first, the model is loaded afterwards, and what is active is kept in two
//! globals that a request reads one after the other. Each of them is behind a lock, for the sake of
//! the language; that does not help.

use super::model::Model;
use super::router::{Desk, Router};
use super::table::{self, Home};
use super::{ACTIVE, Answer, Fault, Refusal, Turn};
use planbox::Stored;
use planbox::sync::Mutex;
use std::sync::Arc;

/// The router as reported.
pub(crate) struct Broken {
    home: Home,
    active_model: Mutex<Option<Arc<Model>>>,
    active_version: Mutex<Option<String>>,
    turn: Turn,
}

impl Broken {
    /// Begins with what the row names, which the original does not.
    pub(crate) fn open(home: &Home) -> Result<Self, Refusal> {
        let connection = table::open(&home.database())?;
        let version = table::active(&connection)?.version().map(str::to_owned);
        let model = version.as_deref().map(|v| table::load(&connection, v));
        // A model that does not load is none.
        let model = model.and_then(Result::ok).map(Arc::new);
        let version = version.filter(|_| model.is_some());
        Ok(Self {
            home: home.clone(),
            active_model: Mutex::new(ACTIVE, "active model", model),
            active_version: Mutex::new(ACTIVE, "active version", version),
            turn: Turn::default(),
        })
    }

    fn model(&self) -> Result<Arc<Model>, Refusal> {
        let model = self.active_model.lock().clone();
        model.ok_or_else(Refusal::nothing_active)
    }

    fn version(&self) -> String {
        self.active_version.lock().clone().unwrap_or_default()
    }
}

impl Router for Broken {
    fn activate(&self, version: &str, fault: &Fault) -> Result<Stored, Refusal> {
        fault.at("opened", &self.home)?;
        let mut connection = table::open(&self.home.database())?;
        let stored = table::activate(&mut connection, version)?;
        fault.at("row", &self.home)?;
        let model = table::load(&connection, version)?;
        fault.at("loaded", &self.home)?;
        *self.active_model.lock() = Some(Arc::new(model));
        *self.active_version.lock() = Some(version.to_owned());
        fault.at("committed", &self.home)?;
        self.turn.passed();
        Ok(stored)
    }

    fn predict(&self, _desk: &mut Desk, x: u32, across: bool) -> Result<Answer, Refusal> {
        let model = self.model()?;
        let y = model.predict(x);
        self.turn.hold(across);
        Ok(Answer::of(&self.version(), model.tag()).predicting(x, y))
    }

    fn metrics(&self, desk: &mut Desk, across: bool) -> Result<Answer, Refusal> {
        let model = self.model()?;
        self.turn.hold(across);
        let version = self.version();
        let metrics = table::metrics(&desk.connection, &version)?;
        Ok(Answer::of(&version, model.tag()).with_metrics(metrics))
    }
}
