use super::*;
use crate::id::{Epoch, PlanId};
use crate::sandbox::{Action, Stamp};

const ALL: &str = "SELECT * FROM users ORDER BY id";

#[test]
fn changed_rows_are_listed_and_land() {
    let rig = Rig::users();
    let plan = rig.open("a");
    plan.run(
        "UPDATE users SET name = 'new' WHERE id = 3; DELETE FROM users WHERE id = 4; \
              INSERT INTO users VALUES (20, 'twenty', NULL)",
    );
    assert_eq!(
        rig.rows("SELECT count(*) FROM users WHERE name = 'new'"),
        ["Integer(0)"]
    );
    let changes = plan.diff();
    let places: Vec<_> = changes
        .entries
        .iter()
        .map(|entry| (entry.path.as_str(), entry.action, entry.what.as_str()))
        .collect();
    assert_eq!(
        places,
        [
            ("users[id=20]", Action::Added, "row"),
            ("users[id=3]", Action::Modified, "row"),
            ("users[id=4]", Action::Removed, "row"),
        ]
    );
    assert_eq!(
        changes.sections[0].to_string(),
        "table users: 1 row added, 1 modified, 1 removed"
    );
    let wanted = rows(plan.view(), ALL);
    plan.commit();
    assert_eq!(rig.rows(ALL), wanted);
    rig.check();
}

#[test]
fn nothing_changed_means_no_write_at_all() {
    let rig = Rig::users();
    let before = std::fs::read(rig.path()).unwrap();
    let mut plan = rig.open("a");
    plan.run("UPDATE users SET age = age; CREATE TABLE t (x); DROP TABLE t; VACUUM");
    assert!(plan.diff().is_empty());
    assert!(matches!(plan.vote(), Vote::ReadOnly));
    plan.discard();
    assert_eq!(std::fs::read(rig.path()).unwrap(), before);
}

#[test]
fn rows_that_are_only_in_a_live_write_ahead_log_are_seen_and_the_database_is_not_touched() {
    let rig = Rig::new("PRAGMA journal_mode = WAL");
    let host = rig.db();
    host.execute_batch("PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (id INTEGER PRIMARY KEY, x)")
        .unwrap();
    for n in 0..1_000 {
        host.execute("INSERT INTO t VALUES (?, 'x')", [n]).unwrap();
    }
    let files = |rig: &Rig| {
        let wal = rig.home().join("real.db-wal");
        (
            std::fs::read(rig.path()).unwrap(),
            std::fs::read(wal).unwrap(),
        )
    };
    let before = files(&rig);
    let plan = rig.open("a");
    assert_eq!(
        rows(plan.view(), "SELECT count(*) FROM t"),
        ["Integer(1000)"]
    );
    assert_eq!(rows(plan.view(), "PRAGMA journal_mode"), ["delete"]);
    plan.run("DELETE FROM t WHERE id = 7");
    assert_eq!(plan.diff().entries.len(), 1);
    assert!(
        files(&rig) == before,
        "neither the file nor its log was written"
    );
    let beside: Vec<_> = std::fs::read_dir(plan.view().parent().unwrap())
        .unwrap()
        .collect();
    assert_eq!(beside.len(), 1, "{beside:?}");
    plan.commit();
    let left: i64 = host
        .query_row("SELECT count(*) FROM t", [], |row| row.get(0))
        .unwrap();
    assert_eq!(left, 999);
    assert_eq!(rig.rows("PRAGMA journal_mode"), ["wal"]);
    rig.check();
}

#[test]
fn opening_leaves_no_file_beside_a_database_that_nobody_has_open() {
    for mode in ["DELETE", "WAL"] {
        let rig = Rig::users();
        rig.run(&format!("PRAGMA journal_mode = {mode}"));
        let before = std::fs::read(rig.path()).unwrap();
        let plan = rig.open("a");
        drop(plan.diff());
        let names = std::fs::read_dir(rig.home()).unwrap().count();
        assert_eq!(names, 2, "{mode}: the database and the place");
        assert_eq!(std::fs::read(rig.path()).unwrap(), before);
    }
}

