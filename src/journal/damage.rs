//! Damage: whatever happens to the file, the answer is the truth or a typed error.
#![cfg(feature = "sqlite")]

use super::conformance::{decision, plan_id, sandbox};
use super::*;
use crate::id::JobId;
use rusqlite::Connection;
use rusqlite::types::Value;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use tempfile::TempDir;

const PLANS: [&str; 3] = ["alpha", "beta", "gamma"];

const TABLES: [&str; 8] = [
    "meta",
    "plans",
    "sandboxes",
    "decisions",
    "receipts",
    "log",
    "jobs",
    "job_log",
];

/// A closed store with something in every table.
fn furnished() -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let journal = SqliteJournal::open(dir.path()).unwrap();
    for name in PLANS {
        let record = journal.acquire(&plan_id(name), "open", true);
        let record = record.unwrap().unwrap();
        let (id, epoch) = (&record.plan, record.epoch);
        journal.enlist(id, epoch, &sandbox("site")).unwrap();
        journal.enlist(id, epoch, &sandbox("docs")).unwrap();
        journal.decide(&decision(&record, Verdict::Commit)).unwrap();
        journal
            .finish(id, epoch, PlanState::Applied, "{\"n\":1}", Durability::Lazy)
            .unwrap();
    }
    for name in PLANS {
        file_a_job(&journal, name);
    }
    let path = journal.path().to_owned();
    drop(journal);
    (dir, path)
}

/// A job; the first one has two lines of log, so that no flip makes one row into another.
fn file_a_job(journal: &SqliteJournal, name: &str) {
    let id = JobId::new(name).unwrap();
    let talks = name == PLANS[0];
    let work = JobWork::new(move |tx| {
        let mut row = tx.insert(&id, "{\"kind\":\"encode\"}".to_owned())?;
        if talks {
            tx.add_line(&mut row, "first")?;
            tx.add_line(&mut row, "second")?;
        }
        tx.put(&mut row)
    });
    journal.work(work, Durability::Lazy).unwrap();
}

/// Everything a recovery reads.
#[derive(Debug, PartialEq)]
struct Truth {
    plans: Vec<PlanRecord>,
    sandboxes: Vec<Vec<SandboxRecord>>,
    decisions: Vec<Option<Decision>>,
    receipts: Vec<Option<String>>,
    jobs: Vec<JobRow>,
    job_logs: Vec<Option<(JobRow, Vec<LineRow>)>>,
}

fn truth(dir: &Path) -> Journaled<(Truth, Vec<Entry>)> {
    let journal = SqliteJournal::open(dir)?;
    let plans = journal.plans()?;
    let ids = || PLANS.iter().map(|name| plan_id(name));
    let truth = Truth {
        plans,
        sandboxes: ids()
            .map(|id| journal.sandboxes(&id))
            .collect::<Journaled<_>>()?,
        decisions: ids()
            .map(|id| journal.decision(&id))
            .collect::<Journaled<_>>()?,
        receipts: ids()
            .map(|id| journal.receipt(&id))
            .collect::<Journaled<_>>()?,
        jobs: journal.jobs()?,
        job_logs: PLANS
            .iter()
            .map(|name| journal.job_and_log(&JobId::new(name).unwrap(), 0))
            .collect::<Journaled<_>>()?,
    };
    Ok((truth, journal.log(None)?))
}

