use super::*;
use std::os::unix::fs::symlink;

fn refused(rig: &Rig, resource: &Sqlite) -> String {
    let error = resource.identify().unwrap_err();
    assert_eq!(error.fault, Fault::Refused, "{error}");
    let dir = tempfile::tempdir_in(rig.home()).unwrap();
    let place = Place {
        dir: dir.path().to_owned(),
        token: "t".to_owned(),
        label: String::new(),
    };
    assert_eq!(
        fault(resource.open(&place, &Work::silent())),
        Fault::Refused
    );
    error.to_string()
}

#[test]
fn what_is_no_database_file_of_its_own_is_refused() {
    let rig = Rig::users();
    let at = |name: &str| rig.home().join(name);
    symlink("real.db", at("link")).unwrap();
    std::fs::create_dir(at("dir")).unwrap();
    std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    for name in ["link", "dir", "socket", "absent", "absent/x.db"] {
        refused(&rig, &Sqlite::at(at(name)));
    }
    assert!(refused(&rig, &Sqlite::at("")).contains("named by a path"));
    assert!(refused(&rig, &Sqlite::at(":memory:")).contains("in memory"));
    refused(&rig, &Sqlite::at("file:x?mode=memory"));
    refused(&rig, &Sqlite::at("/"));
    std::fs::hard_link(rig.path(), at("second")).unwrap();
    assert!(refused(&rig, &rig.resource()).contains("hard links"));
}

#[test]
fn a_file_that_is_no_database_is_refused_and_stays_as_it_is() {
    let rig = Rig::users();
    let noise = vec![b'x'; 5_000];
    std::fs::File::create(rig.home().join("noise")).unwrap();
    std::io::Write::write_all(
        &mut std::fs::File::create(rig.home().join("noise")).unwrap(),
        &noise,
    )
    .unwrap();
    let resource = Sqlite::at(rig.home().join("noise"));
    let error = rig.try_open(&resource, "a").err().unwrap();
    assert_eq!(error.fault, Fault::Refused);
    assert!(error.message.contains("not a SQLite database"), "{error}");
    assert_eq!(std::fs::read(rig.home().join("noise")).unwrap(), noise);
}

#[test]
fn a_name_that_looks_like_a_uri_is_a_plain_name() {
    for name in [
        "file:x.db?mode=ro",
        "it's;\n\"x\".db",
        ":memory:",
        "-rf",
        "%41.db",
    ] {
        let rig = Rig::users();
        let file = rig.home().join(name);
        drop(open(&file).execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY)"));
        let resource = Sqlite::at(&file);
        assert_eq!(resource.identify().unwrap().tree, None);
        let mut plan = rig.try_open(&resource, "a").unwrap();
        assert_eq!(plan.view().file_name(), file.file_name());
        plan.run("INSERT INTO t VALUES (1)");
        let redo = plan.ready();
        plan.apply(&redo);
        plan.discard();
        assert_eq!(rows(&file, "SELECT id FROM t"), ["Integer(1)"], "{name:?}");
    }
}

#[test]
fn the_directories_above_enclose_the_file() {
    let rig = Rig::users();
    let above = crate::sandbox::Directory::at(rig.home())
        .identify()
        .unwrap();
    let own = rig.resource().identify().unwrap();
    assert!(own.overlaps(&above) && above.overlaps(&own));
    assert!(own.key.as_str().starts_with("sqlite:"), "{own:?}");
}

#[test]
fn a_database_that_was_replaced_is_lost_and_nothing_is_written_to_the_new_one() {
    let rig = Rig::users();
    let mut plan = rig.open("a");
    plan.run("DELETE FROM users WHERE id = 1");
    plan.sandbox.seal(&Work::silent()).unwrap();
    drop(plan.ready());
    plan.sandbox.stand_down();
    let other = rig.home().join("other.db");
    open(&other)
        .execute_batch("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, age)")
        .unwrap();
    crate::fs::Dir::open(rig.home())
        .unwrap()
        .exchange(
            "other.db".as_ref(),
            &crate::fs::Dir::open(rig.home()).unwrap(),
            "real.db".as_ref(),
        )
        .unwrap();
    let before = std::fs::read(rig.path()).unwrap();
    assert_eq!(fault(plan.sandbox.guards()), Fault::Lost);
    assert_eq!(fault(plan.sandbox.prepare(&Work::silent())), Fault::Lost);
    assert_eq!(std::fs::read(rig.path()).unwrap(), before);
    std::fs::remove_file(rig.path()).unwrap();
    symlink("other.db", rig.path()).unwrap();
    assert_eq!(fault(plan.sandbox.prepare(&Work::silent())), Fault::Lost);
    plan.discard();
}

