//! A register and the row that names its version: together or not at all, over several processes.

use crate::support::{child, plan};
use planbox::{
    Acknowledge, CommitOptions, Explain as _, SandboxManager, Sqlite, Stored, Value,
    VersionRegister,
};
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

const PLAN: &str = "activate";

fn database(home: &Path) -> PathBuf {
    home.join("models.db")
}

fn manager(home: &Path) -> SandboxManager {
    SandboxManager::open(home.join("store")).unwrap()
}

/// A table with two models, `v1` active at generation 1.
fn found() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let connection = Connection::open(database(home.path())).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE models (version TEXT PRIMARY KEY, active INTEGER, generation INTEGER);
             INSERT INTO models VALUES ('v1', 1, 1), ('v2', 0, 0);",
        )
        .unwrap();
    home
}

fn row(connection: &Connection) -> Stored {
    let ask = "SELECT version, generation FROM models WHERE active = 1";
    let found = connection.query_row(ask, [], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))
    });
    let (version, generation) = found.unwrap();
    Stored::new(version, generation.unsigned_abs())
}

fn real_row(home: &Path) -> Stored {
    row(&Connection::open(database(home)).unwrap())
}

/// Loads a model: here, its name.
fn load(version: &str) -> Arc<String> {
    Arc::new(version.to_owned())
}

fn follow(register: &VersionRegister<String>, home: &Path) {
    let refreshed = register.refresh(|| Ok::<_, ()>(real_row(home)), |version| Ok(load(version)));
    let refreshed = refreshed.unwrap();
    assert!(refreshed.is_current());
}

/// A plan that makes `v2` active, in the row and in the register.
fn prepare(manager: &SandboxManager, home: &Path, register: &VersionRegister<String>) {
    let file = Sqlite::at(database(home)).busy_timeout(Duration::from_millis(20));
    let copy = manager.open_sandbox(&plan(PLAN), file).unwrap();
    let cell = manager
        .open_sandbox(&plan(PLAN), Value::of(register))
        .unwrap();
    let connection = Connection::open(copy.path()).unwrap();
    connection
        .execute_batch(
            "UPDATE models SET active = 0 WHERE version = 'v1';
             UPDATE models SET active = 1, generation = 2 WHERE version = 'v2';",
        )
        .unwrap();
    cell.set_stored(&row(&connection), Some("v2".to_owned()))
        .unwrap();
}

#[test]
fn row_and_register_change_together_and_the_old_value_goes() {
    let home = found();
    let register = VersionRegister::unloaded();
    follow(&register, home.path());
    let old: Weak<String> = Arc::downgrade(&register.snapshot().shared().unwrap());
    let manager = manager(home.path());
    prepare(&manager, home.path(), &register);
    let reader = register.snapshot();
    assert_eq!(reader.version(), "v1");
    assert_eq!(real_row(home.path()), Stored::new("v1", 1));
    let options = CommitOptions::default().acknowledge(Acknowledge::Settled);
    manager.commit_all_with(&plan(PLAN), &options).unwrap();
    assert_eq!(real_row(home.path()), Stored::new("v2", 2));
    assert!(register.snapshot().agrees_with(&real_row(home.path())));
    assert_eq!(reader.value().unwrap(), "v1", "the request goes on");
    drop(reader);
    assert!(old.upgrade().is_none(), "nobody has the old value any more");
}

#[test]
fn a_row_that_cannot_be_committed_leaves_the_register_as_it_was() {
    let home = found();
    let register = VersionRegister::unloaded();
    follow(&register, home.path());
    let before = register.snapshot();
    let manager = manager(home.path());
    prepare(&manager, home.path(), &register);
    // Somebody holds the lock of the database.
    let other = Connection::open(database(home.path())).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let busy = manager.commit_all(&plan(PLAN)).unwrap_err();
    assert!(busy.is_retryable(), "{busy}");
    assert_eq!(register.snapshot().generation(), before.generation());
    other.execute_batch("ROLLBACK").unwrap();
    // Somebody changed the row.
    other
        .execute_batch("UPDATE models SET generation = 9 WHERE version = 'v1'")
        .unwrap();
    let conflict = manager.commit_all(&plan(PLAN)).unwrap_err();
    assert_eq!(conflict.code(), "conflict");
    assert_eq!(register.snapshot().generation(), before.generation());
    assert_eq!(register.snapshot().version(), "v1");
    assert_eq!(real_row(home.path()), Stored::new("v1", 9));
    // The promise is given back: a refresh brings what the other one wrote.
    follow(&register, home.path());
    assert_eq!(register.snapshot().stored(), Some(9));
}

/// The test that children run; in the parent it does nothing.
#[test]
fn child_entry() {
    let Some((task, home)) = child::task() else {
        return;
    };
    let register = VersionRegister::unloaded();
    let manager = manager(&home);
    if task == "recover" {
        assert!(manager.recovered().is_clean(), "{:?}", manager.recovered());
        return;
    }
    follow(&register, &home);
    prepare(&manager, &home, &register);
    let options = CommitOptions::default().acknowledge(Acknowledge::Settled);
    manager.commit_all_with(&plan(PLAN), &options).unwrap();
    assert!(register.snapshot().agrees_with(&real_row(&home)));
}

#[test]
fn another_process_that_activates_is_noticed_by_the_row() {
    let home = found();
    let register = VersionRegister::unloaded();
    follow(&register, home.path());
    assert_eq!(register.snapshot().version(), "v1");
    let status = child::run(&mut child::command(
        "register::child_entry",
        "commit",
        home.path(),
    ));
    assert!(status.success());
    assert_eq!(register.snapshot().version(), "v1", "not asked yet");
    follow(&register, home.path());
    let now = register.snapshot();
    assert_eq!((now.version(), now.stored()), ("v2", Some(2)));
    assert_eq!(now.value().unwrap(), "v2");
}

#[cfg(debug_assertions)]
#[test]
fn a_process_killed_anywhere_leaves_a_row_that_every_register_agrees_on() {
    let mut outcomes = std::collections::BTreeSet::new();
    for point in planbox::CRASH_POINTS {
        let home = found();
        let survivor = VersionRegister::unloaded();
        follow(&survivor, home.path());
        let mut command = child::command("register::child_entry", "commit", home.path());
        let status = child::run(command.env("PLANBOX_CRASH_AT", point));
        assert!(
            child::was_killed(status) || status.success(),
            "{point}: {status}"
        );
        let recover = child::run(&mut child::command(
            "register::child_entry",
            "recover",
            home.path(),
        ));
        assert!(recover.success(), "{point}: recovery");
        let row = real_row(home.path());
        let whole = [Stored::new("v1", 1), Stored::new("v2", 2)];
        assert!(whole.contains(&row), "{point}: {row:?}");
        let fresh = VersionRegister::unloaded();
        for register in [&survivor, &fresh] {
            follow(register, home.path());
            assert!(register.snapshot().agrees_with(&row), "{point}");
        }
        outcomes.insert(row.generation());
    }
    assert_eq!(outcomes.len(), 2, "some kills came before, some after");
}
