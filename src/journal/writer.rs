//! Writing to the journal: one caller at a time does it, for everybody who waits.
//!
//! A caller that finds nobody writing writes by itself, at once, without another thread; one that
//! comes meanwhile queues up. Everything that is queued when somebody begins becomes one transaction
//! (group commit): N waiting callers cost one flush. Who is done hands the turn to the first that
//! waits. Each request runs in its own savepoint, so that one which is fenced or fails takes nothing
//! of its neighbours along.

use super::record::{Durability, PlanRecord};
use super::rules::{Op, Rows};
use super::schema::{self, Sync};
use super::sqlite_rows::SqliteRows;
use super::stored::{distrust, failed};
use super::{Journaled, closed};
use crate::clock;
use crate::error::JournalError;
use crate::fs;
use crate::sync::channel::{Sender, bounded};
use crate::sync::{Condvar, Mutex, Rank, witness};
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Most requests in one transaction.
const BATCH_MAX: usize = 512;

type Reply = Journaled<Option<PlanRecord>>;

#[derive(Debug)]
struct Request {
    op: Op,
    durability: Durability,
    reply: Sender<Word>,
}

/// What somebody who waits is told.
#[derive(Debug)]
enum Word {
    /// What became of the write.
    Outcome(Reply),
    /// That it is their turn to write.
    Turn(Box<Task>),
}

#[derive(Debug, Default)]
struct Queue {
    /// What it takes to write, while nobody does; nothing before the first write.
    task: Option<Box<Task>>,
    /// Somebody is writing.
    busy: bool,
    waiting: VecDeque<Request>,
    closed: bool,
}

/// What is known of the writing, whoever does it.
#[derive(Debug, Default)]
struct Told {
    poisoned: AtomicBool,
    commits: AtomicU64,
    /// Requests that were queued, so that a test can wait for them.
    #[cfg(test)]
    queued: AtomicU64,
    /// A device that fails every commit from now on.
    #[cfg(test)]
    broken: AtomicBool,
}

impl Told {
    #[cfg_attr(
        not(test),
        expect(clippy::unused_self, reason = "tests break the device")
    )]
    fn commit(&self, conn: &Connection, path: &Path) -> rusqlite::Result<()> {
        #[cfg(test)]
        if self.broken.load(Ordering::Acquire) {
            return Err(rusqlite::Error::InvalidQuery);
        }
        fs::about_to_end_transaction(path).map_err(|error| refused(&error))?;
        conn.execute_batch("COMMIT")
    }
}

/// What SQLite would say if the system refused to write its log.
fn refused(error: &std::io::Error) -> rusqlite::Error {
    let code = match error.kind() {
        std::io::ErrorKind::StorageFull => rusqlite::ffi::SQLITE_FULL,
        _ => rusqlite::ffi::SQLITE_IOERR_WRITE,
    };
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), Some(error.to_string()))
}

/// The door to the journal for writes.
#[derive(Debug)]
pub(super) struct Writer {
    path: PathBuf,
    /// A leaf latch, held to queue up and to hand the turn on; never while somebody writes.
    queue: Mutex<Queue>,
    idle: Condvar,
    told: Arc<Told>,
}