#[test]
fn a_wish_to_stop_ends_a_look_and_not_an_apply() {
    let rig = Rig::new("CREATE TABLE t (id INTEGER PRIMARY KEY, x)");
    rig.run(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) \
         INSERT INTO t SELECT i, i FROM n",
    );
    let mut plan = rig.open("a");
    plan.run("UPDATE t SET x = 'new'");
    let (nobody, stop) = (|_| (), std::sync::atomic::AtomicBool::new(true));
    let stopped = Work::new(&nobody, &stop);
    assert_eq!(fault(plan.sandbox.diff(&stopped)), Fault::Interrupted);
    assert_eq!(fault(plan.sandbox.seal(&stopped)), Fault::Interrupted);
    let changes = plan.diff();
    assert_eq!((changes.entries.len(), changes.unlisted), (10_000, 10_000));
    let redo = plan.ready();
    let mut plan = plan.again();
    plan.sandbox.apply(&redo, &stopped).unwrap();
    assert_eq!(
        rig.rows("SELECT count(*) FROM t WHERE x = 'new'"),
        ["Integer(20000)"]
    );
    plan.sandbox.take_back(&redo, &stopped).unwrap();
    assert_eq!(
        rig.rows("SELECT count(*) FROM t WHERE x = id"),
        ["Integer(20000)"]
    );
    plan.discard();
    rig.check();
}

#[test]
fn disjoint_rows_of_two_plans_both_land() {
    let rig = Rig::users();
    let (one, two) = (rig.open("a"), rig.open("b"));
    one.run("UPDATE users SET name = 'one' WHERE id = 1");
    two.run("UPDATE users SET name = 'two' WHERE id = 2; INSERT INTO users VALUES (99, 'n', 1)");
    one.commit();
    two.commit();
    let sql = "SELECT id, name FROM users WHERE name IN ('one', 'two', 'n') ORDER BY id";
    assert_eq!(
        rig.rows(sql),
        ["Integer(1)|one", "Integer(2)|two", "Integer(99)|n"]
    );
    rig.check();
}

#[test]
fn a_row_that_both_changed_is_a_conflict_that_tells_every_version() {
    let rig = Rig::users();
    let mut plan = rig.open("a");
    plan.run("UPDATE users SET name = 'ours' WHERE id = 3");
    // Another column of the same row: a row is one thing.
    rig.run("UPDATE users SET age = 77 WHERE id = 3");
    let before = rig.rows(ALL);
    assert_eq!(
        plan.conflicts(),
        [
            "users[id=3]: the plan started from name='user 3', age=3 and wants name='ours', \
             age=3, but now it is name='user 3', age=77"
        ]
    );
    plan.discard();
    assert_eq!(rig.rows(ALL), before);
    rig.check();
}

#[test]
fn inserts_and_deletes_that_meet_others_are_conflicts_unless_they_agree() {
    let rig = Rig::users();
    let mut plan = rig.open("a");
    plan.run(
        "INSERT INTO users VALUES (50, 'ours', 1), (51, 'same', 1); \
              DELETE FROM users WHERE id IN (1, 2)",
    );
    rig.run(
        "INSERT INTO users VALUES (50, 'theirs', 1), (51, 'same', 1); \
             DELETE FROM users WHERE id = 1; UPDATE users SET age = 0.5 WHERE id = 2",
    );
    let told = plan.conflicts();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].starts_with("users[id=2]: the plan started from age=2"),
        "{told:?}"
    );
    assert!(
        told[1].contains("users[id=50]") && told[1].contains("'theirs'"),
        "{told:?}"
    );
    rig.check();
}

#[test]
fn what_others_did_alike_is_not_taken_back() {
    let rig = Rig::users();
    let mut plan = rig.open("a");
    plan.run("INSERT INTO users VALUES (50, 'ours', 1), (51, 'same', 1)");
    rig.run("INSERT INTO users VALUES (51, 'same', 1)");
    let before = rig.rows(ALL);
    let redo = plan.ready();
    plan.apply(&redo);
    let mut plan = plan.again();
    plan.take_back(&redo).unwrap();
    assert_eq!(rig.rows(ALL), before);
    rig.check();
}

#[test]
fn dropping_the_sandbox_after_prepare_lets_go_and_apply_is_done_again() {
    let rig = Rig::users();
    let mut plan = rig.open("a");
    plan.run("UPDATE users SET name = 'new' WHERE id = 3");
    let wanted = rows(plan.view(), ALL);
    let redo = plan.ready();
    let busy = rig.db();
    busy.busy_timeout(Duration::ZERO).unwrap();
    assert!(
        busy.execute_batch("BEGIN IMMEDIATE").is_err(),
        "the lock is held"
    );
    let mut plan = plan.again();
    busy.execute_batch("BEGIN IMMEDIATE; ROLLBACK").unwrap();
    assert_ne!(rig.rows(ALL), wanted);
    for _ in 0..3 {
        plan.apply(&redo);
        plan = plan.again();
        assert_eq!(rig.rows(ALL), wanted);
    }
    plan.discard();
    rig.check();
}

#[test]
fn apply_in_another_process_does_not_overwrite_a_later_change_of_others() {
    let rig = Rig::users();
    let mut plan = rig.open("a");
    plan.run("UPDATE users SET name = 'new' WHERE id = 3");
    let redo = plan.ready();
    plan.apply(&redo);
    rig.run("UPDATE users SET name = 'later' WHERE id = 3");
    let mut plan = plan.again();
    plan.apply(&redo);
    assert_eq!(rig.rows("SELECT name FROM users WHERE id = 3"), ["later"]);
    plan.discard();
    rig.check();
}

