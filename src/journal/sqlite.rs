//! The durable journal: one SQLite file that several processes share.

use super::jobs::{JobChanges, JobJournal, JobRow, JobWork, LineRow};
use super::line::SqliteFile;
use super::planted::Planted;
use super::record::{Decision, Durability, Entry, PlanRecord, SandboxRecord};
use super::rules::{Counter, Op, PlanRow, Rows};
use super::sqlite_rows::SqliteRows;
use super::stored::{ReceiptRow, SandboxRow, failed};
use super::writer::Writer;
use super::{JournalStore, Journaled, audit, schema};
use crate::id::{Epoch, JobId, PlanId, ResourceName};
use crate::state::PlanState;
use crate::sync::{Mutex, Rank, witness};
use rusqlite::Connection;
use std::path::{Path, PathBuf};

/// Most connections kept for reading.
const READERS_MAX: usize = 4;

/// A journal in a file. Any number of processes may have it open; in each, one caller at a time
/// writes.
#[derive(Debug)]
pub(crate) struct SqliteJournal {
    path: PathBuf,
    writer: Writer<SqliteFile>,
    /// Idle connections. A leaf latch, held only to take one or to put it back.
    readers: Mutex<Vec<Connection>>,
}

impl SqliteJournal {
    /// Opens the journal in `store_dir`, or makes it there (mode 0600).
    ///
    /// # Errors
    /// `JournalError::Corrupt` if the file is not a journal, `JournalError::Newer` if a newer
    /// planbox wrote it; in both cases it is left as it was. `JournalError::Store` if the SQLite
    /// library is older than 3.51.3, or the file system or the file refuses.
    pub(crate) fn open(store_dir: &Path) -> Journaled<Self> {
        let path = schema::locate(store_dir)?;
        let journal = Self {
            writer: Writer::new(SqliteFile::at(&path), Planted::default()),
            readers: Mutex::new(Rank::Leaf, "journal readers", Vec::new()),
            path,
        };
        let first = journal.reader()?;
        journal.readers.lock().push(first);
        Ok(journal)
    }

    /// The file.
    #[cfg(test)]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How many transactions this handle has committed: fewer than writes, if writes met.
    #[cfg(test)]
    pub(crate) fn commits(&self) -> u64 {
        self.writer.device().commits()
    }

    fn write(&self, op: Op, durability: Durability) -> Journaled<Option<PlanRecord>> {
        self.writer.write(op, durability)
    }

    fn reader(&self) -> Journaled<Connection> {
        let conn = schema::connect(&self.path)?;
        conn.pragma_update(None, "query_only", true)
            .map_err(|error| failed(&self.path, "open", error))?;
        Ok(conn)
    }

    /// Runs `look` over one snapshot. A connection that failed is not used again.
    fn read<T>(&self, look: impl FnOnce(&mut SqliteRows<'_>) -> Journaled<T>) -> Journaled<T> {
        witness::about_to_block("journal");
        let idle = self.readers.lock().pop();
        let conn = match idle {
            Some(conn) => conn,
            None => self.reader()?,
        };
        let snapshot = conn
            .unchecked_transaction()
            .map_err(|error| failed(&self.path, "read", error))?;
        let found = look(&mut SqliteRows::new(&conn, &self.path))?;
        snapshot
            .finish()
            .map_err(|error| failed(&self.path, "read", error))?;
        let mut readers = self.readers.lock();
        if readers.len() < READERS_MAX {
            readers.push(conn);
        }
        Ok(found)
    }
}

impl JournalStore for SqliteJournal {
    journal_writes!();

    fn plan(&self, plan: &PlanId) -> Journaled<Option<PlanRecord>> {
        self.read(|rows| Ok(rows.plan(plan)?.map(|row| row.record)))
    }

    fn plans(&self) -> Journaled<Vec<PlanRecord>> {
        self.read(|rows| {
            let plans: Vec<PlanRow> = rows.all("ORDER BY plan", &[])?;
            rows.expect_count("plans", plans.len(), rows.count(Counter::Plans)?)?;
            Ok(plans.into_iter().map(|row| row.record).collect())
        })
    }

