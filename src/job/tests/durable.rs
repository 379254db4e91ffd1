//! What only a store in a file can show.

use super::*;

fn store() -> (tempfile::TempDir, JobStore) {
    let dir = tempfile::TempDir::new().unwrap();
    let jobs = JobStore::open(dir.path().join("store")).unwrap();
    (dir, jobs)
}

/// How many lines the test of the bound appends; `PLANBOX_JOB_LINES` sets it, to a million for
/// example.
fn lines_to_append() -> u64 {
    let wanted = std::env::var("PLANBOX_JOB_LINES").ok();
    wanted.map_or(5 * LOG_LINES_MAX, |text| text.parse().unwrap())
}

/// The journal with its log, in bytes.
fn bytes_on_disk(dir: &Path) -> u64 {
    ["journal.db", "journal.db-wal"]
        .map(|name| std::fs::metadata(dir.join(name)).map_or(0, |meta| meta.len()))
        .iter()
        .sum()
}

/// Peak resident memory of this process in KiB.
fn peak_memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_log_of_any_length_is_bounded_on_disk() {
    let (dir, jobs) = store();
    let owner = begun(&jobs, "talks");
    let line = "x".repeat(100);
    let total = lines_to_append();
    let watch = crate::clock::Stopwatch::start();
    let mut at_tenth = (0, 0);
    for number in 1..=total {
        owner.append_log(&line, Some(1)).unwrap();
        if number == total / 10 {
            at_tenth = (bytes_on_disk(&dir.path().join("store")), peak_memory_kib());
        }
    }
    let took = watch.elapsed();
    let (bytes, peak) = (bytes_on_disk(&dir.path().join("store")), peak_memory_kib());
    say(&format!(
        "{total} lines in {took:?}: {bytes} bytes on disk (at a tenth {}), peak memory {peak} KiB \
         (at a tenth {})",
        at_tenth.0, at_tenth.1
    ));
    let job = read(&jobs, "talks");
    assert_eq!(job.log.len() as u64, LOG_LINES_MAX);
    assert_eq!((job.lines, job.dropped), (total, total - LOG_LINES_MAX));
    assert!(bytes < 8 << 20, "{bytes} bytes");
}

/// The lock is the transaction, so writers that wait for it share a flush: one that held a lock
/// around its write would make each of them wait for a flush of its own.
#[test]
fn writers_of_one_job_share_a_flush() {
    const WRITERS: u64 = 16;
    let dir = tempfile::TempDir::new().unwrap();
    let journal = Arc::new(crate::journal::SqliteJournal::open(dir.path()).unwrap());
    let jobs = JobStore::over(
        Arc::clone(&journal) as Arc<_>,
        Some(dir.path()),
        LockWait::Block,
    );
    jobs.create(&id("busy"), new()).unwrap();
    let before = journal.commits();
    journal.while_locked(WRITERS, || {
        thread::scope(|scope| {
            for writer in 0..WRITERS {
                let jobs = &jobs;
                scope.spawn(move || {
                    let patch = JobPatch::new().set(format!("own-{writer}"), &writer);
                    jobs.update(&id("busy"), patch).unwrap();
                });
            }
        });
    });
    let commits = journal.commits() - before;
    assert!(
        (1..=2).contains(&commits),
        "{commits} commits for {WRITERS} updates"
    );
    assert_eq!(read(&jobs, "busy").extra.len() as u64, WRITERS);
}

/// ```text
/// other process : BEGIN IMMEDIATE .................... COMMIT
/// writer        :        update ...waits............. done
/// reader        :            read read read list
/// ```
#[test]
fn a_reader_does_not_wait_for_a_slow_write() {
    let dir = tempfile::TempDir::new().unwrap();
    let journal = Arc::new(crate::journal::SqliteJournal::open(dir.path()).unwrap());
    let jobs = JobStore::over(
        Arc::clone(&journal) as Arc<_>,
        Some(dir.path()),
        LockWait::Block,
    );
    let owner = begun(&jobs, "read");
    let (reads, seen) = crate::sync::channel::bounded(1);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            seen.recv().unwrap();
            for _ in 0..100 {
                assert_eq!(
                    read(&jobs, "read").progress,
                    0,
                    "the write has not happened"
                );
                assert_eq!(jobs.list().unwrap().len(), 1);
            }
        });
        journal.while_locked_until(
            1,
            || {
                reads.send(()).unwrap();
                reader.join().unwrap();
            },
            || assert!(owner.append_log("slow", Some(50)).is_ok()),
        );
    });
    assert_eq!(read(&jobs, "read").progress, 50);
}

#[test]
fn a_failed_flush_is_told_and_takes_no_more_writes() {
    let dir = tempfile::TempDir::new().unwrap();
    let journal = Arc::new(crate::journal::SqliteJournal::open(dir.path()).unwrap());
    let jobs = JobStore::over(
        Arc::clone(&journal) as Arc<_>,
        Some(dir.path()),
        LockWait::Block,
    );
    let owner = begun(&jobs, "lost");
    journal.break_device();
    assert_eq!(code(owner.complete("result")), "journal-poisoned");
    journal.mend_device();
    assert_eq!(code(owner.complete("result")), "journal-poisoned");
    assert_eq!(
        read(&jobs, "lost").state,
        JobState::Running,
        "reading goes on"
    );
    journal.revive().unwrap();
    owner.complete("result").unwrap();
}

#[test]
fn a_row_that_vanished_is_missed_by_readers_and_by_the_doctor() {
    let (_dir, jobs) = store();
    let owner = begun(&jobs, "robbed");
    owner.append_log("line", None).unwrap();
    let work = JobWork::new(|tx| {
        let mut row = tx.job(&id("robbed"))?.unwrap();
        row.lines += 1;
        tx.put(&mut row)
    });
    jobs.inner.journal.work(work, Durability::Lazy).unwrap();
    assert_eq!(code(jobs.read(&id("robbed"))), "journal-corrupt");
    let said = jobs.inner.journal.check().unwrap();
    assert!(said.iter().any(|line| line.contains("job_log")), "{said:?}");
}

#[test]
fn a_record_that_is_not_one_of_ours_is_refused_and_left_alone() {
    let (_dir, jobs) = store();
    let work = JobWork::new(|tx| tx.insert(&id("odd"), "[1]".to_owned()).map(drop));
    jobs.inner.journal.work(work, Durability::Lazy).unwrap();
    assert_eq!(code(jobs.read(&id("odd"))), "journal-corrupt");
    assert_eq!(code(jobs.start(&id("odd"))), "journal-corrupt");
    assert_eq!(jobs.row(&id("odd")).unwrap().unwrap().record, "[1]");
}