/// Puts something else in the place of the view and expects a refusal that names it.
fn spoiled(spoil: impl FnOnce(&Rig, &Path)) -> String {
    let rig = Rig::users();
    let mut plan = rig.open("a");
    plan.run("DELETE FROM users WHERE id = 1");
    spoil(&rig, plan.view());
    let error = plan.sandbox.seal(&Work::silent()).unwrap_err();
    assert_eq!(error.fault, Fault::Refused, "{error}");
    assert!(
        error.path.unwrap().ends_with("view/real.db"),
        "it names the view"
    );
    assert_eq!(rig.rows("SELECT count(*) FROM users"), ["Integer(10)"]);
    let left: Vec<_> = std::fs::read_dir(&plan.place.dir).unwrap().collect();
    assert_eq!(left.len(), 2, "only the snapshot and the view: {left:?}");
    rig.check();
    error.message
}

#[test]
fn a_view_that_is_not_one_sound_file_any_more_is_refused() {
    spoiled(|rig, view| {
        std::fs::remove_file(view).unwrap();
        symlink(rig.path(), view).unwrap();
    });
    spoiled(|_, view| std::fs::remove_file(view).unwrap());
    spoiled(|_, view| {
        std::fs::remove_file(view).unwrap();
        std::fs::create_dir(view).unwrap();
    });
    let noise = spoiled(|_, view| overwrite(view, 0, &[b'x'; 200]));
    assert!(noise.contains("not a SQLite database"), "{noise}");
    spoiled(|_, view| overwrite(view, 4096 + 3, &[0xff; 40]));
    spoiled(|_, view| {
        let beside = view.with_file_name("real.db-wal");
        symlink("/etc/passwd", beside).unwrap();
    });
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    use std::os::unix::fs::FileExt as _;
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, at).unwrap();
}

#[test]
fn a_view_left_in_a_write_ahead_log_is_read_with_the_log() {
    let rig = Rig::users();
    let plan = rig.open("a");
    let tool = open(plan.view());
    tool.execute_batch("PRAGMA journal_mode = WAL; UPDATE users SET name = 'logged' WHERE id = 1")
        .unwrap();
    assert_eq!(plan.diff().entries.len(), 1);
    plan.commit();
    assert_eq!(rig.rows("SELECT name FROM users WHERE id = 1"), ["logged"]);
    assert_eq!(rig.rows("PRAGMA journal_mode"), ["delete"]);
    rig.check();
}

#[test]
fn a_view_left_in_that_mode_by_tools_that_ended_is_read_too() {
    const LOGGED: &str = "PRAGMA journal_mode = WAL; UPDATE users SET name = 'logged' WHERE id = 1";
    for killed in [false, true] {
        let rig = Rig::users();
        let plan = rig.open("a");
        let tool = open(plan.view());
        tool.execute_batch(LOGGED).unwrap();
        let log = plan.view().with_file_name("real.db-wal");
        let left = (
            std::fs::read(plan.view()).unwrap(),
            std::fs::read(&log).unwrap(),
        );
        drop(tool);
        if killed {
            overwrite(plan.view(), 0, &left.0);
            std::io::Write::write_all(&mut std::fs::File::create(&log).unwrap(), &left.1).unwrap();
        }
        assert_eq!(plan.diff().entries.len(), 1, "killed: {killed}");
        plan.commit();
        assert_eq!(rig.rows("SELECT name FROM users WHERE id = 1"), ["logged"]);
        rig.check();
    }
}

/// Leaves the view as a program leaves it that was killed in the middle of a transaction.
fn leave_hot(view: &Path) {
    let tool = open(view);
    tool.execute_batch("PRAGMA cache_size = 1; PRAGMA cache_spill = 1")
        .unwrap();
    tool.execute_batch("UPDATE users SET name = 'done' WHERE id = 1; BEGIN")
        .unwrap();
    for n in 100..400 {
        let sql = "INSERT INTO users VALUES (?, hex(randomblob(500)), 0)";
        tool.execute(sql, [n]).unwrap();
    }
    let journal = view.with_file_name("real.db-journal");
    let (db, log) = (
        std::fs::read(view).unwrap(),
        std::fs::read(&journal).unwrap(),
    );
    drop(tool);
    overwrite(view, 0, &db);
    std::io::Write::write_all(&mut std::fs::File::create(&journal).unwrap(), &log).unwrap();
}

