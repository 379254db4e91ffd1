//! SQLite databases through the manager: with hosts, writers and plans beside each other.

use crate::support::{child, plan};
use planbox::{CommitOptions, Directory, Explain as _, LockWait, SandboxManager, Sqlite};
use rusqlite::Connection;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

const CHILD: &str = "sqlite::child_process";

struct Rig {
    home: TempDir,
    manager: SandboxManager,
}

impl Rig {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let manager = SandboxManager::open(home.path().join("store")).unwrap();
        let rig = Self { home, manager };
        rig.db("a.db")
            .execute_batch(
                "CREATE TABLE users (id INTEGER PRIMARY KEY, name); \
                 INSERT INTO users VALUES (1, 'one'), (2, 'two'), (3, 'three')",
            )
            .unwrap();
        rig
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn db(&self, name: &str) -> Connection {
        open(&self.path(name))
    }

    fn users(&self) -> Sqlite {
        Sqlite::at(self.path("a.db")).busy_timeout(Duration::from_secs(20))
    }

    fn names(&self) -> Vec<String> {
        names(&self.db("a.db"))
    }

    /// Sound, and without a trace of ours once everything has settled.
    fn check(self) {
        self.manager.settle();
        let conn = open(&self.home.path().join("a.db"));
        let text = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, String>(0));
        assert_eq!(text("PRAGMA integrity_check").unwrap(), "ok");
        let sql = "SELECT name FROM sqlite_schema WHERE name LIKE '%planbox%'";
        assert!(text(sql).is_err(), "our table is gone");
    }
}

fn open(path: &Path) -> Connection {
    let conn = Connection::open(path).unwrap();
    conn.busy_timeout(Duration::from_secs(20)).unwrap();
    conn
}

fn names(conn: &Connection) -> Vec<String> {
    let mut statement = conn.prepare("SELECT name FROM users ORDER BY id").unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

#[test]
fn a_database_and_a_directory_commit_together_or_not_at_all() {
    let rig = Rig::new();
    let site = rig.path("site");
    std::fs::create_dir(&site).unwrap();
    let id = plan("p");
    let users = rig.manager.open_sandbox(&id, rig.users()).unwrap();
    let tree = rig.manager.open_sandbox(&id, Directory::at(&site)).unwrap();
    open(users.path())
        .execute_batch("UPDATE users SET name = 'ours' WHERE id = 2")
        .unwrap();
    drop(std::fs::File::create(tree.path().join("page")).unwrap());
    rig.db("a.db")
        .execute_batch("UPDATE users SET name = 'theirs' WHERE id = 2")
        .unwrap();
    let error = rig.manager.commit_all(&id).unwrap_err();
    assert_eq!(error.code(), "conflict");
    assert!(
        error.to_string().contains("users[id=2]") || format!("{error:?}").contains("users[id=2]")
    );
    assert!(!site.join("page").exists());
    rig.db("a.db")
        .execute_batch("UPDATE users SET name = 'two' WHERE id = 2")
        .unwrap();
    let receipt = rig.manager.commit_all(&id).unwrap();
    assert_eq!(receipt.resources().len(), 2);
    assert!(site.join("page").exists());
    assert_eq!(rig.names(), ["one", "ours", "three"]);
    rig.check();
}

#[test]
fn a_directory_around_a_database_is_not_in_the_same_plan() {
    let rig = Rig::new();
    let id = plan("p");
    drop(rig.manager.open_sandbox(&id, rig.users()).unwrap());
    let around = Directory::at(rig.home.path());
    assert!(rig.manager.open_sandbox(&id, around).is_err());
}

#[test]
fn two_databases_in_one_plan_are_both_old_if_one_is_busy() {
    let rig = Rig::new();
    rig.db("b.db")
        .execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY)")
        .unwrap();
    let id = plan("p");
    let one = rig.manager.open_sandbox(&id, rig.users()).unwrap();
    let second = Sqlite::at(rig.path("b.db"))
        .busy_timeout(Duration::from_millis(20))
        .named("second".parse().unwrap());
    let two = rig.manager.open_sandbox(&id, second).unwrap();
    open(one.path())
        .execute_batch("DELETE FROM users WHERE id = 1")
        .unwrap();
    open(two.path())
        .execute_batch("INSERT INTO t VALUES (1)")
        .unwrap();
    let writer = rig.db("b.db");
    writer.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = rig.manager.commit_all(&id).unwrap_err();
    assert_eq!(error.code(), "resource-busy");
    assert!(error.is_retryable());
    assert_eq!(rig.names().len(), 3);
    writer.execute_batch("ROLLBACK").unwrap();
    drop(writer);
    rig.manager.commit_all(&id).unwrap();
    assert_eq!(rig.names().len(), 2);
    rig.check();
}

