//! Failures of the command line: which exit status they have, and how they are told.

use crate::output::with;
use crate::text::{clean, shell_word};
use planbox::error::{
    CommitError, DiffError, GcError, JobError, LockError, OpenError, OpenSandboxError,
    RecoverError, RollbackError, StatusError,
};
use planbox::rfc3339;
use planbox::{Conflict, Error, Explain as _, IdError, PlanId, Stage};
use serde_json::{Map, Value, json};
use std::error::Error as StdError;
use std::process::ExitCode;

/// The exit status. See `planbox --help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done; also: already committed, nothing to do.
    Done = 0,
    /// Failed, nothing changed.
    Failed = 1,
    /// Usage, or refused input.
    Refused = 2,
    /// Something was found.
    Findings = 3,
    /// Conflict, nothing changed.
    Conflict = 4,
    /// Busy or lock time-out, nothing changed.
    Busy = 5,
    /// Reality may be between old and new.
    RecoveryNeeded = 6,
    /// CMD failed, nothing changed, the sandbox is kept.
    CommandFailed = 7,
    /// Stopped by a signal.
    Interrupted = 130,
}

impl Exit {
    /// The outcome in JSON for a failure with this status.
    fn outcome(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Findings => "findings",
            Self::Conflict => "conflict",
            Self::Busy => "busy",
            Self::RecoveryNeeded => "recovery-needed",
            Self::CommandFailed => "command-failed",
            Self::Interrupted => "interrupted",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The exit status of a failure of the library, by its code.
fn exit_of(error: &Error) -> Exit {
    if error.needs_recovery() {
        return Exit::RecoveryNeeded;
    }
    match error.code() {
        "interrupted" => Exit::Interrupted,
        "busy" | "lock-timeout" | "resource-busy" => Exit::Busy,
        "conflict" => Exit::Conflict,
        "bad-id" | "overlap" | "name-taken" | "second-marker" | "bad-store" | "no-store"
        | "unknown-plan" | "wrong-state" | "unknown-job" | "job-over" => Exit::Refused,
        "refused" if matches!(error.stage(), None | Some(Stage::Open)) => Exit::Refused,
        _ => Exit::Failed,
    }
}

/// Why a command did not do what it was asked to do.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: Kind,
    plan: Option<PlanId>,
    resources: Vec<Value>,
    extra: Map<String, Value>,
}

#[derive(Debug)]
enum Kind {
    /// The library refused or failed.
    Library(Box<Error>),
    /// The command line itself did.
    Own(Box<Own>),
}

/// A failure of the command line itself.
#[derive(Debug)]
pub(crate) struct Own {
    /// The exit status.
    pub(crate) exit: Exit,
    /// Stable kebab-case code.
    pub(crate) code: &'static str,
    /// What happened, as a sentence.
    pub(crate) message: String,
    /// What to do next.
    pub(crate) next: String,
    /// What the operating system said.
    pub(crate) source: Option<std::io::Error>,
}

macro_rules! library_failure {
    ($($error:ty),+) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::new(Kind::Library(Box::new(error.into())))
            }
        })+
    };
}

library_failure!(
    Error,
    IdError,
    OpenError,
    OpenSandboxError,
    DiffError,
    CommitError,
    RollbackError,
    RecoverError,
    StatusError,
    GcError,
    JobError
);

impl From<Own> for Failure {
    fn from(own: Own) -> Self {
        Self::new(Kind::Own(Box::new(own)))
    }
}

/// The failure of any operation on a plan.
pub(crate) fn fault(fault: planbox::error::PlanFault) -> Failure {
    StatusError::Plan(fault).into()
}

/// A refusal of what was typed.
pub(crate) fn refused(code: &'static str, message: String, next: &str) -> Failure {
    let next = next.to_owned();
    Own {
        exit: Exit::Refused,
        code,
        message,
        next,
        source: None,
    }
    .into()
}

/// The answer to a signal before anything was decided.
pub(crate) fn interrupted(plan: Option<&PlanId>) -> Failure {
    let own = Own {
        exit: Exit::Interrupted,
        code: "interrupted",
        message: "stopped by a signal; nothing was changed".to_owned(),
        next: "try again; what the plan did so far is kept".to_owned(),
        source: None,
    };
    Failure::from(own).of(plan)
}

