//! The parts of the example; `tests/it/router.rs` has them, too, and runs the load script.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "an example is a program of its own: it prints and reads the clock"
)]

mod alone;
mod arguments;
mod broken;
mod http;
pub(crate) mod load;
mod model;
mod pace;
mod process;
mod report;
mod rounds;
mod router;
mod table;

pub(crate) use arguments::run;
pub(crate) use process::Host;

use planbox::sync::order::{Class, Order, Rank};
use planbox::sync::{Condvar, Mutex};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use table::Home;

/// The locks of the example; never two at once.
const ORDER: Order = Order::new(&[
    Class::inside("active", "one global of the broken router"),
    Class::inside("turn", "how many activations have passed"),
    Class::inside("pace", "whether the load is over"),
]);
const ACTIVE: Rank = ORDER.rank("active");
const TURN: Rank = ORDER.rank("turn");
const PACE: Rank = ORDER.rank("pace");

/// Why a router did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The status in the answer.
    pub(crate) status: u16,
    /// Text for programs.
    pub(crate) code: String,
    /// Text for people.
    pub(crate) message: String,
}

impl Refusal {
    fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            code: code.to_owned(),
            message: message.into(),
        }
    }

    fn nothing_active() -> Self {
        Self::new(400, "nothing-active", "no model is active")
    }

    fn body(&self) -> String {
        serde_json::json!({"error": self.code, "message": self.message}).to_string()
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        Self::new(500, "database", error.to_string())
    }
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        Self::new(500, "io", error.to_string())
    }
}

/// The body of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// The version that the router says has answered.
    version: String,
    /// The version that the model itself says it is.
    tag: String,
    /// What was asked and predicted.
    #[serde(skip_serializing_if = "Option::is_none")]
    prediction: Option<(u32, u32)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics: Option<String>,
}

impl Answer {
    fn of(version: &str, tag: &str) -> Self {
        Self {
            version: version.to_owned(),
            tag: tag.to_owned(),
            prediction: None,
            metrics: None,
        }
    }

    fn predicting(mut self, x: u32, y: u32) -> Self {
        self.prediction = Some((x, y));
        self
    }

    fn with_metrics(mut self, metrics: String) -> Self {
        self.metrics = Some(metrics);
        self
    }

    fn body(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// True if version, tag, prediction and metrics are not all of one model.
    fn is_mixed(&self) -> bool {
        let predicted = self.prediction;
        self.version != self.tag
            || predicted.is_some_and(|(x, y)| y != model::expected(&self.version, x))
            || (self.metrics.as_ref()).is_some_and(|m| *m != format!("metrics of {}", self.version))
    }
}

/// What a request asks to go wrong in the middle of an activation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// The process is killed at this step.
    Kill(String),
    /// Another program changes the row that the plan has changed.
    Meddle,
}

impl Fault {
    fn from(text: Option<&str>) -> Self {
        match text {
            Some("meddle") => Self::Meddle,
            Some(text) => Self::Kill(text.to_owned()),
            None => Self::None,
        }
    }

    /// Carries the fault out if this is its step.
    fn at(&self, step: &str, home: &Home) -> Result<(), Refusal> {
        match self {
            Self::Kill(wanted) if wanted == step => {
                let own = rustix::process::getpid();
                let killed = rustix::process::kill_process(own, rustix::process::Signal::KILL);
                killed.map_err(|error| Refusal::from(std::io::Error::from(error)))
            }
            Self::Meddle if step == "loaded" => table::meddle(&home.database()),
            _ => Ok(()),
        }
    }
}

/// Lets a request wait for an activation to pass by.
#[derive(Debug)]
struct Turn {
    passed: Mutex<u64>,
    changed: Condvar,
}

impl Default for Turn {
    fn default() -> Self {
        Self {
            passed: Mutex::new(TURN, "turn", 0),
            changed: Condvar::new(),
        }
    }
}

impl Turn {
    /// The longest that an answer is held up: the activations may have ended.
    const LONGEST: Duration = Duration::from_secs(2);

    fn passed(&self) {
        *self.passed.lock() += 1;
        self.changed.notify_all();
    }

    /// If `wanted`, waits until the next activation.
    fn hold(&self, wanted: bool) {
        if wanted {
            let mut passed = self.passed.lock();
            let before = *passed;
            while *passed == before && !self.changed.wait_for(&mut passed, Self::LONGEST) {}
        }
    }
}