#[test]
fn an_unfinished_transaction_in_the_view_is_rolled_back_out_of_its_reach() {
    let rig = Rig::users();
    let mut plan = rig.open("a");
    leave_hot(plan.view());
    let places: Vec<_> = plan
        .diff()
        .entries
        .iter()
        .map(|entry| entry.path.clone())
        .collect();
    assert_eq!(places, ["users[id=1]"]);
    drop(plan.ready());
    assert_eq!(std::fs::read_dir(&plan.place.dir).unwrap().count(), 3);
    plan.commit();
    assert_eq!(rig.rows("SELECT count(*) FROM users"), ["Integer(10)"]);
    rig.check();
}

#[test]
fn a_journal_of_the_plan_removes_no_file_outside() {
    let victim = tempfile::NamedTempFile::new().unwrap();
    let message = spoiled(|_, view| {
        leave_hot(view);
        let name = victim.path().to_str().unwrap().as_bytes();
        let sum: u32 = name.iter().map(|byte| u32::from(*byte)).sum();
        let mut tail = u32::MAX.to_be_bytes().to_vec();
        tail.extend(name);
        tail.extend(u32::try_from(name.len()).unwrap().to_be_bytes());
        tail.extend(sum.to_be_bytes());
        tail.extend([0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7]);
        let journal = view.with_file_name("real.db-journal");
        let size = std::fs::metadata(&journal).unwrap().len();
        overwrite(&journal, size, &tail);
    });
    assert!(message.contains("several databases"), "{message}");
    assert!(victim.path().exists());
}

#[test]
fn triggers_views_and_functions_of_the_plan_run_nowhere() {
    let schema = "CREATE TABLE t (id INTEGER PRIMARY KEY, x CHECK (length(x) < 100), \
                  big AS (upper(x))); CREATE TABLE log (id INTEGER PRIMARY KEY, x); \
                  CREATE TRIGGER note AFTER INSERT ON t BEGIN \
                  INSERT INTO log (x) VALUES (new.x); END; \
                  CREATE TABLE \"pragma_table_xinfo\" (x); CREATE VIEW v AS SELECT * FROM t";
    let rig = Rig::new(schema);
    let plan = rig.open("a");
    plan.run("INSERT INTO t (id, x) VALUES (1, 'once')");
    plan.commit();
    let told = rig.rows("SELECT x FROM log");
    assert_eq!(
        told,
        ["once"],
        "the effect of the trigger was in the copy already"
    );
    let canary = rig.home().join("canary.db");
    open(&canary).execute_batch("CREATE TABLE c (x)").unwrap();
    let before = std::fs::read(&canary).unwrap();
    let plan = rig.open("b");
    let attached = canary.display();
    plan.run(&format!("ATTACH '{attached}' AS c; DETACH c"));
    plan.run(
        "CREATE TRIGGER boom INSTEAD OF INSERT ON v BEGIN DELETE FROM t; END; \
         CREATE TRIGGER bang BEFORE DELETE ON t BEGIN DELETE FROM log; END; \
         CREATE TABLE planbox_marker (token, x); INSERT INTO planbox_marker VALUES ('b', 1)",
    );
    plan.commit();
    assert_eq!(rig.rows("SELECT count(*) FROM t"), ["Integer(1)"]);
    assert_eq!(rig.rows("SELECT count(*) FROM log"), ["Integer(1)"]);
    assert_eq!(std::fs::read(&canary).unwrap(), before);
    assert_eq!(
        rig.rows("SELECT name FROM sqlite_schema WHERE name LIKE 'planbox%'")
            .len(),
        0
    );
}

#[test]
fn a_view_that_is_the_real_file_under_another_name_is_refused() {
    let rig = Rig::users();
    let mut plan = rig.open("a");
    std::fs::remove_file(plan.view()).unwrap();
    std::fs::hard_link(rig.path(), plan.view()).unwrap();
    assert_eq!(fault(plan.sandbox.diff(&Work::silent())), Fault::Refused);
    assert_eq!(fault(plan.sandbox.seal(&Work::silent())), Fault::Refused);
}

