//! What survives: plans, their sandboxes, decisions, receipts and the story of each; and jobs.
//!
//! [`JournalStore`] is the one door; [`SqliteJournal`] keeps it in a file that several processes
//! share, [`MemoryJournal`] keeps it for the life of a process. Both follow the same rules, which
//! are written once, over rows.
//!
//! # The rules
//! 1. Each call is one transaction: all of it, or nothing of it.
//! 2. [`JournalStore::acquire`] gives out an epoch; every other write names the epoch it was given
//!    and is refused with [`JournalError::Fenced`], inside its own transaction, unless that epoch
//!    is still the newest. Epochs of one plan id never come back, not even after
//!    [`JournalStore::forget`].
//! 3. A failed durable write is never tried again: it poisons the journal of this process
//!    ([`JournalError::Poisoned`]), because nobody knows what reached the disk. The first
//!    transaction of a journal that was opened again is always flushed: it settles what was in
//!    doubt, before anybody acts on it.
//! 4. A record that does not match its checksum, or a row too many or too few, is
//!    [`JournalError::Corrupt`]; nothing is guessed.
//! 5. The journal stores states, it does not judge moves: that is `PlanState::next` for plans and
//!    the rules of `job` for jobs, one floor up.

use crate::error::JournalError;
use crate::id::{Epoch, PlanId, ResourceName};
use crate::state::PlanState;
use std::fmt;
use std::path::Path;

#[macro_use]
mod writes;
#[cfg(feature = "sqlite")]
mod audit;
#[cfg(debug_assertions)]
mod batched;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod damage;
#[cfg(feature = "sqlite")]
mod home;
mod jobs;
#[cfg(feature = "sqlite")]
mod line;
mod memory;
#[cfg(any(feature = "sqlite", debug_assertions))]
mod planted;
mod record;
mod rules;
#[cfg(feature = "sqlite")]
mod schema;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "sqlite")]
mod sqlite_rows;
#[cfg(feature = "sqlite")]
mod stored;
#[cfg(feature = "sqlite")]
mod stored_jobs;
#[cfg(feature = "sqlite")]
mod tables;
#[cfg(any(feature = "sqlite", debug_assertions))]
mod writer;

#[doc(hidden)]
#[cfg(debug_assertions)]
pub use batched::{BatchedCounter, Upset};
#[cfg(feature = "sqlite")]
pub(crate) use home::Home;
pub use jobs::LOG_LINES_MAX;
pub(crate) use jobs::{Early, JobChanges, JobJournal, JobRow, JobTx, JobWork, LineRow};
pub(crate) use memory::MemoryJournal;
#[doc(hidden)]
#[cfg(any(feature = "sqlite", debug_assertions))]
pub use planted::JournalFault;
pub(crate) use record::{Decision, Durability, Entry, Part, PlanRecord, SandboxRecord, Verdict};
#[cfg(feature = "sqlite")]
pub(crate) use sqlite::SqliteJournal;

/// The outcome of a call to the journal.
pub(crate) type Journaled<T> = Result<T, JournalError>;

/// A store of plans, and of jobs.
///
/// Every method may fail with [`JournalError::Store`], [`JournalError::Corrupt`] or
/// [`JournalError::Newer`]; every write also with [`JournalError::Poisoned`]. A write for a plan
/// that the store does not know is [`JournalError::Fenced`]: it was forgotten meanwhile.
pub(crate) trait JournalStore: JobJournal + fmt::Debug + Send + Sync {
    /// Gives the caller a new epoch of `plan` and notes what it is doing. Lazy.
    ///
    /// A plan that the store does not know is made if `create` is true (open, with a fresh
    /// generation, revision 1); otherwise the answer is `None`. The revision of a known plan stays.
    ///
    /// # Errors
    /// See [`JournalStore`].
    fn acquire(
        &self,
        plan: &PlanId,
        operation: &str,
        create: bool,
    ) -> Journaled<Option<PlanRecord>>;

    /// Adds a sandbox to the plan, or replaces the one of that name. Lazy.
    ///
    /// # Errors
    /// [`JournalError::Fenced`] if `epoch` is not the newest.
    fn enlist(&self, plan: &PlanId, epoch: Epoch, sandbox: &SandboxRecord) -> Journaled<()>;