impl Writer {
    /// A writer to the journal at `path`; nothing is opened yet.
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            queue: Mutex::new(Rank::Leaf, "journal queue", Queue::default()),
            idle: Condvar::new(),
            told: Arc::default(),
        }
    }

    /// How many transactions were committed.
    #[cfg(test)]
    pub(super) fn commits(&self) -> u64 {
        self.told.commits.load(Ordering::Relaxed)
    }

    /// How many writes were queued.
    #[cfg(test)]
    pub(super) fn queued(&self) -> u64 {
        self.told.queued.load(Ordering::Acquire)
    }

    /// Makes every later commit fail, as a dying device does.
    #[cfg(test)]
    pub(super) fn break_device(&self) {
        self.told.broken.store(true, Ordering::Release);
    }

    /// Makes the device work again.
    #[cfg(test)]
    pub(super) fn mend_device(&self) {
        self.told.broken.store(false, Ordering::Release);
    }

    /// Queues the write and waits until its transaction has ended; does it if nobody else is at it.
    ///
    /// # Errors
    /// A [`JournalError`].
    pub(super) fn write(&self, op: Op, durability: Durability) -> Reply {
        if self.told.poisoned.load(Ordering::Acquire) {
            return Err(poisoned(&self.path));
        }
        witness::about_to_block("journal");
        let (reply, answer) = bounded(1);
        let turn = self.enqueue(Request {
            op,
            durability,
            reply,
        })?;
        if let Some(task) = turn {
            self.work_off(task);
        }
        loop {
            match answer.recv() {
                Ok(Word::Outcome(outcome)) => return outcome,
                Ok(Word::Turn(task)) => self.work_off(task),
                // Who wrote it panicked: nobody knows how far it came.
                Err(_) => return Err(self.poison()),
            }
        }
    }

    /// Queues a request; what it takes to write, if nobody is writing.
    fn enqueue(&self, request: Request) -> Journaled<Option<Box<Task>>> {
        let mut queue = self.queue.lock();
        if queue.closed {
            return Err(closed(&self.path));
        }
        queue.waiting.push_back(request);
        #[cfg(test)]
        self.told.queued.fetch_add(1, Ordering::Release);
        if queue.busy {
            return Ok(None);
        }
        queue.busy = true;
        let fresh = || Box::new(Task::new(&self.path, &self.told));
        Ok(Some(queue.task.take().unwrap_or_else(fresh)))
    }

    /// Writes what is queued now, then hands the turn on.
    fn work_off(&self, mut task: Box<Task>) {
        let batch: Vec<Request> = {
            let mut queue = self.queue.lock();
            let most = queue.waiting.len().min(BATCH_MAX);
            queue.waiting.drain(..most).collect()
        };
        // What panics may be the work of another caller: each of them is told that nobody knows.
        let survived = catch_unwind(AssertUnwindSafe(|| task.answer(&batch)));
        drop(batch);
        if survived.is_err() {
            tracing::error!(journal = %self.path.display(), "a write panicked; no more are taken");
            self.told.poisoned.store(true, Ordering::Release);
            task.abandon();
        }
        let mut queue = self.queue.lock();
        if let Some(first) = queue.waiting.front() {
            let next = first.reply.clone();
            drop(queue);
            // They wait for it, so they will take it.
            drop(next.send(Word::Turn(task)));
        } else {
            queue.task = Some(task);
            queue.busy = false;
            self.idle.notify_all();
        }
    }

    fn poison(&self) -> JournalError {
        self.told.poisoned.store(true, Ordering::Release);
        poisoned(&self.path)
    }

    /// Waits until nobody writes, and takes what it takes.
    fn take_task(&self, close: bool) -> Journaled<Option<Box<Task>>> {
        witness::about_to_block("journal");
        let mut queue = self.queue.lock();
        if queue.closed && !close {
            return Err(closed(&self.path));
        }
        queue.closed |= close;
        while queue.busy {
            self.idle.wait(&mut queue);
        }
        Ok(queue.task.take())
    }

    /// Takes writes again after a failed flush, once it is certain what the journal holds.
    ///
    /// # Errors
    /// A [`JournalError`]; the writer stays poisoned.
    pub(super) fn revive(&self) -> Journaled<()> {
        if !self.told.poisoned.load(Ordering::Acquire) {
            return Ok(());
        }
        drop(self.take_task(false)?);
        schema::make_certain(&self.path)?;
        self.told.poisoned.store(false, Ordering::Release);
        Ok(())
    }

    /// Lets everything that is queued be written, and flushes; no later write is taken.
    pub(super) fn close(&self) {
        if let Ok(Some(mut task)) = self.take_task(true) {
            task.flush();
        }
    }
}

impl Drop for Writer {
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

/// A connection that writes, and how hard it works now.
#[derive(Debug)]
struct Line {
    conn: Connection,
    /// Which file it writes to.
    inode: (u64, u64),
    sync: Sync,
    /// False until the first commit, which is always flushed: if an earlier process died with a
    /// transaction in doubt, whatever that left at the end of the log is overwritten for good
    /// before anybody acts on its absence.
    settled: bool,
}

/// Why a batch ended without a commit.
enum Trouble {
    /// Nothing was written.
    Nothing(JournalError),
    /// It may or may not be there.
    Unknown(JournalError),
}

/// What it takes to write: whoever has it is the only one who does.
#[derive(Debug)]
struct Task {
    path: PathBuf,
    told: Arc<Told>,
    /// Opened by the first write.
    line: Option<Line>,
}

impl Task {
    fn new(path: &Path, told: &Arc<Told>) -> Self {
        Self {
            path: path.to_owned(),
            told: Arc::clone(told),
            line: None,
        }
    }

    fn answer(&mut self, batch: &[Request]) {
        let outcomes = if self.told.poisoned.load(Ordering::Acquire) {
            Err(Trouble::Nothing(poisoned(&self.path)))
        } else {
            self.transact(batch)
        };
        match outcomes {
            Ok(outcomes) => {
                for (request, outcome) in batch.iter().zip(outcomes) {
                    request.answer(outcome);
                }
            }
            Err(Trouble::Unknown(error)) => {
                tracing::error!(%error, journal = %self.path.display(), "a commit failed; no more writes are taken");
                self.told.poisoned.store(true, Ordering::Release);
                self.abandon();
                for request in batch {
                    request.answer(Err(poisoned(&self.path)));
                }
            }
            Err(Trouble::Nothing(error)) => {
                for request in batch {
                    request.answer(Err(copy(&self.path, &error)));
                }
            }
        }
    }

