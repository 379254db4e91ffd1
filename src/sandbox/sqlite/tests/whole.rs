use super::*;

const ALL: &str = "SELECT * FROM users ORDER BY id";
const MIGRATION: &str = "ALTER TABLE users ADD COLUMN mail DEFAULT 'none'; \
    CREATE TABLE posts (x); INSERT INTO posts VALUES (1), (2.0), ('3'); \
    CREATE INDEX by_name ON users (name); PRAGMA user_version = 7; \
    CREATE VIEW old AS SELECT * FROM users WHERE age > 5; \
    CREATE TRIGGER tell AFTER DELETE ON users BEGIN INSERT INTO posts VALUES ('gone'); END";

fn content(path: &Path) -> Vec<String> {
    let schema = "SELECT type, name, tbl_name, sql FROM sqlite_schema \
                  WHERE name NOT LIKE '%planbox_marker%' ORDER BY type, name";
    let mut all = rows(path, schema);
    all.extend(rows(path, "PRAGMA user_version"));
    all.extend(rows(path, ALL));
    if all.iter().any(|line| line.contains("posts")) {
        all.extend(rows(path, "SELECT rowid, typeof(x), x FROM posts"));
    }
    all
}

fn rigs() -> [Rig; 2] {
    let (plain, logged) = (Rig::users(), Rig::users());
    logged.run("PRAGMA journal_mode = WAL");
    [plain, logged]
}

#[test]
fn a_schema_change_alone_commits_the_whole_database() {
    for rig in rigs() {
        let mode = rig.rows("PRAGMA journal_mode");
        // A reader that stays open, as the host's would.
        let host = rig.db();
        let count = |sql: &str| host.query_row(sql, [], |row| row.get::<_, i64>(0));
        assert_eq!(count("SELECT count(*) FROM users").unwrap(), 10);
        let plan = rig.open("a");
        plan.run(MIGRATION);
        let changes = plan.diff();
        let schema = &changes.sections[0];
        assert_eq!(
            (schema.what.as_str(), schema.added, schema.modified),
            ("schema", 4, 2)
        );
        let wanted = content(plan.view());
        plan.commit();
        assert_eq!(content(&rig.path()), wanted);
        assert_eq!(
            count("SELECT count(*) FROM users WHERE mail = 'none'").unwrap(),
            10
        );
        assert_eq!(rig.rows("PRAGMA journal_mode"), mode);
        rig.check();
    }
}

#[test]
fn a_schema_change_and_a_foreign_change_is_refused_and_names_the_table() {
    for rig in rigs() {
        let mut plan = rig.open("a");
        plan.run(MIGRATION);
        rig.run("UPDATE users SET age = 5.0 WHERE id = 5");
        let before = content(&rig.path());
        let told = plan.conflicts();
        assert!(
            told.len() == 1 && told[0].starts_with("users: "),
            "{told:?}"
        );
        assert_eq!(content(&rig.path()), before);
        rig.check();
    }
}

#[test]
fn a_schema_that_others_changed_is_a_conflict_of_the_rows_of_that_table_only() {
    let rig = Rig::new(
        "CREATE TABLE a (id INTEGER PRIMARY KEY); CREATE TABLE b (id INTEGER PRIMARY KEY)",
    );
    let (one, mut two) = (rig.open("a"), rig.open("b"));
    one.run("INSERT INTO a VALUES (1)");
    two.run("INSERT INTO b VALUES (1)");
    rig.run("ALTER TABLE b ADD COLUMN x");
    one.commit();
    let told = two.conflicts();
    assert!(
        told[0].starts_with("b: the plan started from CREATE TABLE b"),
        "{told:?}"
    );
    rig.check();
}

#[test]
fn a_table_without_a_key_is_committed_as_a_whole() {
    let rig = Rig::new("CREATE TABLE log (line); INSERT INTO log VALUES ('a'), ('b')");
    let (one, mut two) = (rig.open("a"), rig.open("b"));
    one.run("INSERT INTO log VALUES ('c')");
    two.run("INSERT INTO log VALUES ('d')");
    assert_eq!(one.diff().sections[0].name, "log");
    one.commit();
    assert!(two.conflicts()[0].starts_with("log: "));
    assert_eq!(
        rig.rows("SELECT rowid, line FROM log"),
        ["Integer(1)|a", "Integer(2)|b", "Integer(3)|c"]
    );
    rig.check();
}

#[test]
fn a_key_that_is_null_cannot_be_told_apart() {
    let rig = Rig::new(
        "CREATE TABLE t (k TEXT PRIMARY KEY, x); INSERT INTO t VALUES (NULL, 1), (NULL, 1)",
    );
    let plan = rig.open("a");
    plan.run("UPDATE t SET x = 2 WHERE rowid = 2");
    assert_eq!(plan.diff().sections[0].what, "whole");
    plan.commit();
    assert_eq!(rig.rows("SELECT x FROM t"), ["Integer(1)", "Integer(2)"]);
    rig.check();
}

