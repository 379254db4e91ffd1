//! Writing to the journal: one caller at a time does it, for everybody who waits.
//!
//! A caller that finds nobody writing writes by itself, at once, without another thread; one that
//! comes meanwhile queues up. Everything that is queued when somebody begins becomes one transaction
//! (group commit): N waiting callers cost one flush. Who is done hands the turn to the first that
//! waits. A request that is fenced or fails takes nothing of its neighbours along.
//!
//! What is written to is a [`Device`]: a file, or, for tests of what is here, a thing in memory.

use super::planted::{JournalFault, Planted};
use super::record::{Durability, PlanRecord};
use super::rules::Op;
use super::{Journaled, closed};
use crate::error::JournalError;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::channel::{Sender, bounded};
use crate::sync::{Condvar, Mutex, Rank, stage, witness};
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Most requests in one transaction.
const BATCH_MAX: usize = 512;

/// The answer to one write.
pub(super) type Reply = Journaled<Option<PlanRecord>>;

/// What journals are kept on.
pub(super) trait Device: fmt::Debug + Send + Sync {
    /// What it takes to write to it.
    type Line: Line;

    /// The file, for errors.
    fn path(&self) -> &Path;

    /// A new line to it. Opens nothing yet.
    fn line(&self) -> Self::Line;

    /// Finds out what is there, after a flush that failed.
    ///
    /// # Errors
    /// A [`JournalError`] if that is not certain.
    fn make_certain(&self) -> Journaled<()>;
}

/// What it takes to write: whoever has it is the only one who does.
pub(super) trait Line: fmt::Debug + Send {
    /// Runs the batch as one transaction; one outcome for each work, if it was committed.
    fn transact(&mut self, batch: &[Work]) -> Result<Vec<Reply>, Trouble>;

    /// Lets go without a last look at what was written.
    fn abandon(&mut self);

    /// Brings lazy writes to disk, and lets go.
    fn flush(&mut self);
}

/// One write, and how durable it has to be.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) op: Op,
    pub(super) durability: Durability,
}

/// Why a batch ended without a commit.
pub(super) enum Trouble {
    /// Nothing was written.
    Nothing(JournalError),
    /// It may or may not be there.
    Unknown(JournalError),
}

/// A write whose caller waits.
#[derive(Debug)]
struct Request<L> {
    work: Work,
    reply: Sender<Word<L>>,
}

/// What somebody who waits is told.
#[derive(Debug)]
enum Word<L> {
    /// What became of the write.
    Outcome(Reply),
    /// That it is their turn to write.
    Turn(Box<L>),
}

/// Where somebody who waits is told.
type Asker<D> = Sender<Word<<D as Device>::Line>>;

#[derive(Debug)]
struct Queue<L> {
    /// What it takes to write, while nobody does; nothing before the first write.
    line: Option<Box<L>>,
    /// Somebody is writing.
    busy: bool,
    waiting: VecDeque<Request<L>>,
    closed: bool,
}

/// The door to the journal for writes.
#[derive(Debug)]
pub(super) struct Writer<D: Device> {
    device: D,
    /// A leaf latch, held to queue up and to hand the turn on; never while somebody writes.
    queue: Mutex<Queue<D::Line>>,
    idle: Condvar,
    poisoned: AtomicBool,
    /// Requests that were queued, so that a test can wait for them.
    queued: AtomicU64,
    planted: Planted,
}

impl<D: Device> Writer<D> {
    /// A writer to the journal on `device`; nothing is opened yet.
    pub(super) fn new(device: D, planted: Planted) -> Self {
        let queue = Queue {
            line: None,
            busy: false,
            waiting: VecDeque::new(),
            closed: false,
        };
        Self {
            device,
            queue: Mutex::new(Rank::Leaf, "journal queue", queue),
            idle: Condvar::new(),
            poisoned: AtomicBool::new(false),
            queued: AtomicU64::new(0),
            planted,
        }
    }

    /// What it writes to.
    #[cfg(any(test, debug_assertions))]
    pub(super) fn device(&self) -> &D {
        &self.device
    }

    /// How many writes were queued.
    #[cfg(any(test, debug_assertions))]
    pub(super) fn queued(&self) -> u64 {
        self.queued.load(Ordering::Acquire)
    }

    /// Queues the write and waits until its transaction has ended; does it if nobody else is at it.
    ///
    /// # Errors
    /// A [`JournalError`].
    pub(super) fn write(&self, op: Op, durability: Durability) -> Reply {
        if self.poisoned.load(Ordering::Acquire) {
            return Err(poisoned(self.device.path()));
        }
        witness::about_to_block("journal");
        let (reply, answer) = bounded(1);
        let work = Work { op, durability };
        let turn = self.enqueue(Request { work, reply })?;
        if let Some(line) = turn {
            self.work_off(line);
        }
        loop {
            match answer.recv() {
                Ok(Word::Outcome(outcome)) => return outcome,
                Ok(Word::Turn(line)) => self.work_off(line),
                // Who wrote it panicked: nobody knows how far it came.
                Err(_) => return Err(self.poison()),
            }
        }
    }

    /// Queues a request; what it takes to write, if nobody is writing.
    fn enqueue(&self, request: Request<D::Line>) -> Journaled<Option<Box<D::Line>>> {
        let mut queue = self.queue.lock();
        if queue.closed {
            return Err(closed(self.device.path()));
        }
        queue.waiting.push_back(request);
        self.queued.fetch_add(1, Ordering::Release);
        if queue.busy && !self.planted.is(JournalFault::TwoWriters) {
            return Ok(None);
        }
        queue.busy = true;
        let fresh = || Box::new(self.device.line());
        Ok(Some(queue.line.take().unwrap_or_else(fresh)))
    }

