//! A journal in memory behind the writer of the durable one: for tests of the writer.

use super::Journaled;
use super::memory::MemoryJournal;
use super::planted::{JournalFault, Planted};
use super::record::Durability;
use super::rules::Op;
use super::writer::{Device, Line, Reply, Trouble, Work, Writer, undone};
use crate::clock;
use crate::error::JournalError;
use crate::id::PlanId;
use crate::sync::stage;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;
// The device's own notes are no place to switch threads: that is what its stage is for.
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What the device does to the transaction with this number; the first one is 1.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upset {
    /// Every transaction is committed.
    Never,
    /// It is lost, and nobody knows.
    LosesAt(u64),
    /// It is there, and nobody knows.
    SilentAt(u64),
    /// It panics.
    PanicsAt(u64),
}

/// A counter that is kept in a journal: the writer that ships, over a device in memory.
#[doc(hidden)]
#[derive(Debug)]
pub struct BatchedCounter {
    writer: Writer<Memory>,
    plan: PlanId,
}

#[derive(Debug)]
struct Memory {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    journal: MemoryJournal,
    upset: Upset,
    /// How many transactions were begun.
    begun: AtomicU64,
    /// Somebody is in a transaction.
    inside: AtomicBool,
    /// Two were, at the same time.
    met: AtomicBool,
    flushes: AtomicU64,
}

impl BatchedCounter {
    /// A counter at 0, filed as the epoch of `plan`, on a device that is upset, with a fault in the
    /// writer.
    #[must_use]
    pub fn new(plan: PlanId, upset: Upset, fault: Option<JournalFault>) -> Self {
        let shared = Arc::new(Shared {
            journal: MemoryJournal::new(),
            upset,
            begun: AtomicU64::new(0),
            inside: AtomicBool::new(false),
            met: AtomicBool::new(false),
            flushes: AtomicU64::new(0),
        });
        Self {
            writer: Writer::new(Memory { shared }, Planted { fault }),
            plan,
        }
    }

    /// Adds one; the new count.
    ///
    /// # Errors
    /// A [`JournalError`].
    pub fn add(&self) -> Result<u64, JournalError> {
        let op = Op::Acquire {
            plan: self.plan.clone(),
            operation: "count".to_owned(),
            create: true,
        };
        let counted = self.writer.write(op, Durability::Flushed)?;
        Ok(counted.map_or(0, |record| record.epoch.0))
    }

    /// How many additions were queued.
    #[must_use]
    pub fn queued(&self) -> u64 {
        self.writer.queued()
    }

    /// The count that the device holds.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.shared().journal.epoch_of(&self.plan)
    }

    /// True if two were writing at the same time.
    #[must_use]
    pub fn met(&self) -> bool {
        self.shared().met.load(Ordering::SeqCst)
    }

    /// How often everything was brought to disk.
    #[must_use]
    pub fn flushes(&self) -> u64 {
        self.shared().flushes.load(Ordering::SeqCst)
    }

    /// Takes additions again after a failed flush.
    ///
    /// # Errors
    /// A [`JournalError`] if it is closed.
    pub fn revive(&self) -> Result<(), JournalError> {
        self.writer.revive()
    }

    /// Takes no more additions.
    pub fn close(&self) {
        self.writer.close();
    }

    fn shared(&self) -> &Shared {
        &self.writer.device().shared
    }
}

impl Device for Memory {
    type Line = MemoryLine;

    fn path(&self) -> &Path {
        Path::new(":batched:")
    }

    fn line(&self) -> MemoryLine {
        MemoryLine {
            shared: Arc::clone(&self.shared),
        }
    }

    fn make_certain(&self) -> Journaled<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct MemoryLine {
    shared: Arc<Shared>,
}

/// Leaves the transaction, also when a panic unwinds.
struct Leave<'a>(&'a Shared);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.inside.store(false, Ordering::SeqCst);
    }
}

impl Line for MemoryLine {
    fn transact(&mut self, batch: &[Work]) -> Result<Vec<Reply>, Trouble> {
        let shared = &*self.shared;
        if shared.inside.swap(true, Ordering::SeqCst) {
            shared.met.store(true, Ordering::SeqCst);
        }
        let _leave = Leave(shared);
        stage("journal.begun");
        // Only what has to reach the disk meets the device's troubles.
        let flushed = batch
            .iter()
            .any(|work| work.durability == Durability::Flushed);
        let number = shared.begun.fetch_add(u64::from(flushed), Ordering::SeqCst) + 1;
        if shared.upset == Upset::PanicsAt(number) {
            // Not a panic with a report: it is wanted.
            resume_unwind(Box::new("planted"));
        }
        let lost = || Trouble::Unknown(undone(Path::new(":batched:"), "planted".to_owned()));
        if shared.upset == Upset::LosesAt(number) {
            return Err(lost());
        }
        let ops = batch.iter().map(|work| &work.op);
        let outcomes = shared.journal.transact(ops, clock::now_unix_ms());
        if shared.upset == Upset::SilentAt(number) {
            return Err(lost());
        }
        Ok(outcomes)
    }

    fn abandon(&mut self) {}

    fn flush(&mut self) {
        self.shared.flushes.fetch_add(1, Ordering::SeqCst);
    }
}