    /// Removes the sandbox of that name, if there is one. Lazy.
    ///
    /// # Errors
    /// [`JournalError::Fenced`] if `epoch` is not the newest.
    fn delist(&self, plan: &PlanId, epoch: Epoch, name: &ResourceName) -> Journaled<()>;

    /// Stores the new state and, in the same transaction, a line of the story. A plan that goes on
    /// (open or sealed) has no decision any more.
    ///
    /// # Errors
    /// [`JournalError::Fenced`] if `epoch` is not the newest.
    #[expect(
        clippy::too_many_arguments,
        reason = "one durable step, all of it plain data"
    )]
    fn advance(
        &self,
        plan: &PlanId,
        epoch: Epoch,
        state: PlanState,
        event: &str,
        detail: &str,
        durability: Durability,
    ) -> Journaled<()>;

    /// Stores the decision and the state that goes with it. Flushed. An earlier decision of the
    /// plan is replaced.
    ///
    /// # Errors
    /// [`JournalError::Fenced`] if the epoch of the decision is not the newest.
    fn decide(&self, decision: &Decision) -> Journaled<()>;

    /// Stores the receipt together with the state that it proves.
    ///
    /// # Errors
    /// [`JournalError::Fenced`] if `epoch` is not the newest.
    #[expect(
        clippy::too_many_arguments,
        reason = "one durable step, all of it plain data"
    )]
    fn finish(
        &self,
        plan: &PlanId,
        epoch: Epoch,
        state: PlanState,
        receipt: &str,
        durability: Durability,
    ) -> Journaled<()>;

    /// The plan, if the store knows it.
    ///
    /// # Errors
    /// See [`JournalStore`].
    fn plan(&self, plan: &PlanId) -> Journaled<Option<PlanRecord>>;

    /// Every plan, in the order of their ids.
    ///
    /// # Errors
    /// See [`JournalStore`].
    fn plans(&self) -> Journaled<Vec<PlanRecord>>;

    /// The sandboxes of the plan, in the order of their names.
    ///
    /// # Errors
    /// See [`JournalStore`].
    fn sandboxes(&self, plan: &PlanId) -> Journaled<Vec<SandboxRecord>>;

    /// The decision of the plan, if there is one.
    ///
    /// # Errors
    /// See [`JournalStore`].
    fn decision(&self, plan: &PlanId) -> Journaled<Option<Decision>>;

    /// The receipt of the plan, if there is one: JSON, as it was stored.
    ///
    /// # Errors
    /// See [`JournalStore`].
    fn receipt(&self, plan: &PlanId) -> Journaled<Option<String>>;

    /// The story of one plan, or of all, oldest line first.
    ///
    /// # Errors
    /// See [`JournalStore`].
    fn log(&self, plan: Option<&PlanId>) -> Journaled<Vec<Entry>>;

    /// Removes every trace of a plan that is over; of its epochs only a floor is kept. Lazy. An
    /// unknown plan is not an error.
    ///
    /// # Errors
    /// [`JournalError::Store`] if the plan is not over; [`JournalError::Fenced`] if somebody took it
    /// after `epoch`: who ended the life that was to be forgotten may have begun the next one.
    fn forget(&self, plan: &PlanId, epoch: Epoch) -> Journaled<()>;

    /// Looks at every record and every setting; says what is wrong, one sentence each.
    ///
    /// # Errors
    /// See [`JournalStore`]; what can be said about a record is in the answer, not an error.
    fn check(&self) -> Journaled<Vec<String>>;

    /// Takes writes again after a failed durable write, once it is certain what reached the disk.
    /// Does nothing to a journal that takes writes.
    ///
    /// # Errors
    /// [`JournalError::Store`] if that cannot be made certain now; the journal stays poisoned.
    fn revive(&self) -> Journaled<()>;

    /// Brings everything to disk and takes no more writes. Idempotent; reading goes on working.
    fn close(&self);
}

/// The journal was closed; a caller that writes afterwards is told so.
fn closed(path: &Path) -> JournalError {
    JournalError::Store {
        path: path.to_owned(),
        action: "write after it was closed",
        source: "the journal is closed".into(),
    }
}
