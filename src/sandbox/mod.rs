//! Participants of a plan: the private views over real things.
//!
//! A [`Resource`] says what real thing is meant and opens it; the [`Sandbox`] it opens takes part in
//! the commit protocol. A participant knows neither locks nor the journal nor plans: what it must
//! remember travels back as an opaque, serialisable [`Redo`], which the plan journals and recovery
//! hands in again.
//!
//! # The contract, in numbered sentences
//! 1. Until [`Sandbox::apply`], nothing real changes: `open`, `diff`, `seal` and `prepare` write
//!    only inside the [`Place`] and the participant's own staging.
//! 2. [`Sandbox::seal`] copies what the plan produced out of the plan's reach; what is written into
//!    the view afterwards cannot be committed by that seal.
//! 3. [`Sandbox::prepare`] runs under the resource locks. It compares every touched pre-image with
//!    reality and, if all agree, has everything that apply needs durable on disk when it returns
//!    [`Vote::Ready`].
//! 4. `apply` and `take_back` are idempotent, need only the `Redo`, and may be called by another
//!    process that reopened the sandbox from its [`Sandbox::record`].
//! 5. `apply` never destroys a byte that it did not write: it keeps each displaced original until
//!    `settle` and `discard`, and a foreign change in its way is [`Fault::Conflict`] with nothing
//!    overwritten.
//! 6. `take_back` restores exactly what `apply` displaced; a foreign change made after our apply is
//!    kept and reported as [`Fault::Hazard`].
//! 7. `discard` removes everything the sandbox owns, is idempotent, and is the only method that
//!    removes the plan's work. Dropping a sandbox removes nothing.
//! 8. Long steps call [`Work::step`] and stop at once, cleanly, when it returns an error. `apply`
//!    and `take_back` are never interrupted.
//! 9. What `prepare` holds on to (an open transaction, a promise) is let go by
//!    [`Sandbox::stand_down`] or `unseal` if no decision follows, by the end of `apply` or
//!    `take_back` otherwise, and by dropping the sandbox.
//! 10. A participant that cannot promise that `apply` will succeed, because only its own commit
//!     tells, is a [`Marker`]: it decides for the whole plan, and a plan has at most one.

use crate::error::{Conflict, Fault, ParticipantError};
use crate::id::{Epoch, PlanId, ResourceKey, ResourceName};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

mod change;
pub mod directory;
pub mod git;
#[cfg(feature = "sqlite")]
pub mod sqlite;
pub mod value;

pub use change::{Action, Change, Changes, Section};
pub use directory::Directory;
pub use git::Git;
#[cfg(feature = "sqlite")]
pub use sqlite::Sqlite;
pub use value::Value;

/// The outcome of a participant's step.
pub type Outcome<T> = Result<T, ParticipantError>;

/// A real thing that a plan wants to change, as the caller describes it.
pub trait Resource: fmt::Debug + Send + Sync {
    /// The kind, for example `dir`: also the default name and the word in receipts.
    fn kind(&self) -> &'static str;

    /// The name the caller gave it inside the plan, if any.
    fn name(&self) -> Option<&ResourceName>;

    /// Finds the canonical identity of the real thing, and the identities of the things that
    /// enclose it (for a directory: all its ancestors).
    ///
    /// # Errors
    /// [`Fault::Refused`] if there is no such thing or it cannot be a resource. Writes nothing.
    fn identify(&self) -> Outcome<Identity>;

    /// Makes the private view inside `place`.
    ///
    /// # Errors
    /// A [`ParticipantError`]; the caller removes `place` with all that was made in it, and an
    /// `open` makes nothing outside of it.
    fn open(&self, place: &Place, work: &Work<'_>) -> Outcome<Box<dyn Sandbox>>;

    /// True if its sandboxes die with this process and need no files.
    fn is_volatile(&self) -> bool {
        false
    }
}

impl<R: Resource + ?Sized> Resource for Box<R> {
    fn kind(&self) -> &'static str {
        (**self).kind()
    }

    fn name(&self) -> Option<&ResourceName> {
        (**self).name()
    }

    fn identify(&self) -> Outcome<Identity> {
        (**self).identify()
    }

    fn open(&self, place: &Place, work: &Work<'_>) -> Outcome<Box<dyn Sandbox>> {
        (**self).open(place, work)
    }

    fn is_volatile(&self) -> bool {
        (**self).is_volatile()
    }
}

/// Makes sandboxes of one kind again from their records, in any process.
pub trait Kind: fmt::Debug + Send + Sync {
    /// The kind, as in [`Resource::kind`].
    fn name(&self) -> &'static str;

    /// Opens the sandbox that wrote `record` in `place`.
    ///
    /// # Errors
    /// [`Fault::Lost`] if it is gone, [`Fault::Elsewhere`] if it lives in another process,
    /// [`Fault::Corrupt`] if the record is not one of ours.
    fn reopen(&self, record: &str, place: &Place) -> Outcome<Box<dyn Sandbox>>;
}

