use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

const TABLES: [&str; 4] = [
    "(k INTEGER PRIMARY KEY, x, y)",
    "(k TEXT PRIMARY KEY, x, y)",
    "(k, x, y, PRIMARY KEY (k)) WITHOUT ROWID",
    "(k TEXT COLLATE NOCASE PRIMARY KEY, x UNIQUE ON CONFLICT REPLACE, y)",
];

const VALUES: [&str; 7] = ["NULL", "0", "1", "1.5", "'1'", "x'31'", "'text'"];

/// What one side does to the row `key` of table `table`.
#[derive(Debug, Clone)]
struct Edit {
    table: usize,
    key: u8,
    /// None deletes; otherwise the value of `y`.
    value: Option<usize>,
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let one = (
        0..TABLES.len(),
        0_u8..8,
        prop::option::weighted(0.7, 0..VALUES.len()),
    );
    let one = one.prop_map(|(table, key, value)| Edit { table, key, value });
    prop::collection::vec(one, 0..12)
}

type Model = BTreeMap<(usize, u8), usize>;

fn play(model: &mut Model, edits: &[Edit]) {
    for edit in edits {
        match edit.value {
            Some(value) => model.insert((edit.table, edit.key), value),
            None => model.remove(&(edit.table, edit.key)),
        };
    }
}

fn sql(edits: &[Edit]) -> String {
    let lines = edits.iter().map(|Edit { table, key, value }| match value {
        None => format!("DELETE FROM t{table} WHERE k = '{key}';"),
        Some(value) => {
            let value = VALUES[*value];
            format!(
                "INSERT INTO t{table} VALUES ('{key}', 'u{key}', {value}) \
                 ON CONFLICT (k) DO UPDATE SET y = {value};"
            )
        }
    });
    lines.collect()
}

fn dump(path: &Path) -> Vec<String> {
    (0..TABLES.len())
        .flat_map(|n| rows(path, &format!("SELECT {n}, k, x, y FROM t{n} ORDER BY k")))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Disjoint edits are all kept, and overlapping ones refused with nothing written.
    #[test]
    fn the_result_is_that_of_a_plain_model(start in edits(), ours in edits(), theirs in edits(), crash: bool, back: bool) {
        let rig = Rig::new("");
        for (n, columns) in TABLES.iter().enumerate() {
            rig.run(&format!("CREATE TABLE t{n} {columns}"));
        }
        rig.run(&sql(&start));
        let mut base = Model::new();
        play(&mut base, &start);
        let (mut mine, mut others) = (base.clone(), base.clone());
        play(&mut mine, &ours);
        play(&mut others, &theirs);
        let keys: Vec<_> = (0..TABLES.len()).flat_map(|t| (0..8).map(move |k| (t, k))).collect();
        let mut wanted = others.clone();
        let mut meets = false;
        for key in keys {
            let (was, plan, now) = (base.get(&key), mine.get(&key), others.get(&key));
            if plan != was {
                meets |= now != was && now != plan;
                match plan {
                    Some(value) => wanted.insert(key, *value),
                    None => wanted.remove(&key),
                };
            }
        }
        let mut plan = rig.open("a");
        plan.run(&sql(&ours));
        rig.run(&sql(&theirs));
        let before = dump(&rig.path());
        match plan.vote() {
            Vote::Conflict(found) => {
                prop_assert!(meets && !found.is_empty());
                prop_assert_eq!(dump(&rig.path()), before);
            }
            Vote::ReadOnly => prop_assert_eq!(&mine, &base),
            Vote::Ready { redo, .. } => {
                prop_assert!(!meets);
                if crash {
                    plan = plan.again();
                }
                plan.apply(&redo);
                let twin = Rig::new("");
                for (n, columns) in TABLES.iter().enumerate() {
                    twin.run(&format!("CREATE TABLE t{n} {columns}"));
                }
                let all: Vec<_> = wanted
                    .iter()
                    .map(|((table, key), value)| Edit { table: *table, key: *key, value: Some(*value) })
                    .collect();
                twin.run(&sql(&all));
                prop_assert_eq!(dump(&rig.path()), dump(&twin.path()));
                if back {
                    plan.take_back(&redo).unwrap();
                    prop_assert_eq!(dump(&rig.path()), before);
                }
            }
        }
        plan.discard();
        rig.check();
    }
}
