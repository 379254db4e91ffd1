//! Commit directories, git branches, SQLite databases and values together, or not at all.
//!
//! A *plan* works in *sandboxes*: private views over real things. [`SandboxManager::commit_all`]
//! makes all of its changes real, or none: with any number of concurrent callers, across processes,
//! with other writers about, and through a crash at any instant.
//!
//! # It is not
//! - a process jail: what a plan's child process may reach is the host's business;
//! - isolation for readers that bypass it: they can see a commit while it is being applied;
//! - a version-control system.
//!
//! `docs/guarantees.md` says what is promised, with the test behind each row, and what is not.
//!
//! # Example
//! ```
//! use planbox::{Directory, PlanId, SandboxManager};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let home = tempfile::tempdir()?;
//! # let real = home.path().join("site");
//! # std::fs::create_dir(&real)?;
//! # std::fs::File::create(real.join("index.html"))?;
//! let manager = SandboxManager::open(home.path().join("store"))?;
//! let plan = PlanId::new("refactor-42")?;
//!
//! let site = manager.open_sandbox(&plan, Directory::at(&real))?;
//! std::fs::File::create(site.path().join("new.html"))?; // any tool, any process
//! assert!(!real.join("new.html").exists());
//!
//! let receipt = manager.commit_all(&plan)?; // all, or nothing
//! assert!(real.join("new.html").exists());
//! assert_eq!(receipt.resources()[0].changes.entries.len(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! # Which part do I need?
//! | to | use |
//! |---|---|
//! | open, commit, roll back, recover | [`SandboxManager`], [`Plan`] |
//! | change a directory tree | [`Directory`] |
//! | commit to a branch of a git repository | [`Git`] |
//! | change a SQLite database | `Sqlite` (feature `sqlite`) |
//! | change a value in memory | [`Value`] over a [`VersionRegister`] |
//! | take part with something of your own | [`sandbox`], [`conformance`] |
//! | keep records of long work that many write to | [`JobStore`], [`job`] |
//! | only the keyed locks | [`lock`] |
//! | tell failures apart | [`Error`], [`Explain`] |
#![doc(test(attr(deny(warnings))))]
#![cfg_attr(
    loom,
    expect(
        dead_code,
        unused_imports,
        reason = "of the library only the keyed locks and what they need are built"
    )
)]

mod clock;
#[cfg(not(loom))]
pub mod conformance;
#[cfg(not(loom))]
mod crash;
pub mod error;
#[cfg(not(loom))]
mod fs;
mod id;
#[cfg(not(loom))]
pub mod job;
#[cfg(not(loom))]
mod journal;
pub mod lock;
#[cfg(not(loom))]
mod manager;
#[cfg(not(loom))]
mod plan;
#[cfg(not(loom))]
mod register;
#[cfg(not(loom))]
pub mod sandbox;
mod state;
pub mod sync;

pub use error::{Conflict, Error, Explain, Fault, Holder, ParticipantError, Stage};
pub use id::{Epoch, ID_MAX_BYTES, IdError, JobId, PlanId, ResourceKey, ResourceName, rfc3339};
#[cfg(not(loom))]
pub use job::{Job, JobHandle, JobPatch, JobStore, NewJob};
pub use lock::LockWait;
#[cfg(not(loom))]
pub use manager::{
    DEFAULT_LOCK_WAIT, Finding, GcOptions, GcReport, LogEntry, ManagerBuilder, Plan, PlanHold,
    PlanStatus, RecoveredPlan, RecoveryReport, SandboxHandle, SandboxManager, SandboxStatus,
    Severity, Stats, default_store,
};
#[cfg(not(loom))]
pub use plan::{
    Acknowledge, Check, CommitOptions, CommitOutcome, EVENT_BACKLOG, Event, PlanDiff, Receipt,
    ReceiptBody, Recovered, ResourceDiff, ResourceReceipt, summary,
};
#[cfg(not(loom))]
pub use register::{ActivateError, Refreshed, RegisterError, Snapshot, Stored, VersionRegister};
#[cfg(all(feature = "sqlite", not(loom)))]
pub use sandbox::Sqlite;
#[cfg(not(loom))]
pub use sandbox::{Action, Change, Changes, Directory, Git, Resource, Sandbox, Value};
pub use state::{IllegalMove, JobState, PlanEvent, PlanState};

/// Mechanisms that a negative control takes out of a debug build.
#[doc(hidden)]
#[cfg(not(loom))]
pub use plan::{RegistryFault, Without};

/// A journal in memory behind the writer of the durable one, and faults of that writer.
#[doc(hidden)]
#[cfg(all(any(feature = "sqlite", debug_assertions), not(loom)))]
pub use journal::JournalFault;
#[doc(hidden)]
#[cfg(all(debug_assertions, not(loom)))]
pub use journal::{BatchedCounter, Upset};

/// A file system that fails and loses power, for tests of a debug build.
#[doc(hidden)]
#[cfg(all(debug_assertions, not(loom)))]
pub use fs::faults;
/// Faults of a register, for a debug build.
#[doc(hidden)]
#[cfg(not(loom))]
pub use register::RegisterFault;

/// The crash points that a debug build knows, for tests that kill a process at each of them.
#[doc(hidden)]
#[cfg(not(loom))]
pub use crash::POINTS as CRASH_POINTS;

/// The examples of the front page of the repository.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct ReadMe;
