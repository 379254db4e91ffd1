//! An open manager, with everything a command needs around it.

use crate::args::Global;
use crate::exit::{Failure, fault, interrupted, refused};
use crate::output::Output;
use crate::progress::Progress;
use crate::signal::Signals;
use crate::text::{clean, shell_word};
use planbox::error::{LockError, PlanFault};
use planbox::{
    Acknowledge, CommitOptions, Error, Explain as _, LockWait, PlanHold, PlanId, PlanState,
    PlanStatus, Recovered, RecoveryReport, ResourceName, SandboxManager,
};
use std::path::PathBuf;
use std::time::Duration;

/// A wait for a plan lock is cut into pieces of at most this many milliseconds, so that a signal
/// ends it.
const PATIENCE_MS: u64 = 250;

/// What the command line asked for, apart from the command.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) global: Global,
    pub(crate) out: Output,
    pub(crate) signals: Signals,
}

/// An open manager.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    pub(crate) context: &'a Context,
    pub(crate) store: PathBuf,
    // Before the manager, so that the bar is gone when the manager is.
    progress: Option<Progress>,
    pub(crate) manager: SandboxManager,
}

impl Context {
    /// Opens the store and tells what was recovered.
    pub(crate) fn open(&self) -> Result<Session<'_>, Failure> {
        let session = self.open_as_it_is(true)?;
        session.tell_recovered(session.manager.recovered());
        Ok(session)
    }

    /// Opens the store; recovers what a crash left only if `recover` says so.
    pub(crate) fn open_as_it_is(&self, recover: bool) -> Result<Session<'_>, Failure> {
        let named = self.global.store.clone().or_else(planbox::default_store);
        let path = named.ok_or(planbox::error::OpenError::NoHome)?;
        let absolute = std::path::absolute(&path);
        let store = absolute.map_err(|source| planbox::error::OpenError::Store {
            path,
            reason: "it has no absolute path".to_owned(),
            source: Some(source),
        })?;
        self.out
            .detail(&format!("the store is {}", crate::text::shown(&store)));
        let builder = SandboxManager::builder()
            .store(&store)
            .wait(self.piece().0)
            .recover_at_open(recover)
            .cancelled(self.signals.flag());
        let manager = self.signals.during(|| builder.open())?;
        let mut session = Session {
            context: self,
            store,
            progress: None,
            manager,
        };
        session.show_progress();
        Ok(session)
    }

    /// One piece of the wait for a plan lock, and how many of them there are.
    fn piece(&self) -> (LockWait, u64) {
        let total = u64::try_from(self.global.lock_timeout.as_millis()).unwrap_or(u64::MAX);
        if total == 0 {
            return (LockWait::Try, 1);
        }
        let pieces = total.div_ceil(PATIENCE_MS);
        (
            LockWait::For(Duration::from_millis(total.div_ceil(pieces))),
            pieces,
        )
    }

    /// The whole wait, for locks that are taken in the middle of an operation.
    pub(crate) fn wait(&self) -> LockWait {
        if self.global.lock_timeout.is_zero() {
            LockWait::Try
        } else {
            LockWait::For(self.global.lock_timeout)
        }
    }

    /// How to commit: nothing is left behind when it returns.
    pub(crate) fn commit_options(&self) -> CommitOptions {
        CommitOptions::default()
            .wait(self.wait())
            .acknowledge(Acknowledge::Settled)
    }

    /// Calls `take` until it has the lock, the time is over, or a signal came.
    pub(crate) fn patiently<T>(
        &self,
        plan: &PlanId,
        mut take: impl FnMut() -> Result<T, PlanFault>,
    ) -> Result<T, Failure> {
        let (_, pieces) = self.piece();
        for piece in 1..=pieces {
            if self.signals.is_cancelled() {
                break;
            }
            match take() {
                Err(PlanFault::Lock {
                    source: LockError::TimedOut { .. },
                    ..
                }) if piece < pieces => {}
                Err(PlanFault::Lock {
                    plan,
                    source: LockError::TimedOut { key, holder, .. },
                }) => {
                    let total = self.global.lock_timeout.as_millis();
                    let waited_ms = u64::try_from(total).unwrap_or(u64::MAX);
                    let source = LockError::TimedOut {
                        key,
                        waited_ms,
                        holder,
                    };
                    return Err(fault(PlanFault::Lock { plan, source }));
                }
                other => return other.map_err(fault),
            }
        }
        Err(interrupted(Some(plan)))
    }
}

