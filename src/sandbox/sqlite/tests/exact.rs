use super::*;

/// Every value with its storage class, to the bit.
fn bits(path: &Path) -> Vec<String> {
    rows(path, "SELECT id, typeof(x), x, hex(x) FROM t ORDER BY id")
}

const VALUES: [&str; 17] = [
    "NULL",
    "1",
    "1.0",
    "'1'",
    "x'31'",
    "0.0",
    "-0.0",
    "0",
    "''",
    "x''",
    "9e999",
    "-9e999",
    "9223372036854775807",
    "9223372036854775807.0",
    "'1.0'",
    "CAST(x'610062' AS TEXT)",
    "CAST(x'ff' AS TEXT)",
];

#[test]
fn every_change_of_a_value_lands_to_the_bit() {
    for affinity in [
        "",
        "TEXT",
        "INTEGER",
        "REAL",
        "NUMERIC",
        "BLOB",
        "TEXT COLLATE NOCASE",
    ] {
        let rig = Rig::new(&format!(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, x {affinity})"
        ));
        let pairs =
            || (0..VALUES.len().pow(2)).map(|id| (id, id / VALUES.len(), id % VALUES.len()));
        let conn = rig.db();
        for (id, from, _) in pairs() {
            let sql = format!("INSERT INTO t VALUES ({id}, {})", VALUES[from]);
            conn.execute_batch(&sql).unwrap();
        }
        let plan = rig.open("a");
        let view = open(plan.view());
        for (id, _, to) in pairs() {
            let sql = format!("UPDATE t SET x = {} WHERE id = {id}", VALUES[to]);
            view.execute_batch(&sql).unwrap();
        }
        let (base, wanted) = (bits(&rig.path()), bits(plan.view()));
        let different = base.iter().zip(&wanted).filter(|(a, b)| a != b).count();
        assert_eq!(
            plan.diff().entries.len(),
            different,
            "affinity {affinity:?}"
        );
        assert!(different > 100, "affinity {affinity:?}");
        plan.commit();
        assert_eq!(bits(&rig.path()), wanted, "affinity {affinity:?}");
        rig.check();
    }
}

#[test]
fn an_equal_looking_change_of_others_is_a_conflict() {
    let theirs = ["1.0", "'1'", "x'31'", "NULL"];
    for value in theirs {
        let rig = Rig::new(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, x, y); INSERT INTO t VALUES (1, 1, 1)",
        );
        let mut plan = rig.open("a");
        plan.run("UPDATE t SET y = 2");
        rig.run(&format!("UPDATE t SET x = {value}"));
        assert!(
            plan.conflicts()[0].contains(&format!("x={value}")),
            "{value}"
        );
    }
}

#[test]
fn keys_of_every_shape_find_their_rows() {
    let schemas = [
        "CREATE TABLE t (k, l, x, PRIMARY KEY (l, k))",
        "CREATE TABLE t (k, l, x, PRIMARY KEY (l, k)) WITHOUT ROWID",
        "CREATE TABLE t (k TEXT COLLATE NOCASE, l, x, PRIMARY KEY (k COLLATE BINARY, l))",
        "CREATE TABLE t (k COLLATE NOCASE, l COLLATE RTRIM, x, PRIMARY KEY (k, l)) WITHOUT ROWID",
        "CREATE TABLE t (k, l, x, rowid, PRIMARY KEY (k, l))",
    ];
    let keys = [
        "1, 2",
        "1.5, 2",
        "'a', 2",
        "'b', 'x'",
        "x'61', 'y'",
        "'it''s \"q\"; --', x''",
        "CAST(x'0a00' AS TEXT), 1",
        "9007199254740993, 9007199254740993.0",
    ];
    for schema in schemas {
        let rig = Rig::new(schema);
        for key in keys {
            rig.run(&format!("INSERT INTO t (k, l, x) VALUES ({key}, 'old')"));
        }
        let plan = rig.open("a");
        plan.run(
            "UPDATE t SET x = 'new' WHERE l = 2; DELETE FROM t WHERE l = 'x'; \
                  INSERT INTO t (k, l, x) VALUES ('Z', 'Z', 'Z')",
        );
        assert!(
            plan.diff()
                .sections
                .iter()
                .all(|section| section.what == "table"),
            "{schema}"
        );
        let sql = "SELECT quote(k), quote(l), x FROM t ORDER BY 1, 2";
        let wanted = rows(plan.view(), sql);
        plan.commit();
        assert_eq!(rig.rows(sql), wanted, "{schema}");
        rig.check();
    }
}

#[test]
fn a_key_may_change_its_spelling() {
    let rig = Rig::new(
        "CREATE TABLE t (k TEXT COLLATE NOCASE PRIMARY KEY, x); INSERT INTO t VALUES ('a', 1); \
         CREATE TABLE n (k PRIMARY KEY, x); INSERT INTO n VALUES (1, 1)",
    );
    let plan = rig.open("a");
    plan.run("UPDATE t SET k = 'A'; UPDATE n SET k = 1.0");
    plan.commit();
    assert_eq!(rig.rows("SELECT k FROM t"), ["A"]);
    assert_eq!(rig.rows("SELECT k FROM n"), ["Real(1.0)"]);
    rig.check();
}