#[test]
fn eight_plans_on_one_file_all_finish() {
    for mode in ["DELETE", "WAL"] {
        let rig = Rig::new();
        let conn = rig.db("a.db");
        conn.query_row(&format!("PRAGMA journal_mode = {mode}"), [], |_| Ok(()))
            .unwrap();
        drop(conn);
        std::thread::scope(|scope| {
            for n in 0..8 {
                let rig = &rig;
                scope.spawn(move || {
                    let id = plan(&format!("p{n}"));
                    let sandbox = rig.manager.open_sandbox(&id, rig.users()).unwrap();
                    let sql = format!("INSERT INTO users VALUES ({}, 'plan {n}')", 100 + n);
                    open(sandbox.path()).execute_batch(&sql).unwrap();
                    drop(sandbox);
                    let options = CommitOptions::default().wait(LockWait::Block);
                    rig.manager.commit_all_with(&id, &options).unwrap();
                });
            }
        });
        assert_eq!(rig.names().len(), 11, "{mode}");
        rig.check();
    }
}

#[test]
fn a_rollback_leaves_no_trace() {
    let rig = Rig::new();
    let before = std::fs::read(rig.path("a.db")).unwrap();
    let id = plan("p");
    let sandbox = rig.manager.open_sandbox(&id, rig.users()).unwrap();
    open(sandbox.path())
        .execute_batch("DROP TABLE users")
        .unwrap();
    rig.manager.diff(&id).unwrap();
    rig.manager.rollback_all(&id).unwrap();
    assert!(!sandbox.path().exists());
    assert_eq!(std::fs::read(rig.path("a.db")).unwrap(), before);
    rig.check();
}

/// What a child does: tries to write, or dies in the middle of a commit.
#[test]
fn child_process() {
    let Some((task, home)) = child::task() else {
        return;
    };
    match task.as_str() {
        "write" => {
            let conn = Connection::open(home.join("a.db")).unwrap();
            conn.busy_timeout(Duration::ZERO).unwrap();
            let wrote = conn.execute_batch("UPDATE users SET name = 'child' WHERE id = 1");
            assert!(wrote.is_ok(), "somebody else holds the lock");
        }
        "commit" => {
            let manager = SandboxManager::open(home.join("store")).unwrap();
            drop(manager.commit_all(&plan("p")));
            manager.settle();
        }
        other => panic!("{other}"),
    }
    std::io::stdout().flush().unwrap();
}

fn child_can_write(rig: &Rig) -> bool {
    let mut command = child::command(CHILD, "write", rig.home.path());
    child::run(&mut command).code() == Some(0)
}