impl Session<'_> {
    /// Keeps a plan locked that must exist.
    pub(crate) fn hold_existing(
        &self,
        plan: &PlanId,
        operation: &'static str,
    ) -> Result<PlanHold, Failure> {
        self.context
            .patiently(plan, || self.manager.hold_existing(plan, operation))
    }

    /// Keeps a plan locked; tells whether it had to be made.
    pub(crate) fn hold_or_make(
        &self,
        plan: &PlanId,
        operation: &'static str,
    ) -> Result<(PlanHold, bool), Failure> {
        self.context
            .patiently(plan, || match self.manager.hold_existing(plan, operation) {
                Ok(hold) => Ok((hold, false)),
                Err(PlanFault::Unknown { .. }) => {
                    self.manager.hold(plan, operation).map(|hold| (hold, true))
                }
                Err(fault) => Err(fault),
            })
    }

    /// What is known of the plan; a refusal if nobody can work in it any more.
    pub(crate) fn workable(
        &self,
        plan: &PlanId,
        wanted: &'static str,
    ) -> Result<PlanStatus, Failure> {
        let status = self.manager.status(plan)?;
        if status.state == PlanState::Open {
            return Ok(status);
        }
        Err(fault(PlanFault::WrongState {
            plan: plan.clone(),
            state: status.state,
            wanted,
        }))
    }

    /// Shows a bar for long steps from now on, if somebody watches.
    pub(crate) fn show_progress(&mut self) {
        if self.context.out.is_watched() {
            self.progress = Progress::watch(&self.manager);
        }
    }

    /// Takes the bar away, because something else is about to be on the terminal.
    pub(crate) fn hide_progress(&mut self) {
        self.progress = None;
    }

    pub(crate) fn tell_recovered(&self, report: &RecoveryReport) {
        for recovered in &report.plans {
            let plan = &recovered.plan;
            let text = match &recovered.outcome {
                Ok(_) => format!("plan {plan}: {}", recovered_in_words(&recovered.outcome)),
                Err(error) => {
                    let word = shell_word(plan.as_str());
                    let code = error.code();
                    format!("plan {plan} needs recovery ({code}): run `planbox recover {word}`")
                }
            };
            self.context.out.talk(&text);
        }
    }
}

/// What a recovery did with a plan, in words.
pub(crate) fn recovered_in_words(
    outcome: &Result<Recovered, planbox::error::RecoverError>,
) -> String {
    match outcome {
        Ok(Recovered::Nothing) => "it was at rest".to_owned(),
        Ok(Recovered::Completed) => {
            "a commit that had been cut short was finished; everything is new".to_owned()
        }
        Ok(Recovered::Undone) => {
            "a commit that had been cut short was undone; everything is old, the sandboxes are kept"
                .to_owned()
        }
        Ok(Recovered::Removed) => "its leftovers were removed".to_owned(),
        Ok(Recovered::Busy) => "a living process holds it and will finish it".to_owned(),
        Ok(_) => "done".to_owned(),
        Err(error) => {
            let mut text = clean(&error.to_string());
            let mut source = std::error::Error::source(error);
            while let Some(cause) = source {
                text = format!("{text}: {}", clean(&cause.to_string()));
                source = cause.source();
            }
            text
        }
    }
}

/// Reads a plan id.
pub(crate) fn plan_id(text: &str) -> Result<PlanId, Failure> {
    PlanId::new(text).map_err(|error| Error::from(error).into())
}

/// A refusal because the plan has no resource of this name.
pub(crate) fn unknown_resource(plan: &PlanId, name: &ResourceName) -> Failure {
    let message = format!("plan {plan} has no resource {name}");
    let next = format!(
        "list them with `planbox path {}`",
        shell_word(plan.as_str())
    );
    refused("unknown-resource", message, &next).of(Some(plan))
}