/// Who a real thing is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The thing itself.
    pub key: ResourceKey,
    /// The directories that enclose it, nearest first.
    pub enclosing: Vec<ResourceKey>,
    /// The directory in which it may change more than one file: a directory itself, or the work
    /// tree in which a branch is checked out.
    pub tree: Option<ResourceKey>,
}

impl Identity {
    /// True if these are two things that one plan cannot have both: one lies inside the other, or
    /// both change one tree.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        if self.key == other.key {
            return false;
        }
        let inside = self.enclosing.contains(&other.key) || other.enclosing.contains(&self.key);
        let trees = match (&self.tree, &other.tree) {
            (Some(ours), Some(theirs)) => {
                ours == theirs || self.enclosing.contains(theirs) || other.enclosing.contains(ours)
            }
            _ => false,
        };
        inside || trees
    }
}

/// Where a sandbox may keep its own files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// A directory of mode 0700 that belongs to this sandbox alone. It exists, unless the resource
    /// is volatile.
    pub dir: PathBuf,
    /// A text unique to this sandbox in all stores of the machine: lower-case letters, digits, `-`
    /// and `_`, at most 100 bytes. For names outside `dir`.
    pub token: String,
    /// What people call the plan: for a commit message, never for a name.
    pub label: String,
}

/// A step of a long piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// How much is done, in `unit`s.
    pub done: u64,
    /// How much there is, if that is known; 0 otherwise.
    pub total: u64,
    /// What is counted: `entries`, `bytes`.
    pub unit: &'static str,
}

/// What a participant is given for the time of one call: somebody who listens, and a wish to stop.
#[derive(Clone, Copy)]
pub struct Work<'a> {
    observer: Option<&'a (dyn Fn(Progress) + Sync)>,
    cancelled: Option<&'a AtomicBool>,
    keep_theirs: bool,
}

impl fmt::Debug for Work<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work")
            .field("cancelled", &self.cancelled)
            .finish_non_exhaustive()
    }
}

impl<'a> Work<'a> {
    /// Nobody listens and nobody can stop it.
    #[must_use]
    pub fn silent() -> Self {
        Self {
            observer: None,
            cancelled: None,
            keep_theirs: false,
        }
    }

    /// `observer` is told of every step, and the work stops when `cancelled` becomes true.
    #[must_use]
    pub fn new(observer: &'a (dyn Fn(Progress) + Sync), cancelled: &'a AtomicBool) -> Self {
        Self {
            observer: Some(observer),
            cancelled: Some(cancelled),
            keep_theirs: false,
        }
    }

    /// The same, for a recovery whose caller gives up our side of every foreign change in the way.
    #[must_use]
    pub fn keeping_theirs(mut self, keep: bool) -> Self {
        self.keep_theirs = keep;
        self
    }

    /// True if `apply` and `take_back` leave a foreign change in their way as it is, instead of
    /// reporting it.
    #[must_use]
    pub fn keeps_theirs(&self) -> bool {
        self.keep_theirs
    }

    /// For somebody who waits and has no step to report.
    ///
    /// # Errors
    /// [`Fault::Interrupted`] if the caller asked to stop.
    pub fn stopped(&self) -> Outcome<()> {
        if self
            .cancelled
            .is_some_and(|flag| flag.load(Ordering::Relaxed))
        {
            return Err(ParticipantError::new(
                Fault::Interrupted,
                "stopped on request",
            ));
        }
        Ok(())
    }

    /// Reports a step. Cheap enough to be called for every entry of a tree.
    ///
    /// # Errors
    /// [`Fault::Interrupted`] if the caller asked to stop.
    pub fn step(&self, done: u64, total: u64, unit: &'static str) -> Outcome<()> {
        self.stopped()?;
        if let Some(observer) = self.observer {
            observer(Progress { done, total, unit });
        }
        Ok(())
    }
}

/// What a participant needs to carry out its part, as it wrote it itself.
///
/// Opaque to everybody else; JSON by convention, so that a person can read it in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Redo(pub String);

/// A participant's answer to [`Sandbox::prepare`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Vote {
    /// Everything that apply needs is durable.
    Ready {
        /// What to apply.
        redo: Redo,
        /// What it will change, for the receipt.
        changes: Changes,
    },
    /// The plan changed nothing here.
    ReadOnly,
    /// Somebody else changed what the plan touched.
    Conflict(Vec<Conflict>),
}

/// What [`Sandbox::seal`] froze.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// What would be committed.
    pub changes: Changes,
    /// BLAKE3 digest, in hex, of everything that would be committed.
    pub digest: String,
}

/// What keeps other plans away from a real thing while a commit works on it.
#[derive(Debug)]
pub struct Guard {
    /// What the lock stands for; guards are taken in the order of their keys.
    pub key: ResourceKey,
    /// The open file whose `flock` keeps other stores away, too (for a directory resource: the
    /// directory itself). None for a thing that excludes other processes by itself.
    pub file: Option<File>,
    /// True for a thing that only encloses the resource: plans on disjoint parts share it.
    pub shared: bool,
}