fn bytes_of(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    File::open(path).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

/// Puts these bytes in the place of the journal and its log.
fn replace(path: &Path, bytes: &[u8]) {
    for suffix in ["-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        drop(std::fs::remove_file(name));
    }
    let mut file = File::create(path).unwrap();
    file.write_all(bytes).unwrap();
}

fn flipped(value: &Value, bit: usize) -> Value {
    let turn = |mut bytes: Vec<u8>| {
        let at = (bit / 8).min(bytes.len().saturating_sub(1));
        match bytes.get_mut(at) {
            Some(byte) => *byte ^= 1 << (bit % 8),
            None => bytes.push(b'x'),
        }
        bytes
    };
    match value {
        Value::Integer(number) => Value::Integer(number ^ (1 << (bit % 64))),
        Value::Text(text) => Value::Blob(turn(text.clone().into_bytes())),
        Value::Blob(bytes) => Value::Blob(turn(bytes.clone())),
        _ => Value::Blob(b"x".to_vec()),
    }
}

/// Every column of every table, a sample of its bits: the doctor names the table, and the reader of
/// that table refuses.
#[test]
fn a_flipped_bit_in_any_column_is_found() {
    let (dir, path) = furnished();
    let (whole, _) = truth(dir.path()).unwrap();
    let journal = SqliteJournal::open(dir.path()).unwrap();
    let conn = Connection::open(&path).unwrap();
    for table in TABLES {
        let columns: Vec<String> = conn
            .prepare(&format!("SELECT * FROM {table}"))
            .unwrap()
            .column_names()
            .map(str::to_owned)
            .collect();
        let save = format!("CREATE TEMP TABLE saved_{table} AS SELECT * FROM {table}");
        conn.execute_batch(&save).unwrap();
        for column in &columns {
            for bit in [0, 5, 9, 14, 35, 62] {
                flip_one(&conn, &journal, (table, column), bit);
            }
        }
    }
    drop(journal);
    assert_eq!(truth(dir.path()).unwrap().0, whole, "all was put back");
}

fn flip_one(conn: &Connection, journal: &SqliteJournal, (table, column): (&str, &str), bit: usize) {
    let at = format!("{table}.{column} bit {bit}");
    let old: Value = conn
        .query_row(
            &format!("SELECT {column} FROM {table} LIMIT 1"),
            [],
            |row| row.get(0),
        )
        .unwrap();
    let new = flipped(&old, bit);
    let cast = if matches!(old, Value::Text(_) | Value::Null) {
        "CAST(?2 AS TEXT)"
    } else {
        "?2"
    };
    let set = format!("UPDATE {table} SET {column} = {cast} WHERE {column} IS ?1 RETURNING 1");
    let turned = conn
        .prepare(&set)
        .unwrap()
        .query_map((&old, &new), |_| Ok(()))
        .and_then(Iterator::collect::<rusqlite::Result<Vec<()>>>);
    assert!(!turned.expect(&at).is_empty(), "{at}");
    let said = journal.check().unwrap();
    let named = |line: &String| line.contains(table);
    assert!(said.iter().any(named), "{at}: {said:?}");
    let answer = match table {
        "log" => journal.log(None).map(drop),
        "meta" => journal
            .acquire(&plan_id("new"), "open", true)
            .and_then(|_| journal.job_changes(0, 1))
            .and_then(|_| journal.jobs())
            .map(drop),
        "jobs" | "job_log" => journal.jobs().and_then(|_| {
            let mut ids = PLANS.iter().map(|name| JobId::new(name).unwrap());
            ids.try_for_each(|id| journal.job_and_log(&id, 0).map(drop))
        }),
        _ => journal.plans().and_then(|_| {
            for id in PLANS.map(plan_id) {
                journal.sandboxes(&id)?;
                journal.decision(&id)?;
                journal.receipt(&id)?;
            }
            Ok(())
        }),
    };
    match answer {
        Err(JournalError::Corrupt { what, .. }) => assert!(what.contains(table), "{at}: {what}"),
        other => panic!("{at}: {other:?}"),
    }
    let back = format!("DELETE FROM {table}; INSERT INTO {table} SELECT * FROM saved_{table}");
    conn.execute_batch(&back).expect(&at);
}

#[test]
fn a_row_that_vanished_is_missed() {
    for (table, condition) in [
        ("plans", "plan = 'beta'"),
        ("sandboxes", "plan = 'beta' AND name = 'docs'"),
        ("decisions", "plan = 'beta'"),
        ("receipts", "plan = 'beta'"),
        ("meta", "key = 'plans'"),
        ("meta", "key = 'jobs'"),
        ("jobs", "job = 'beta'"),
        ("job_log", "seq = 1"),
    ] {
        let (dir, path) = furnished();
        let conn = Connection::open(&path).unwrap();
        let sql = format!("DELETE FROM {table} WHERE {condition}");
        assert_eq!(conn.execute(&sql, []).unwrap(), 1);
        drop(conn);
        let outcome = truth(dir.path());
        assert!(
            matches!(&outcome, Err(JournalError::Corrupt { what, .. }) if what.contains(table)),
            "{outcome:?}"
        );
        let journal = SqliteJournal::open(dir.path()).unwrap();
        assert_ne!(journal.check().unwrap(), Vec::<String>::new(), "{table}");
    }
}

#[test]
fn a_flipped_bit_anywhere_in_the_file_is_harmless_or_refused() {
    let (dir, path) = furnished();
    let (whole, story) = truth(dir.path()).unwrap();
    let clean = bytes_of(&path);
    let mut refused = 0;
    for at in (0..clean.len()).step_by(61).chain(0..100) {
        let mut bytes = clean.clone();
        bytes[at] ^= 1 << (at % 8);
        replace(&path, &bytes);
        match truth(dir.path()) {
            Ok((found, lines)) => {
                assert_eq!(found, whole, "byte {at}");
                let told = lines.iter().all(|line| story.contains(line));
                assert!(told, "byte {at}");
            }
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 100, "only {refused} flips were noticed");
}

#[test]
fn a_truncated_file_is_refused() {
    let (dir, path) = furnished();
    let (whole, _) = truth(dir.path()).unwrap();
    let clean = bytes_of(&path);
    for length in (0..clean.len()).step_by(509) {
        replace(&path, &clean[..length]);
        match truth(dir.path()) {
            Ok((found, _)) => assert_eq!(found, whole, "cut at {length}"),
            Err(JournalError::Corrupt { .. } | JournalError::Store { .. }) => {}
            Err(other) => panic!("cut at {length}: {other:?}"),
        }
    }
    replace(&path, &[]);
    let empty = SqliteJournal::open(dir.path());
    assert!(
        matches!(empty, Err(JournalError::Corrupt { .. })),
        "{empty:?}"
    );
}

#[test]
fn a_file_of_somebody_else_is_refused_and_left_alone() {
    let foreign = {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("theirs");
        let conn = Connection::open(&path).unwrap();
        conn.execute_batch("PRAGMA journal_mode=WAL; CREATE TABLE plans (x)")
            .unwrap();
        drop(conn);
        bytes_of(&path)
    };
    let (dir, path) = furnished();
    for bytes in [b"hello world\n".to_vec(), vec![0x5a; 8192], foreign] {
        replace(&path, &bytes);
        let opened = SqliteJournal::open(dir.path());
        assert!(
            matches!(opened, Err(JournalError::Corrupt { .. })),
            "{opened:?}"
        );
        assert_eq!(bytes_of(&path), bytes);
        let names = std::fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(names, 1, "no log beside it");
    }
    std::fs::remove_file(&path).unwrap();
    for plant in ["link", "directory"] {
        if plant == "link" {
            std::os::unix::fs::symlink("/dev/null", &path).unwrap();
        } else {
            std::fs::remove_file(&path).unwrap();
            std::fs::create_dir(&path).unwrap();
        }
        let opened = SqliteJournal::open(dir.path());
        assert!(
            matches!(opened, Err(JournalError::Corrupt { .. })),
            "{plant}: {opened:?}"
        );
    }
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let (dir, path) = furnished();
    let conn = Connection::open(&path).unwrap();
    conn.pragma_update(None, "user_version", 3).unwrap();
    drop(conn);
    let bytes = bytes_of(&path);
    match SqliteJournal::open(dir.path()) {
        Err(JournalError::Newer { found, known, .. }) => assert_eq!((found, known), (3, 2)),
        other => panic!("{other:?}"),
    }
    assert_eq!(bytes_of(&path), bytes);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

/// The file as format 1 had it: without the jobs.
fn made_older(path: &Path) {
    let conn = Connection::open(path).unwrap();
    conn.execute_batch(
        "DROP TABLE job_log; DROP TABLE jobs; \
         DELETE FROM meta WHERE key IN ('jobs', 'job-revision'); PRAGMA user_version = 1",
    )
    .unwrap();
}

#[test]
fn an_older_format_is_brought_to_the_present_one_whoever_opens_it_first() {
    let (dir, path) = furnished();
    let (whole, story) = truth(dir.path()).unwrap();
    made_older(&path);
    crate::sync::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| SqliteJournal::open(dir.path()).unwrap());
        }
    });
    let (now, told) = truth(dir.path()).unwrap();
    assert_eq!(
        (&now.plans, &now.receipts, told),
        (&whole.plans, &whole.receipts, story)
    );
    assert_eq!(now.jobs, []);
    let journal = SqliteJournal::open(dir.path()).unwrap();
    file_a_job(&journal, "new");
    assert_eq!(journal.jobs().unwrap().len(), 1);
    assert_eq!(journal.check().unwrap(), Vec::<String>::new());
}