#[test]
fn a_change_between_a_crash_and_the_redo_is_a_conflict_with_nothing_written() {
    let rig = Rig::users();
    let mut plan = rig.open("a");
    plan.run("UPDATE users SET name = 'new' WHERE id IN (3, 4)");
    let redo = plan.ready();
    let mut plan = plan.again();
    rig.run("UPDATE users SET name = 'theirs' WHERE id = 3");
    let before = rig.rows(ALL);
    let error = plan.sandbox.apply(&redo, &Work::silent()).unwrap_err();
    assert_eq!((error.fault, error.conflicts.len()), (Fault::Conflict, 1));
    assert_eq!(rig.rows(ALL), before);
    let keep = Work::silent().keeping_theirs(true);
    plan.sandbox.apply(&redo, &keep).unwrap();
    let names = rig.rows("SELECT name FROM users WHERE id IN (3, 4)");
    assert_eq!(names, ["theirs", "new"]);
    plan.discard();
    rig.check();
}

#[test]
fn a_take_back_restores_and_can_be_called_again() {
    let rig = Rig::users();
    let before = rig.rows(ALL);
    let mut plan = rig.open("a");
    plan.run(
        "UPDATE users SET name = 'new' WHERE id = 3; DELETE FROM users WHERE id = 4; \
              INSERT INTO users VALUES (20, 'twenty', NULL)",
    );
    let redo = plan.ready();
    plan.take_back(&redo).unwrap();
    assert_eq!(rig.rows(ALL), before, "nothing was applied yet");
    let redo = plan.ready();
    plan.apply(&redo);
    for _ in 0..2 {
        plan = plan.again();
        plan.take_back(&redo).unwrap();
        assert_eq!(rig.rows(ALL), before);
    }
    rig.check();
    plan.sandbox.unseal().unwrap();
    plan.run("DELETE FROM users WHERE id = 5");
    plan.commit();
    assert_eq!(rig.rows("SELECT count(*) FROM users"), ["Integer(9)"]);
    rig.check();
}

#[test]
fn a_foreign_change_after_apply_is_a_hazard_and_is_kept() {
    let rig = Rig::users();
    let mut plan = rig.open("a");
    plan.run("UPDATE users SET name = 'new' WHERE id IN (3, 4)");
    let redo = plan.ready();
    plan.apply(&redo);
    rig.run("UPDATE users SET age = 1000 WHERE id = 3");
    let error = plan.take_back(&redo).unwrap_err();
    assert_eq!((error.fault, error.conflicts.len()), (Fault::Hazard, 1));
    let sql = "SELECT name, age FROM users WHERE id IN (3, 4)";
    assert_eq!(rig.rows(sql), ["new|Integer(1000)", "new|Integer(4)"]);
    let keep = Work::silent().keeping_theirs(true);
    plan.sandbox.take_back(&redo, &keep).unwrap();
    assert_eq!(rig.rows(sql), ["new|Integer(1000)", "user 4|Integer(4)"]);
    rig.check();
}

#[test]
fn a_writer_outside_is_waited_for_only_so_long() {
    let rig = Rig::users();
    let mut plan = rig.open("a");
    plan.run("DELETE FROM users WHERE id = 3");
    plan.sandbox.seal(&Work::silent()).unwrap();
    let writer = rig.db();
    writer.execute_batch("BEGIN IMMEDIATE").unwrap();
    let watch = crate::clock::Stopwatch::start();
    let error = plan.sandbox.prepare(&Work::silent()).unwrap_err();
    assert_eq!(error.fault, Fault::Busy);
    assert_eq!(
        error.path.as_deref(),
        Some(rig.path().canonicalize().unwrap().as_path())
    );
    assert!(watch.elapsed() < Duration::from_secs(5));
    writer.execute_batch("ROLLBACK").unwrap();
    plan.commit();
    rig.check();
}

#[test]
fn a_reader_in_the_way_of_the_commit_is_busy_and_everything_is_old() {
    let rig = Rig::users();
    let before = rig.rows(ALL);
    let mut plan = rig.open("a");
    plan.run("DELETE FROM users WHERE id = 3");
    let redo = plan.ready();
    let reader = rig.db();
    reader.execute_batch("BEGIN").unwrap();
    let seen = |sql: &str| {
        reader
            .query_row(sql, [], |row| row.get::<_, i64>(0))
            .unwrap()
    };
    assert_eq!(
        seen("SELECT count(*) FROM users"),
        10,
        "readers go on until the commit"
    );
    let error = plan.sandbox.apply(&redo, &Work::silent()).unwrap_err();
    assert_eq!(error.fault, Fault::Busy);
    plan.take_back(&redo).unwrap();
    reader.execute_batch("ROLLBACK").unwrap();
    assert_eq!(rig.rows(ALL), before);
    plan.commit();
    rig.check();
}