    /// Writes what is queued now, then hands the turn on.
    fn work_off(&self, mut line: Box<D::Line>) {
        let (batch, replies) = self.next_batch();
        // What panics may be the work of another caller: each of them is told that nobody knows.
        let survived = catch_unwind(AssertUnwindSafe(|| {
            self.answer(&mut line, &batch, &replies);
        }));
        drop(replies);
        if survived.is_err() {
            tracing::error!(journal = %self.device.path().display(), "a write panicked; no more are taken");
            self.poisoned.store(true, Ordering::Release);
            line.abandon();
            if self.planted.is(JournalFault::PanicKeepsTurn) {
                return;
            }
        }
        stage("journal.written");
        let mut queue = self.queue.lock();
        if let Some(first) = queue.waiting.front() {
            let next = first.reply.clone();
            drop(queue);
            if self.planted.is(JournalFault::NoHandOver) {
                return;
            }
            // They wait for it, so they will take it.
            drop(next.send(Word::Turn(line)));
        } else {
            queue.line = Some(line);
            queue.busy = false;
            self.idle.notify_all();
        }
    }

    /// Takes what is queued now.
    fn next_batch(&self) -> (Vec<Work>, Vec<Asker<D>>) {
        let mut queue = self.queue.lock();
        let most = queue.waiting.len().min(BATCH_MAX);
        let mut taken: Vec<_> = queue.waiting.drain(..most).collect();
        drop(queue);
        if self.planted.is(JournalFault::LastFirst) {
            taken.reverse();
        }
        let pairs = taken.into_iter();
        pairs.map(|request| (request.work, request.reply)).unzip()
    }

    fn answer(&self, line: &mut D::Line, batch: &[Work], replies: &[Asker<D>]) {
        let path = self.device.path();
        let outcomes = if self.poisoned.load(Ordering::Acquire) {
            Err(Trouble::Nothing(poisoned(path)))
        } else {
            line.transact(batch)
        };
        let tell = |reply: &Asker<D>, outcome| {
            // A caller that is gone cannot be told.
            drop(reply.send(Word::Outcome(outcome)));
        };
        match outcomes {
            Ok(outcomes) => {
                let pairs = replies.iter().zip(outcomes);
                pairs.for_each(|(reply, outcome)| tell(reply, outcome));
            }
            Err(Trouble::Unknown(error)) => {
                tracing::error!(%error, journal = %path.display(), "a commit failed; no more writes are taken");
                if !self.planted.is(JournalFault::NoPoison) {
                    self.poisoned.store(true, Ordering::Release);
                }
                line.abandon();
                for reply in replies {
                    tell(reply, Err(poisoned(path)));
                }
            }
            Err(Trouble::Nothing(error)) => {
                for reply in replies {
                    tell(reply, Err(copy(path, &error)));
                }
            }
        }
    }

    fn poison(&self) -> JournalError {
        self.poisoned.store(true, Ordering::Release);
        poisoned(self.device.path())
    }

    /// Waits until nobody writes, and takes what it takes.
    fn take_line(&self, close: bool) -> Journaled<Option<Box<D::Line>>> {
        witness::about_to_block("journal");
        let mut queue = self.queue.lock();
        if queue.closed && !close {
            return Err(closed(self.device.path()));
        }
        queue.closed |= close;
        while queue.busy && !self.planted.is(JournalFault::HastyClose) {
            self.idle.wait(&mut queue);
        }
        Ok(queue.line.take())
    }

    /// Takes writes again after a failed flush, once it is certain what the journal holds.
    ///
    /// # Errors
    /// A [`JournalError`]; the writer stays poisoned.
    pub(super) fn revive(&self) -> Journaled<()> {
        if !self.poisoned.load(Ordering::Acquire) {
            return Ok(());
        }
        drop(self.take_line(false)?);
        self.device.make_certain()?;
        self.poisoned.store(false, Ordering::Release);
        Ok(())
    }

    /// Lets everything that is queued be written, and flushes; no later write is taken.
    pub(super) fn close(&self) {
        if let Ok(Some(mut line)) = self.take_line(true) {
            line.flush();
        }
    }
}

impl<D: Device> Drop for Writer<D> {
    fn drop(&mut self) {
        // Every write waits for its answer while it borrows the writer: the queue is empty.
        self.close();
    }
}

fn poisoned(path: &Path) -> JournalError {
    JournalError::Poisoned {
        path: path.to_owned(),
    }
}

/// A failure of the whole batch, told to each of its requests.
fn copy(path: &Path, error: &JournalError) -> JournalError {
    let path = path.to_owned();
    match error {
        JournalError::Poisoned { .. } => JournalError::Poisoned { path },
        JournalError::Corrupt { what, .. } => JournalError::Corrupt {
            path,
            what: what.clone(),
        },
        JournalError::Newer { found, known, .. } => JournalError::Newer {
            path,
            found: *found,
            known: *known,
        },
        JournalError::Store { action, source, .. } => JournalError::Store {
            path,
            action,
            source: source.to_string().into(),
        },
        other => undone(&path, other.to_string()),
    }
}

pub(super) fn undone(path: &Path, why: String) -> JournalError {
    JournalError::Store {
        path: path.to_owned(),
        action: "write",
        source: why.into(),
    }
}