    fn sandboxes(&self, plan: &PlanId) -> Journaled<Vec<SandboxRecord>> {
        self.read(|rows| {
            let expected = rows.plan(plan)?.map_or(0, |row| row.sandboxes);
            let found: Vec<SandboxRow> =
                rows.all("WHERE plan = ? ORDER BY name", &[plan.as_str()])?;
            rows.expect_count("sandboxes", found.len(), expected)?;
            Ok(found.into_iter().map(|row| row.record).collect())
        })
    }

    fn decision(&self, plan: &PlanId) -> Journaled<Option<Decision>> {
        self.read(|rows| {
            let expected = rows.plan(plan)?.is_some_and(|row| row.decided);
            let found: Vec<Decision> = rows.all("WHERE plan = ?", &[plan.as_str()])?;
            rows.expect_count("decisions", found.len(), expected.into())?;
            Ok(found.into_iter().next())
        })
    }

    fn receipt(&self, plan: &PlanId) -> Journaled<Option<String>> {
        self.read(|rows| {
            let expected = rows.plan(plan)?.is_some_and(|row| row.received);
            let found: Vec<ReceiptRow> = rows.all("WHERE plan = ?", &[plan.as_str()])?;
            rows.expect_count("receipts", found.len(), expected.into())?;
            Ok(found.into_iter().next().map(|row| row.receipt))
        })
    }

    fn log(&self, plan: Option<&PlanId>) -> Journaled<Vec<Entry>> {
        self.read(|rows| match plan {
            Some(plan) => rows.all("WHERE plan = ? ORDER BY seq", &[plan.as_str()]),
            None => rows.all("ORDER BY seq", &[]),
        })
    }

    fn check(&self) -> Journaled<Vec<String>> {
        let fresh = self.reader()?;
        audit::check(&fresh, &self.path)
    }

    fn revive(&self) -> Journaled<()> {
        self.writer.revive()
    }

    fn close(&self) {
        self.writer.close();
        let idle = std::mem::take(&mut *self.readers.lock());
        drop(idle);
    }
}

impl JobJournal for SqliteJournal {
    fn work(&self, work: JobWork, durability: Durability) -> Journaled<()> {
        self.write(Op::Jobs(work), durability).map(drop)
    }

    fn job(&self, job: &JobId) -> Journaled<Option<JobRow>> {
        self.read(|rows| rows.job(job))
    }

    fn job_and_log(&self, job: &JobId, after: u64) -> Journaled<Option<(JobRow, Vec<LineRow>)>> {
        self.read(|rows| {
            let Some(row) = rows.job(job)? else {
                return Ok(None);
            };
            let filter = "WHERE generation = ? AND seq > ? ORDER BY seq";
            let generation = row.generation.to_string();
            let lines: Vec<LineRow> = rows.all(filter, &[&generation, &after.to_string()])?;
            let expected = row.kept().min(row.lines.saturating_sub(after));
            rows.expect_count("job_log", lines.len(), expected)?;
            Ok(Some((row, lines)))
        })
    }

    fn jobs(&self) -> Journaled<Vec<JobRow>> {
        self.read(|rows| {
            let jobs: Vec<JobRow> = rows.all("ORDER BY job", &[])?;
            rows.expect_count("jobs", jobs.len(), rows.count(Counter::Jobs)?)?;
            Ok(jobs)
        })
    }

    fn job_changes(&self, since: u64, most: usize) -> Journaled<JobChanges> {
        self.read(|rows| {
            let newest = rows.count(Counter::JobRevision)?;
            if newest <= since {
                let jobs = Vec::new();
                return Ok(JobChanges { newest, jobs });
            }
            let filter = "WHERE revision > ? ORDER BY revision LIMIT CAST(? AS INTEGER)";
            let jobs = rows.all(filter, &[&since.to_string(), &most.to_string()])?;
            Ok(JobChanges { newest, jobs })
        })
    }
}

#[cfg(test)]
mod testing {
    use super::SqliteJournal;
    use rusqlite::Connection;

    impl SqliteJournal {
        /// Makes every later commit fail, as a dying device does.
        pub(crate) fn break_device(&self) {
            self.writer.device().set_broken(true);
        }

        /// Makes the device work again.
        pub(crate) fn mend_device(&self) {
            self.writer.device().set_broken(false);
        }