    /// Runs the batch as one transaction; one outcome for each request, if it was committed.
    fn transact(&mut self, batch: &[Request]) -> Result<Vec<Reply>, Trouble> {
        let Self { path, told, line } = self;
        let line = match line {
            Some(line) => line,
            None => line.insert(Line {
                inode: schema::inode(path).map_err(Trouble::Nothing)?,
                conn: schema::connect(path).map_err(Trouble::Nothing)?,
                sync: Sync::Full,
                settled: false,
            }),
        };
        let flushed = batch
            .iter()
            .any(|request| request.durability == Durability::Flushed);
        line.still_there(path)?;
        line.work_for(path, flushed)?;
        let conn = &line.conn;
        let begun = conn.execute_batch("BEGIN IMMEDIATE");
        begun.map_err(|error| Trouble::Nothing(failed(path, "take the turn to write", error)))?;
        let mut outcomes = Vec::with_capacity(batch.len());
        let now = clock::now_unix_ms();
        for request in batch {
            let outcome = guarded(conn, path, &request.op, now);
            if conn.is_autocommit() {
                // SQLite has undone the whole transaction, as after a full disk.
                let why = || undone(path, "the transaction was undone".to_owned());
                let error = outcome.err().unwrap_or_else(why);
                return Err(Trouble::Nothing(error));
            }
            outcomes.push(outcome);
        }
        if outcomes.iter().all(Result::is_err) {
            let undone = conn.execute_batch("ROLLBACK");
            undone.map_err(|error| Trouble::Unknown(failed(path, "roll back", error)))?;
            return Ok(outcomes);
        }
        if let Err(error) = told.commit(conn, path) {
            return Err(not_committed(conn, path, error));
        }
        if line.sync == Sync::Full {
            fs::transaction_flushed(path);
        }
        line.settled = true;
        told.commits.fetch_add(1, Ordering::Relaxed);
        Ok(outcomes)
    }

    /// Lets the connection go without a last look at the log.
    fn abandon(&mut self) {
        if let Some(line) = self.line.take() {
            drop(
                line.conn
                    .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true),
            );
        }
    }

    /// Brings lazy writes to disk: a checkpoint syncs the log before it moves it.
    fn flush(&mut self) {
        let Some(line) = self.line.take() else { return };
        let busy = "PRAGMA wal_checkpoint(PASSIVE)";
        if let Err(error) = line.conn.query_row(busy, [], |_| Ok(())) {
            tracing::warn!(%error, journal = %self.path.display(), "the last flush failed");
        }
    }
}

impl Line {
    /// Refuses to write into a file that has lost its name: nobody else would see it.
    fn still_there(&self, path: &Path) -> Result<(), Trouble> {
        let now = schema::inode(path).map_err(Trouble::Nothing)?;
        if now == self.inode {
            return Ok(());
        }
        let error = distrust(path, "another file has taken its place");
        Err(Trouble::Nothing(error))
    }

    fn work_for(&mut self, path: &Path, flushed: bool) -> Result<(), Trouble> {
        let wanted = if flushed || !self.settled {
            Sync::Full
        } else {
            Sync::Normal
        };
        if self.sync != wanted {
            schema::set_sync(&self.conn, path, wanted).map_err(Trouble::Nothing)?;
            self.sync = wanted;
        }
        Ok(())
    }
}

impl Request {
    fn answer(&self, outcome: Reply) {
        // A caller that is gone cannot be told.
        drop(self.reply.send(Word::Outcome(outcome)));
    }
}

/// What a failed COMMIT means. A full disk is met while the log is written, before the frame that
/// commits: the transaction can be undone for certain. After anything else nobody knows.
fn not_committed(conn: &Connection, path: &Path, error: rusqlite::Error) -> Trouble {
    let full = error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull);
    let undone = conn.is_autocommit() || conn.execute_batch("ROLLBACK").is_ok();
    let error = failed(path, "commit", error);
    if full && undone {
        Trouble::Nothing(error)
    } else {
        Trouble::Unknown(error)
    }
}

/// Runs one request so that its failure undoes it and nothing else.
fn guarded(conn: &Connection, path: &Path, op: &Op, now: u64) -> Reply {
    let step = |sql| {
        let done = conn.execute_batch(sql);
        done.map_err(|error| failed(path, "write", error))
    };
    step("SAVEPOINT request")?;
    let mut rows = SqliteRows::new(conn, path);
    let outcome = op.run(&mut rows as &mut dyn Rows, now);
    if outcome.is_err() && !conn.is_autocommit() {
        step("ROLLBACK TO request")?;
    }
    if !conn.is_autocommit() {
        step("RELEASE request")?;
    }
    outcome
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

fn undone(path: &Path, why: String) -> JournalError {
    JournalError::Store {
        path: path.to_owned(),
        action: "write",
        source: why.into(),
    }
}