#[test]
fn a_full_text_index_is_committed_as_a_whole_and_works_afterwards() {
    for rig in rigs() {
        rig.run(
            "CREATE VIRTUAL TABLE notes USING fts5(body); INSERT INTO notes VALUES ('red fox')",
        );
        let host = rig.db();
        let find = |word: &str| {
            let sql = "SELECT count(*) FROM notes WHERE notes MATCH ?";
            host.query_row(sql, [word], |row| row.get::<_, i64>(0))
                .unwrap()
        };
        assert_eq!(find("fox"), 1);
        let plan = rig.open("a");
        plan.run("INSERT INTO notes VALUES ('blue fox')");
        plan.commit();
        assert_eq!((find("fox"), find("blue")), (2, 1));
        rig.run("INSERT INTO notes(notes) VALUES ('integrity-check')");
        rig.check();
    }
}

#[test]
fn a_whole_commit_survives_every_interruption() {
    for rig in rigs() {
        let before = content(&rig.path());
        let mut plan = rig.open("a");
        plan.run(MIGRATION);
        let wanted = content(plan.view());
        let redo = plan.ready();
        let mut plan = plan.again();
        assert_eq!(content(&rig.path()), before);
        plan.take_back(&redo).unwrap();
        assert_eq!(content(&rig.path()), before);
        for _ in 0..2 {
            plan.apply(&redo);
            plan = plan.again();
            assert_eq!(content(&rig.path()), wanted);
        }
        for _ in 0..2 {
            plan.take_back(&redo).unwrap();
            plan = plan.again();
            assert_eq!(content(&rig.path()), before);
        }
        rig.check();
        plan.apply(&redo);
        plan.discard();
        assert_eq!(content(&rig.path()), wanted);
        rig.check();
    }
}

#[test]
fn a_foreign_change_after_a_whole_commit_is_a_hazard_and_is_kept() {
    for rig in rigs() {
        let mut plan = rig.open("a");
        plan.run(MIGRATION);
        let redo = plan.ready();
        plan.apply(&redo);
        rig.run("INSERT INTO posts VALUES ('theirs')");
        let now = content(&rig.path());
        let error = plan.take_back(&redo).unwrap_err();
        assert_eq!((error.fault, error.conflicts.len()), (Fault::Hazard, 1));
        assert_eq!(error.conflicts[0].place, "posts");
        let keep = Work::silent().keeping_theirs(true);
        plan.sandbox.take_back(&redo, &keep).unwrap();
        assert_eq!(content(&rig.path()), now);
        rig.check();
    }
}

#[test]
fn a_reader_in_the_way_of_a_whole_commit_is_busy_and_everything_is_old() {
    let rig = Rig::users();
    let before = content(&rig.path());
    let mut plan = rig.open("a");
    plan.run(MIGRATION);
    let redo = plan.ready();
    let reader = rig.db();
    reader
        .execute_batch("BEGIN; SELECT count(*) FROM users")
        .unwrap();
    assert_eq!(
        fault(plan.sandbox.apply(&redo, &Work::silent())),
        Fault::Busy
    );
    plan.take_back(&redo).unwrap();
    reader.execute_batch("ROLLBACK").unwrap();
    assert_eq!(content(&rig.path()), before);
    rig.check();
}

#[test]
fn another_page_size_does_not_fit_under_a_write_ahead_log() {
    for rig in rigs() {
        let logged = rig.rows("PRAGMA journal_mode") == ["wal"];
        let mut plan = rig.open("a");
        plan.run("PRAGMA page_size = 1024; VACUUM; CREATE TABLE t (x)");
        if logged {
            plan.sandbox.seal(&Work::silent()).unwrap();
            assert_eq!(
                fault(plan.sandbox.prepare(&Work::silent())),
                Fault::Unsupported
            );
        } else {
            plan.commit();
            assert_eq!(rig.rows("PRAGMA page_size"), ["Integer(1024)"]);
        }
        rig.check();
    }
}

#[test]
fn texts_in_utf_16_are_committed_as_a_whole() {
    let rig =
        Rig::new("PRAGMA encoding = 'UTF-16le'; CREATE TABLE t (k TEXT PRIMARY KEY) WITHOUT ROWID");
    let plan = rig.open("a");
    plan.run("INSERT INTO t VALUES ('a'), ('b')");
    assert_eq!(plan.diff().sections[0].what, "whole");
    plan.commit();
    assert_eq!(rig.rows("SELECT k FROM t"), ["a", "b"]);
    rig.check();
}