        /// Holds the write lock of the file while `count` callers queue up.
        pub(crate) fn while_locked(&self, count: u64, callers: impl FnOnce() + Send) {
            self.while_locked_until(count, || (), callers);
        }

        /// The same, and then until `meanwhile` has returned.
        pub(crate) fn while_locked_until(
            &self,
            count: u64,
            meanwhile: impl FnOnce(),
            callers: impl FnOnce() + Send,
        ) {
            let other = Connection::open(&self.path).unwrap();
            other.execute_batch("BEGIN IMMEDIATE").unwrap();
            let target = self.writer.queued() + count;
            crate::sync::thread::scope(|scope| {
                scope.spawn(callers);
                while self.writer.queued() < target {
                    std::thread::yield_now();
                }
                meanwhile();
                other.execute_batch("COMMIT").unwrap();
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance::{plan_id, sandbox};
    use super::*;
    use crate::error::JournalError;
    use crate::sync::thread;
    use std::os::unix::fs::PermissionsExt as _;
    use tempfile::TempDir;

    fn fresh() -> (TempDir, SqliteJournal) {
        let dir = TempDir::new().unwrap();
        let journal = SqliteJournal::open(dir.path()).unwrap();
        (dir, journal)
    }

    fn begin(journal: &SqliteJournal, name: &str) -> PlanRecord {
        journal
            .acquire(&plan_id(name), "open", true)
            .unwrap()
            .unwrap()
    }

    #[test]
    fn the_file_is_private_and_opening_starts_no_thread() {
        let (dir, journal) = fresh();
        let meta = std::fs::metadata(journal.path()).unwrap();
        assert_eq!(meta.permissions().mode() & 0o777, 0o600);
        assert!(matches!(journal.check().as_deref(), Ok([])));
        assert_eq!(journal.commits(), 0, "looking commits nothing");
        begin(&journal, "p");
        for name in ["journal.db-wal", "journal.db-shm"] {
            let meta = std::fs::metadata(dir.path().join(name)).unwrap();
            assert_eq!(meta.permissions().mode() & 0o777, 0o600, "{name}");
        }
        drop(journal);
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "only journal.db stays: {left:?}");
    }

    #[test]
    fn what_was_written_is_there_after_reopening() {
        let (dir, journal) = fresh();
        let record = begin(&journal, "p");
        let (id, epoch) = (record.plan.clone(), record.epoch);
        journal.enlist(&id, epoch, &sandbox("site")).unwrap();
        journal.close();
        assert!(
            matches!(
                journal.enlist(&id, epoch, &sandbox("x")),
                Err(JournalError::Store { .. })
            ),
            "closed"
        );
        assert!(journal.plan(&id).unwrap().is_some(), "reading goes on");
        drop(journal);
        let again = SqliteJournal::open(dir.path()).unwrap();
        assert_eq!(again.sandboxes(&id).unwrap(), [sandbox("site")]);
        let next = again.acquire(&id, "commit", false).unwrap().unwrap();
        assert_eq!(next.epoch, Epoch(epoch.0 + 1));
    }

    #[test]
    fn callers_that_meet_share_a_commit_and_a_fenced_one_harms_nobody() {
        let (_dir, journal) = fresh();
        let plans: Vec<PlanRecord> = (0..16).map(|n| begin(&journal, &format!("p{n}"))).collect();
        let before = journal.commits();
        let step = |record: &PlanRecord, epoch| {
            journal.advance(
                &record.plan,
                epoch,
                PlanState::Sealed,
                "sealed",
                "",
                Durability::Flushed,
            )
        };
        journal.while_locked(16, || {
            thread::scope(|scope| {
                for (n, record) in plans.iter().enumerate() {
                    scope.spawn(move || {
                        let stale = n == 7;
                        let outcome = step(record, Epoch(record.epoch.0 - u64::from(stale)));
                        match outcome {
                            Err(JournalError::Fenced { plan, held, now }) => {
                                assert!(stale && plan == record.plan);
                                assert_eq!((held.0 + 1, now), (now.0, record.epoch));
                            }
                            other => assert!(other.is_ok() && !stale, "{other:?}"),
                        }
                    });
                }
            });
        });
        let commits = journal.commits() - before;
        assert!((1..=2).contains(&commits), "{commits} commits for 16 calls");
        let sealed = journal.plans().unwrap();
        let sealed = sealed
            .iter()
            .filter(|record| record.state == PlanState::Sealed);
        assert_eq!(sealed.count(), 15, "all but the fenced one");
    }

    #[test]
    fn two_journals_on_one_file_lose_nothing() {
        let (dir, first) = fresh();
        let second = SqliteJournal::open(dir.path()).unwrap();
        let start = begin(&first, "p").epoch.0;
        thread::scope(|scope| {
            for journal in [&first, &second, &first, &second] {
                scope.spawn(move || {
                    for _ in 0..25 {
                        begin(journal, "p");
                    }
                });
            }
        });
        let end = second.plan(&plan_id("p")).unwrap().unwrap();
        assert_eq!(end.epoch.0, start + 100, "every taking has its own epoch");
        let stale = Epoch(end.epoch.0 - 1);
        let fenced = first.enlist(&end.plan, stale, &sandbox("late"));
        assert!(matches!(fenced, Err(JournalError::Fenced { .. })));
        assert_eq!(first.check().unwrap(), Vec::<String>::new());
    }

    #[test]
    fn many_openers_make_one_journal() {
        let dir = TempDir::new().unwrap();
        thread::scope(|scope| {
            for n in 0..8 {
                let dir = dir.path();
                scope.spawn(move || {
                    let journal = SqliteJournal::open(dir).unwrap();
                    begin(&journal, &format!("p{n}"));
                });
            }
        });
        let journal = SqliteJournal::open(dir.path()).unwrap();
        assert_eq!(journal.plans().unwrap().len(), 8);
        let mut generations: Vec<u64> = journal
            .plans()
            .unwrap()
            .iter()
            .map(|record| record.generation)
            .collect();
        generations.sort_unstable();
        assert_eq!(generations, (1..=8).collect::<Vec<u64>>());
    }

    #[test]
    fn what_a_dead_maker_left_is_swept() {
        let (dir, journal) = fresh();
        drop(journal);
        for name in ["journal.db.0123.new", "journal.db.0123.new-journal"] {
            std::fs::File::create(dir.path().join(name)).unwrap();
        }
        drop(SqliteJournal::open(dir.path()).unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn nothing_is_written_into_a_file_that_was_replaced() {
        let (dir, journal) = fresh();
        let record = begin(&journal, "p");
        let aside = dir.path().join("aside");
        std::fs::hard_link(journal.path(), &aside).unwrap();
        std::fs::remove_file(journal.path()).unwrap();
        let gone = journal.enlist(&record.plan, record.epoch, &sandbox("a"));
        assert!(
            matches!(gone, Err(JournalError::Corrupt { .. })),
            "{gone:?}"
        );
        std::fs::File::create(journal.path()).unwrap();
        let replaced = journal.enlist(&record.plan, record.epoch, &sandbox("a"));
        assert!(
            matches!(replaced, Err(JournalError::Corrupt { .. })),
            "{replaced:?}"
        );
        std::fs::remove_file(journal.path()).unwrap();
        std::fs::hard_link(&aside, journal.path()).unwrap();
        journal
            .enlist(&record.plan, record.epoch, &sandbox("a"))
            .unwrap();
    }

    #[test]
    fn a_failed_commit_poisons_and_is_never_tried_again() {
        let (dir, journal) = fresh();
        let record = begin(&journal, "p");
        let (id, epoch) = (record.plan, record.epoch);
        journal.break_device();
        let refused = || {
            let outcome = journal.enlist(&id, epoch, &sandbox("site"));
            assert!(matches!(outcome, Err(JournalError::Poisoned { .. })));
        };
        refused();
        journal.mend_device();
        refused();
        assert!(journal.plan(&id).unwrap().is_some(), "reading goes on");
        let other = SqliteJournal::open(dir.path()).unwrap();
        other.enlist(&id, epoch, &sandbox("site")).unwrap();
        assert_eq!(journal.sandboxes(&id).unwrap().len(), 1);
        refused();
        journal.revive().unwrap();
        journal.enlist(&id, epoch, &sandbox("more")).unwrap();
        assert_eq!(other.sandboxes(&id).unwrap().len(), 2);
    }
}