#[test]
fn an_older_format_with_other_tables_is_refused_and_left_alone() {
    let (dir, path) = furnished();
    made_older(&path);
    let conn = Connection::open(&path).unwrap();
    conn.execute_batch("CREATE TABLE jobs (x)").unwrap();
    drop(conn);
    let opened = SqliteJournal::open(dir.path());
    assert!(
        matches!(opened, Err(JournalError::Corrupt { .. })),
        "{opened:?}"
    );
    let conn = Connection::open(&path).unwrap();
    let version: i64 = conn
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    assert_eq!(version, 1);
}

#[test]
fn a_planted_trigger_is_refused() {
    let (dir, path) = furnished();
    let conn = Connection::open(&path).unwrap();
    conn.execute_batch("CREATE TRIGGER t AFTER INSERT ON log BEGIN DELETE FROM decisions; END")
        .unwrap();
    drop(conn);
    let opened = SqliteJournal::open(dir.path());
    assert!(
        matches!(opened, Err(JournalError::Corrupt { .. })),
        "{opened:?}"
    );
}

#[test]
fn a_log_without_its_file_is_refused() {
    let (dir, path) = furnished();
    std::fs::remove_file(&path).unwrap();
    File::create(dir.path().join("journal.db-wal")).unwrap();
    let opened = SqliteJournal::open(dir.path());
    assert!(
        matches!(opened, Err(JournalError::Corrupt { .. })),
        "{opened:?}"
    );
}

#[test]
fn a_cut_log_loses_only_its_end() {
    let (dir, path) = furnished();
    let journal = SqliteJournal::open(dir.path()).unwrap();
    let id = plan_id("late");
    for _ in 0..5 {
        journal.acquire(&id, "open", true).unwrap();
    }
    let (db, wal) = (
        bytes_of(&path),
        bytes_of(&dir.path().join("journal.db-wal")),
    );
    drop(journal);
    for length in (0..wal.len()).step_by(997) {
        let other = TempDir::new().unwrap();
        let copy = other.path().join("journal.db");
        let mut file = File::create(&copy).unwrap();
        file.write_all(&db).unwrap();
        std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o600)).unwrap();
        let mut file = File::create(other.path().join("journal.db-wal")).unwrap();
        file.write_all(&wal).unwrap();
        file.set_len(length as u64).unwrap();
        let journal = SqliteJournal::open(other.path()).unwrap();
        let epoch = journal
            .plan(&id)
            .unwrap()
            .map_or(0, |record| record.epoch.0);
        assert!(epoch <= 5, "cut at {length}");
        let said = journal.check().unwrap();
        assert!(said.is_empty(), "cut at {length}: {said:?}");
    }
}