impl Failure {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            plan: None,
            resources: Vec::new(),
            extra: Map::new(),
        }
    }

    /// The same failure, about `plan` if it does not name one itself.
    pub(crate) fn of(mut self, plan: Option<&PlanId>) -> Self {
        self.plan = self.plan.or_else(|| plan.cloned());
        self
    }

    /// The same failure, with what is known of the resources.
    pub(crate) fn with_resources(mut self, resources: Vec<Value>) -> Self {
        self.resources = resources;
        self
    }

    /// The same failure, with one more field in JSON.
    pub(crate) fn with(mut self, key: &str, value: Value) -> Self {
        self.extra.insert(key.to_owned(), value);
        self
    }

    /// The exit status.
    pub(crate) fn exit(&self) -> Exit {
        match &self.kind {
            Kind::Library(error) => exit_of(error),
            Kind::Own(own) => own.exit,
        }
    }

    fn plan(&self) -> Option<&PlanId> {
        let named = match &self.kind {
            Kind::Library(error) => error.plan(),
            Kind::Own(_) => None,
        };
        named.or(self.plan.as_ref())
    }

    /// The stable code.
    pub(crate) fn code(&self) -> &'static str {
        match &self.kind {
            Kind::Library(error) => error.code(),
            Kind::Own(own) => own.code,
        }
    }

    fn next(&self) -> String {
        match &self.kind {
            Kind::Library(error) => error.next_step(),
            Kind::Own(own) => own.next.clone(),
        }
    }

    fn conflicts(&self) -> &[Conflict] {
        match &self.kind {
            Kind::Library(error) => conflicts_of(error),
            Kind::Own(_) => &[],
        }
    }

    /// What happened, then each cause, without repetitions.
    pub(crate) fn chain(&self) -> Vec<String> {
        match &self.kind {
            Kind::Library(error) => chain_of(error),
            Kind::Own(own) => {
                let source = own.source.as_ref().map(ToString::to_string);
                std::iter::once(own.message.clone()).chain(source).collect()
            }
        }
    }

    /// What a person reads: the message, its causes indented, the next step.
    pub(crate) fn text(&self) -> String {
        let mut lines = String::new();
        for (depth, cause) in self.chain().iter().enumerate() {
            if depth > 0 {
                lines.push_str("\n  ");
            }
            lines.push_str(&clean(cause).replace('\n', if depth > 0 { "\n  " } else { "\n" }));
        }
        format!("{lines}\nnext: {}", clean(&self.next()))
    }

    /// The one object on standard output.
    pub(crate) fn json(&self) -> Value {
        let (resource, path, stage, retryable) = match &self.kind {
            Kind::Library(error) => {
                let path = error.path().map(crate::text::shown);
                (error.resource(), path, error.stage(), error.is_retryable())
            }
            Kind::Own(own) => (None, None, None, own.exit == Exit::Interrupted),
        };
        let mut error = json!({
            "code": self.code(),
            "message": self.chain().join(": "),
            "plan": self.plan(),
            "resource": resource,
            "path": path,
            "stage": stage,
            "next": self.next(),
            "retryable": retryable,
        });
        if !self.conflicts().is_empty() {
            error = with(error, "conflicts", json!(self.conflicts()));
        }
        let object = json!({
            "outcome": self.exit().outcome(),
            "plan": self.plan(),
            "resources": self.resources,
            "error": error,
        });
        self.extra.iter().fold(object, |object, (key, value)| {
            with(object, key, value.clone())
        })
    }
}

fn conflicts_of(error: &Error) -> &[Conflict] {
    match error {
        Error::Commit(CommitError::Conflict { conflicts, .. }) => conflicts,
        Error::Commit(
            CommitError::Refused { source, .. }
            | CommitError::TakenBack { source, .. }
            | CommitError::Hazard { source, .. },
        )
        | Error::Recover(RecoverError::Participant { source, .. })
        | Error::Rollback(RollbackError::Participant { source, .. }) => &source.conflicts,
        _ => &[],
    }
}

fn chain_of(error: &Error) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = next {
        let text = say(error);
        // A transparent wrapper says what its content says.
        if texts.last() != Some(&text) {
            texts.push(text);
        }
        next = error.source();
    }
    texts
}

/// One error in words; a lock's holder with a time that people can read.
fn say(error: &(dyn StdError + 'static)) -> String {
    let (key, waited, holder) = match error.downcast_ref::<LockError>() {
        Some(LockError::Busy { key, holder }) => (key, None, holder),
        Some(LockError::TimedOut {
            key,
            waited_ms,
            holder,
        }) => (key, Some(waited_ms), holder),
        _ => return error.to_string(),
    };
    let who = holder.as_ref().map_or_else(
        || "somebody who left no name".to_owned(),
        |holder| {
            let since = rfc3339(holder.since_unix_ms);
            format!(
                "process {} on {}, busy with {} since {since}",
                holder.pid, holder.host, holder.operation
            )
        },
    );
    match waited {
        None => format!("{key} is held by {who}"),
        Some(waited) => format!("after {waited} ms {key} is still held by {who}"),
    }
}

/// How CMD ended, told as the failure of `run` or `exec`.
pub(crate) fn command_failed(plan: &PlanId, how: &str, code: &'static str) -> Own {
    let word = shell_word(plan.as_str());
    Own {
        exit: Exit::CommandFailed,
        code,
        message: format!("{how}; nothing was committed, the sandbox of plan {plan} is kept"),
        next: format!(
            "look with `planbox diff {word}`, go on with `planbox exec {word} -- CMD`, then \
             `planbox commit {word}` or `planbox rollback {word}`"
        ),
        source: None,
    }
}

#[cfg(test)]
mod tests;