#[test]
fn a_schema_that_calls_dangerous_functions_is_refused_without_a_call() {
    for bait in [
        "load_extension('/nowhere')",
        "fts3_tokenizer('a', x'00')",
        "no_such_function()",
    ] {
        for (rig, columns) in [
            (
                Rig::users(),
                format!("id INTEGER PRIMARY KEY, x AS ({bait})"),
            ),
            (
                Rig::users(),
                format!("id INTEGER PRIMARY KEY, x CHECK ({bait})"),
            ),
            (
                Rig::users(),
                format!("id INTEGER PRIMARY KEY, x DEFAULT ({bait})"),
            ),
        ] {
            let mut plan = rig.open("a");
            let tool = open(plan.view());
            tool.execute_batch(
                "CREATE TABLE bait (id INTEGER PRIMARY KEY, x); INSERT INTO bait VALUES (1, 1)",
            )
            .unwrap();
            let sql = format!(
                "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = 'CREATE TABLE bait ({})' \
                 WHERE name = 'bait'; PRAGMA writable_schema = RESET",
                columns.replace('\'', "''")
            );
            drop(tool.execute_batch(&sql));
            drop(tool);
            match plan.sandbox.seal(&Work::silent()) {
                Err(error) => assert!(matches!(error.fault, Fault::Refused | Fault::Io), "{error}"),
                // A default is not evaluated by a copy of pages.
                Ok(_) => drop(plan.ready()),
            }
            plan.discard();
            assert_eq!(
                rig.rows("SELECT count(*) FROM sqlite_schema"),
                ["Integer(1)"]
            );
            rig.check();
        }
    }
}

#[test]
fn names_of_every_kind_are_exact() {
    let name = "it's \"a\"; DROP TABLE users; --\n\u{1b}[31m";
    let quoted = super::super::connect::quoted(name);
    let rig = Rig::users();
    rig.run(&format!(
        "CREATE TABLE {quoted} ({quoted} PRIMARY KEY, \"select\", \"a]b\") WITHOUT ROWID"
    ));
    let plan = rig.open("a");
    plan.run(&format!(
        "INSERT INTO {quoted} VALUES ('x', 1, 2), (x'00', 3, 4)"
    ));
    let changes = plan.diff();
    for entry in &changes.entries {
        assert!(!entry.path.chars().any(char::is_control), "{entry:?}");
    }
    assert_eq!(changes.sections.len(), 1);
    plan.commit();
    assert_eq!(
        rig.rows(&format!("SELECT count(*) FROM {quoted}")),
        ["Integer(2)"]
    );
    assert_eq!(rig.rows("SELECT count(*) FROM users"), ["Integer(10)"]);
    rig.check();
}

#[test]
fn a_table_of_the_user_that_is_called_like_ours_is_refused_and_kept() {
    let rig = Rig::users();
    rig.run("CREATE TABLE planbox_marker (mine); INSERT INTO planbox_marker VALUES (1)");
    let mut plan = rig.open("a");
    plan.run("DELETE FROM users WHERE id = 1");
    plan.sandbox.seal(&Work::silent()).unwrap();
    assert_eq!(fault(plan.sandbox.prepare(&Work::silent())), Fault::Refused);
    plan.discard();
    assert_eq!(rig.rows("SELECT mine FROM planbox_marker"), ["Integer(1)"]);
}

#[test]
fn a_sealed_copy_that_somebody_changed_is_corrupt() {
    let rig = Rig::users();
    let mut plan = rig.open("a");
    plan.run("DELETE FROM users WHERE id = 1");
    let redo = plan.ready();
    plan.sandbox.stand_down();
    let sealed = plan.place.dir.join("sealed.db");
    open(&sealed).execute_batch("DELETE FROM users").unwrap();
    assert_eq!(
        fault(plan.sandbox.apply(&redo, &Work::silent())),
        Fault::Corrupt
    );
    assert_eq!(rig.rows("SELECT count(*) FROM users"), ["Integer(10)"]);
    std::fs::remove_file(sealed).unwrap();
    assert_eq!(
        fault(plan.sandbox.apply(&redo, &Work::silent())),
        Fault::Lost
    );
    assert_eq!(fault(SqliteKind.reopen("{}", &plan.place)), Fault::Corrupt);
}

#[test]
fn a_seal_is_out_of_the_reach_of_what_the_plan_does_later() {
    let rig = Rig::users();
    let mut plan = rig.open("a");
    plan.run("DELETE FROM users WHERE id = 1");
    plan.sandbox.seal(&Work::silent()).unwrap();
    plan.run("DELETE FROM users");
    assert_eq!(plan.diff().entries.len(), 1);
    plan.commit();
    assert_eq!(rig.rows("SELECT count(*) FROM users"), ["Integer(9)"]);
    rig.check();
}