#[test]
fn standing_down_and_unsealing_let_go_of_the_lock() {
    let rig = Rig::users();
    let mut plan = rig.open("a");
    plan.run("DELETE FROM users WHERE id = 3");
    let free = || {
        let other = rig.db();
        other.busy_timeout(Duration::ZERO).unwrap();
        other.execute_batch("BEGIN IMMEDIATE; ROLLBACK").is_ok()
    };
    drop(plan.ready());
    assert!(!free());
    plan.sandbox.stand_down();
    assert!(free());
    drop(plan.ready());
    plan.sandbox.unseal().unwrap();
    assert!(free());
    assert_eq!(rig.rows("SELECT count(*) FROM users"), ["Integer(10)"]);
}

#[test]
fn a_database_that_decides_writes_its_stamp_with_its_rows() {
    let rig = Rig::users();
    let resource = rig.resource().decides();
    let mut plan = rig.try_open(&resource, "a").unwrap();
    let stamp = |epoch| Stamp {
        plan: PlanId::new("p").unwrap(),
        epoch: Epoch(epoch),
    };
    plan.run("DELETE FROM users WHERE id = 3");
    let redo = plan.ready();
    let mut plan = plan.again();
    let marker = plan.sandbox.marker().unwrap();
    assert!(!marker.probe(&redo, &stamp(1)).unwrap());
    assert_eq!(
        fault(marker.commit(&redo, &stamp(1))),
        Fault::Lost,
        "never after a no"
    );
    let redo = plan.ready();
    plan.sandbox
        .marker()
        .unwrap()
        .commit(&redo, &stamp(2))
        .unwrap();
    let mut plan = plan.again();
    let marker = plan.sandbox.marker().unwrap();
    assert!(!marker.probe(&redo, &stamp(1)).unwrap());
    assert!(marker.probe(&redo, &stamp(2)).unwrap());
    assert_eq!(
        rig.rows("SELECT plan, epoch FROM planbox_marker"),
        ["p|Integer(2)"]
    );
    assert_eq!(rig.rows("SELECT count(*) FROM users"), ["Integer(9)"]);
    plan.discard();
    rig.check();
    assert!(
        rig.open("b").sandbox.marker().is_none(),
        "a vote is the default"
    );
}

#[test]
fn the_marker_of_one_plan_is_no_change_of_another() {
    let rig = Rig::users();
    let mut one = rig.open("a");
    one.run("UPDATE users SET name = 'one' WHERE id = 1");
    let redo = one.ready();
    one.apply(&redo);
    let two = rig.open("b");
    assert_eq!(
        rows(
            two.view(),
            "SELECT * FROM sqlite_schema WHERE name LIKE 'planbox%'"
        )
        .len(),
        0
    );
    two.run("ALTER TABLE users ADD COLUMN extra");
    two.commit();
    assert_eq!(
        rig.rows("SELECT token, plan FROM planbox_marker"),
        ["a|plan a"]
    );
    one.discard();
    rig.check();
}

/// The last connection that goes moves the log into the database, with flushes of its own: a commit
/// keeps it for the removal of its row.
#[test]
fn the_connection_of_the_commit_removes_the_row() {
    let rig = Rig::users();
    rig.run("PRAGMA journal_mode = WAL");
    let log = rig.home().join("real.db-wal");
    let mut plan = rig.open("a");
    plan.run("UPDATE users SET name = 'new' WHERE id = 3");
    let redo = plan.ready();
    plan.apply(&redo);
    assert!(log.exists(), "it was let go too early");
    plan.discard();
    assert!(!log.exists(), "it was kept for too long");
    rig.check();
}

/// What was kept open is of no use once the file has gone or is another one.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the test plays somebody who replaces the file"
)]
fn a_row_that_went_with_its_file_is_not_looked_for() {
    let rig = Rig::users();
    let mut plan = rig.open("a");
    plan.run("UPDATE users SET name = 'new' WHERE id = 3");
    let redo = plan.ready();
    plan.apply(&redo);
    let aside = rig.home().join("aside.db");
    std::fs::rename(rig.path(), &aside).unwrap();
    std::fs::copy(&aside, rig.path()).unwrap();
    plan.discard();
    let marks = "SELECT count(*) FROM planbox_marker";
    assert_eq!(rows(&aside, marks), ["Integer(1)"]);
    assert_eq!(rig.rows(marks), ["Integer(1)"]);
}