#[test]
fn the_locks_of_the_host_survive_everything_we_do_with_its_file() {
    let rig = Rig::new();
    let id = plan("p");
    let host = rig.db("a.db");
    host.execute_batch("BEGIN IMMEDIATE; UPDATE users SET name = 'host' WHERE id = 3")
        .unwrap();
    assert!(!child_can_write(&rig), "the host holds the lock");
    let quick = Sqlite::at(rig.path("a.db")).busy_timeout(Duration::from_millis(20));
    let sandbox = rig.manager.open_sandbox(&id, quick).unwrap();
    assert!(!child_can_write(&rig), "after opening");
    open(sandbox.path())
        .execute_batch("DELETE FROM users WHERE id = 2")
        .unwrap();
    rig.manager.diff(&id).unwrap();
    assert!(!child_can_write(&rig), "after a look");
    let error = rig.manager.commit_all(&id).unwrap_err();
    assert_eq!(error.code(), "resource-busy");
    assert!(!child_can_write(&rig), "after a commit that was refused");
    host.execute_batch("COMMIT").unwrap();
    rig.manager.commit_all(&id).unwrap();
    rig.manager.settle();
    assert!(child_can_write(&rig));
    assert_eq!(names(&host), ["child", "host"]);
    drop(host);
    rig.check();
}

#[cfg(debug_assertions)]
#[test]
fn a_process_killed_at_any_point_leaves_all_or_nothing() {
    let points = [
        "commit.sealed",
        "seal.staged",
        "commit.validated",
        "commit.prepared",
        "commit.decided",
        "commit.applied",
        "commit.recorded",
        "settle.synced",
        "settle.done",
        "settle.swept",
    ];
    for sql in [
        "DELETE FROM users WHERE id = 2",
        "DELETE FROM users WHERE id = 2; CREATE TABLE t (x)",
    ] {
        for point in points {
            let rig = Rig::new();
            let site = rig.path("site");
            std::fs::create_dir(&site).unwrap();
            let id = plan("p");
            let users = rig.manager.open_sandbox(&id, rig.users()).unwrap();
            let tree = rig.manager.open_sandbox(&id, Directory::at(&site)).unwrap();
            open(users.path()).execute_batch(sql).unwrap();
            drop(std::fs::File::create(tree.path().join("page")).unwrap());
            let Rig { home, manager } = rig;
            drop(manager);
            let mut command = child::command(CHILD, "commit", home.path());
            let status = child::run(command.env("PLANBOX_CRASH_AT", point));
            assert!(child::was_killed(status), "{point} was not passed");
            let manager = SandboxManager::open(home.path().join("store")).unwrap();
            let rig = Rig { home, manager };
            let all = site.join("page").exists();
            assert_eq!(rig.names().len(), if all { 2 } else { 3 }, "{point}");
            if !all {
                rig.manager.commit_all(&id).unwrap();
                assert_eq!(rig.names(), ["one", "three"]);
            }
            println!("{point}: committed {all}");
            rig.check();
        }
    }
}

/// Between a crash and the recovery nobody holds the lock of the database.
#[cfg(debug_assertions)]
#[test]
fn a_foreign_change_between_a_crash_and_the_recovery_is_kept_and_the_plan_taken_back() {
    let rig = Rig::new();
    let site = rig.path("site");
    std::fs::create_dir(&site).unwrap();
    let id = plan("p");
    let users = rig.manager.open_sandbox(&id, rig.users()).unwrap();
    let tree = rig.manager.open_sandbox(&id, Directory::at(&site)).unwrap();
    open(users.path())
        .execute_batch("UPDATE users SET name = 'ours'")
        .unwrap();
    drop(std::fs::File::create(tree.path().join("page")).unwrap());
    let Rig { home, manager } = rig;
    drop(manager);
    let mut command = child::command(CHILD, "commit", home.path());
    let status = child::run(command.env("PLANBOX_CRASH_AT", "commit.decided"));
    assert!(child::was_killed(status));
    open(&home.path().join("a.db"))
        .execute_batch("UPDATE users SET name = 'theirs' WHERE id = 2")
        .unwrap();
    let manager = SandboxManager::open(home.path().join("store")).unwrap();
    let rig = Rig { home, manager };
    assert_eq!(rig.names(), ["one", "theirs", "three"]);
    assert!(!site.join("page").exists());
    let error = rig.manager.commit_all(&id).unwrap_err();
    assert_eq!(error.code(), "conflict");
    rig.manager.rollback_all(&id).unwrap();
    assert_eq!(rig.names(), ["one", "theirs", "three"]);
    rig.check();
}