#[test]
fn unique_values_may_be_swapped_and_rows_keep_their_numbers() {
    let rig = Rig::new(
        "CREATE TABLE t (k TEXT PRIMARY KEY, u UNIQUE); INSERT INTO t VALUES ('a', 1), ('b', 2), ('c', 3)",
    );
    rig.run("DELETE FROM t WHERE k = 'a'; INSERT INTO t VALUES ('a', 1)");
    let plan = rig.open("a");
    plan.run("UPDATE t SET u = -u; UPDATE t SET u = 4 + u; INSERT INTO t VALUES ('z', 9)");
    let sql = "SELECT rowid, k, u FROM t ORDER BY rowid";
    let wanted = rows(plan.view(), sql);
    plan.commit();
    assert_eq!(rig.rows(sql), wanted);
    rig.check();
}

#[test]
fn a_unique_value_that_others_took_is_a_conflict_even_if_the_table_would_replace_it() {
    for clause in [
        "UNIQUE",
        "UNIQUE ON CONFLICT REPLACE",
        "UNIQUE ON CONFLICT IGNORE",
    ] {
        let rig = Rig::new(&format!(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, u {clause})"
        ));
        let mut plan = rig.open("a");
        plan.run("INSERT INTO t VALUES (1, 'taken')");
        rig.run("INSERT INTO t VALUES (2, 'taken')");
        let told = plan.conflicts();
        assert!(told[0].starts_with("t[id=1]"), "{told:?}");
        assert_eq!(rig.rows("SELECT id, u FROM t"), ["Integer(2)|taken"]);
        rig.check();
    }
}

#[test]
fn a_foreign_key_that_would_point_at_nothing_is_a_conflict() {
    let rig = Rig::new(
        "CREATE TABLE parent (id INTEGER PRIMARY KEY); INSERT INTO parent VALUES (1), (2); \
         CREATE TABLE child (id INTEGER PRIMARY KEY, p REFERENCES parent ON DELETE CASCADE); \
         PRAGMA foreign_keys = OFF; INSERT INTO child VALUES (100, 77)",
    );
    let (mut one, mut two) = (rig.open("a"), rig.open("b"));
    one.run("INSERT INTO child VALUES (5, 2)");
    two.run("DELETE FROM parent WHERE id = 1");
    rig.run("DELETE FROM parent WHERE id = 2; INSERT INTO child VALUES (6, 1)");
    assert!(one.conflicts()[0].starts_with("child[id=5]"));
    assert!(
        two.conflicts()[0].starts_with("child[id=6]"),
        "nothing cascades into rows of others"
    );
    assert_eq!(
        rig.rows("SELECT id FROM child ORDER BY id"),
        ["Integer(6)", "Integer(100)"]
    );
    rig.check();
}

#[test]
fn what_pointed_at_nothing_before_is_nobodys_conflict() {
    let rig = Rig::new(
        "CREATE TABLE child (id INTEGER PRIMARY KEY, p REFERENCES parent); \
         CREATE TABLE parent (id INTEGER PRIMARY KEY); \
         PRAGMA foreign_keys = OFF; INSERT INTO child VALUES (100, 77)",
    );
    let plan = rig.open("a");
    plan.run(
        "PRAGMA foreign_keys = ON; INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1, 1)",
    );
    plan.commit();
    rig.check();
}

#[test]
fn counters_move_on_and_never_back() {
    let rig = Rig::new(
        "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, x); INSERT INTO t (x) VALUES ('a'), ('b')",
    );
    let seq = || rig.rows("SELECT seq FROM sqlite_sequence WHERE name = 't'");
    let (one, two) = (rig.open("a"), rig.open("b"));
    one.run("INSERT INTO t VALUES (10, 'x'); DELETE FROM t WHERE id = 10");
    two.run("INSERT INTO t (x) VALUES ('c'); DELETE FROM sqlite_sequence");
    assert!(two.diff().notes.iter().any(|note| note.contains("counter")));
    let entry = one.diff().entries[0].path.clone();
    assert_eq!(entry, "sqlite_sequence[name='t']");
    one.commit();
    assert_eq!(seq(), ["Integer(10)"]);
    two.commit();
    assert_eq!(
        seq(),
        ["Integer(10)"],
        "a number that was given away is not given again"
    );
    let late = rig.open("c");
    late.run("INSERT INTO t VALUES (20, 'z')");
    rig.run("INSERT INTO t VALUES (50, 'y'); DELETE FROM t WHERE id = 50");
    late.commit();
    assert_eq!(seq(), ["Integer(50)"]);
    rig.check();
}

#[test]
fn generated_columns_are_made_by_the_real_database() {
    let rig = Rig::new(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, x, twice AS (x * 2), three INT AS (x * 3) STORED, y); \
         INSERT INTO t (id, x, y) VALUES (1, 1, 'y')",
    );
    let plan = rig.open("a");
    plan.run("UPDATE t SET x = 5; INSERT INTO t (id, x, y) VALUES (2, 7, 'z')");
    plan.commit();
    assert_eq!(
        rig.rows("SELECT twice, three, y FROM t"),
        ["Integer(10)|Integer(15)|y", "Integer(14)|Integer(21)|z"]
    );
    rig.check();
}

#[test]
fn statistics_stay_behind_with_a_note() {
    let rig = Rig::users();
    rig.run("CREATE INDEX by_name ON users (name)");
    let plan = rig.open("a");
    plan.run("ANALYZE; DELETE FROM users WHERE id = 1");
    let changes = plan.diff();
    assert_eq!(changes.entries.len(), 1, "{changes:?}");
    assert!(
        changes
            .notes
            .iter()
            .any(|note| note.contains("sqlite_stat1"))
    );
    plan.commit();
    rig.check();
}