/// A participant: the private view of one real thing, with its part in the commit protocol.
///
/// The plan calls it under the plan lock, one call at a time. See the [module](self) for the
/// contract.
pub trait Sandbox: fmt::Debug + Send {
    /// The kind, as in [`Resource::kind`].
    fn kind(&self) -> &'static str;

    /// The identity of the real thing.
    fn identity(&self) -> &Identity;

    /// Where the real thing is, for people: a path or a name.
    fn target(&self) -> String;

    /// A real path where the plan works, if the view has one.
    fn path(&self) -> Option<&Path>;

    /// How the view is made: `copy`, `reflink`, `memory`.
    fn view(&self) -> &'static str;

    /// True if the sandbox dies with this process.
    fn is_volatile(&self) -> bool {
        false
    }

    /// What [`Kind::reopen`] needs, as JSON. It changes when the sandbox is sealed or unsealed.
    fn record(&self) -> String;

    /// What the plan changed until now; if sealed, what is sealed.
    ///
    /// # Errors
    /// A [`ParticipantError`], for example [`Fault::Refused`] for something that cannot be
    /// committed.
    fn diff(&self, work: &Work<'_>) -> Outcome<Changes>;

    /// Freezes what the plan changed. A second seal returns the first.
    ///
    /// # Errors
    /// A [`ParticipantError`]; the sandbox is not sealed then, and its content is kept.
    fn seal(&mut self, work: &Work<'_>) -> Outcome<Sealed>;

    /// Forgets the seal and its staging, so that the plan can go on. Idempotent.
    ///
    /// # Errors
    /// A [`ParticipantError`] if staging could not be removed.
    fn unseal(&mut self) -> Outcome<()>;

    /// The files to lock from validation to the end of apply.
    ///
    /// # Errors
    /// [`Fault::Lost`] if the real thing is no longer the one that was opened.
    fn guards(&self) -> Outcome<Vec<Guard>>;

    /// Checks the pre-images and makes the redo durable. Called after `seal`, under the guards.
    ///
    /// # Errors
    /// A [`ParticipantError`]; nothing real has changed.
    fn prepare(&mut self, work: &Work<'_>) -> Outcome<Vote>;

    /// Lets go of what `prepare` holds on to, because no decision follows: somebody else refused,
    /// or it was only a check. The seal stays. Idempotent.
    fn stand_down(&mut self) {}

    /// The participant as a marker resource, if its own commit decides for the plan.
    fn marker(&mut self) -> Option<&mut dyn Marker> {
        None
    }

    /// Carries out `redo`; what is done already is skipped. Not called on a [`Marker`].
    ///
    /// # Errors
    /// A [`ParticipantError`]; part of the redo may be done, and both `apply` and `take_back` may
    /// follow.
    fn apply(&mut self, redo: &Redo, work: &Work<'_>) -> Outcome<()>;

    /// Undoes whatever of `redo` is done. Afterwards the sandbox is sealed, as after `seal`. Not
    /// called on a [`Marker`].
    ///
    /// # Errors
    /// A [`ParticipantError`]; part may be undone, and `take_back` may follow again.
    fn take_back(&mut self, redo: &Redo, work: &Work<'_>) -> Outcome<()>;

    /// Makes what `apply` did (or what `take_back` restored) durable.
    ///
    /// # Errors
    /// A [`ParticipantError`]; it may be called again.
    fn settle(&mut self, redo: &Redo) -> Outcome<()>;

    /// Removes the view, the staging and the originals kept aside. Idempotent.
    ///
    /// # Errors
    /// A [`ParticipantError`] naming what could not be removed.
    fn discard(&mut self, work: &Work<'_>) -> Outcome<()>;
}

/// What a marker resource writes down in the same transaction as its changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The plan.
    pub plan: PlanId,
    /// The epoch that decides.
    pub epoch: Epoch,
}

/// A participant that cannot vote: only its own commit tells whether it succeeds.
///
/// It is asked last, after every other participant has made its redo durable; its commit is the
/// decision of the plan. Afterwards nothing can be taken back.
pub trait Marker {
    /// Commits what `prepare` made ready, with `stamp` written down in the same transaction.
    /// Durable when it returns.
    ///
    /// # Errors
    /// A [`ParticipantError`]; the outcome may be unknown, and [`Marker::probe`] tells.
    fn commit(&mut self, redo: &Redo, stamp: &Stamp) -> Outcome<()>;

    /// True if the transaction with `stamp` is committed. After a false, it can never be committed
    /// any more.
    ///
    /// # Errors
    /// A [`ParticipantError`] if that cannot be found out now.
    fn probe(&mut self, redo: &Redo, stamp: &Stamp) -> Outcome<bool>;
}
