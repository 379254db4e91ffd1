//! The difference between the snapshot and what the plan made of it.

use super::cell::{Cell, Row, shown_text};
use super::schema::{self, ObjectName, Schema, Table};
use crate::sandbox::{Action, Change, Changes, Section, Work};
use rusqlite::{Connection, Rows};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// Most places that a listing names.
const LISTED_MAX: usize = 10_000;

/// Most bytes of rows that a difference holds; more is committed as a whole.
const WEIGHT_MAX: u64 = 256 << 20;

/// How many rows are read between two looks at the wish to stop.
const STRIDE: u64 = 4_096;

/// A row that is different: one of the sides may be absent, not both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RowChange {
    /// Which of the tables.
    pub(super) table: usize,
    /// In the snapshot.
    pub(super) before: Option<Row>,
    /// In the plan's copy.
    pub(super) after: Option<Row>,
}

/// A counter of AUTOINCREMENT that the plan moved on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CounterChange {
    /// Whose counter.
    pub(super) table: String,
    /// Where it stood, if it was there.
    pub(super) before: Option<i64>,
    /// Where it stands.
    pub(super) after: i64,
}

/// Everything that is different.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    /// The tables with rows that are different.
    pub(super) tables: Vec<Table>,
    /// The rows, by table and in the order of their keys.
    pub(super) rows: Vec<RowChange>,
    /// Counters that moved on.
    pub(super) counters: Vec<CounterChange>,
    /// Tables that changed and cannot be told apart row by row.
    pub(super) blurred: BTreeSet<String>,
    /// Objects of the schema that are different.
    pub(super) objects: BTreeMap<ObjectName, Action>,
    /// Marks of the whole file that are different: `user_version`, `application_id`.
    pub(super) marks: Vec<&'static str>,
    /// True if the rows were too many to be held.
    overflowed: bool,
    /// What a person should know.
    notes: Vec<String>,
    /// Bytes of the rows held.
    weight: u64,
}

/// A failure of SQLite, or a wish to stop.
#[derive(Debug)]
pub(super) enum Halt {
    /// SQLite failed.
    Sql(rusqlite::Error),
    /// The caller asked to stop.
    Stopped(crate::error::ParticipantError),
}

impl From<rusqlite::Error> for Halt {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl Difference {
    /// Compares the snapshot `base` with `view`; also gives back the schema of the snapshot.
    pub(super) fn between(
        base: &Connection,
        view: &Connection,
        work: &Work<'_>,
    ) -> Result<(Self, Schema), Halt> {
        let (old, new) = (Schema::read(base)?, Schema::read(view)?);
        let mut found = Self::default();
        found.compare_schemas(&old, &new);
        for name in old.tables.intersection(&new.tables) {
            if old.of(name) != new.of(name) {
                continue;
            }
            let table = Table::read(base, name)?;
            let keyed = !table.key.is_empty() && !old.is_opaque() && !old.is_shadow(name);
            if keyed && found.merge((base, view), &table, work)? {
                continue;
            }
            if !same_rows((base, view), &table, work)? {
                found.blurred.insert(name.clone());
            }
        }
        found.compare_counters(&schema::counters(base)?, &schema::counters(view)?);
        found.compare_statistics((base, view), work)?;
        Ok((found, old))
    }

    /// True if nothing is different.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.counters.is_empty() && !self.is_whole()
    }

    /// True if it can only be committed as a whole.
    pub(super) fn is_whole(&self) -> bool {
        self.overflowed
            || !(self.blurred.is_empty() && self.objects.is_empty() && self.marks.is_empty())
    }

    /// True if it is small enough to be kept between a seal and the vote: a megabyte.
    pub(super) fn is_light(&self) -> bool {
        !self.is_whole() && self.weight <= WEIGHT_MAX >> 8
    }

    /// The table of `change`.
    pub(super) fn table(&self, change: &RowChange) -> Option<&Table> {
        self.tables.get(change.table)
    }

    fn compare_schemas(&mut self, old: &Schema, new: &Schema) {
        for object in old.objects.keys().chain(new.objects.keys()) {
            let (before, after) = (old.objects.get(object), new.objects.get(object));
            if before != after {
                let action = action(before.is_some(), after.is_some());
                self.objects.insert(object.clone(), action);
            }
        }
        let names = ["user_version", "application_id"];
        let pairs = old.marks.iter().zip(&new.marks).zip(names);
        self.marks
            .extend(pairs.filter_map(|((old, new), name)| (old != new).then_some(name)));
    }

    fn compare_counters(&mut self, old: &BTreeMap<String, i64>, new: &BTreeMap<String, i64>) {
        for (table, before) in old {
            if new.get(table).is_none_or(|after| after < before) {
                self.notes.push(format!(
                    "the counter of {} was set back by the plan; it stays where it is",
                    shown_text(table.as_bytes())
                ));
            }
        }
        for (table, after) in new {
            let before = old.get(table).copied();
            if before.is_none_or(|before| before < *after) {
                self.counters.push(CounterChange {
                    table: table.clone(),
                    before,
                    after: *after,
                });
            }
        }
    }

    /// Statistics of `ANALYZE` belong to a database, not to a change.
    fn compare_statistics(
        &mut self,
        pair: (&Connection, &Connection),
        work: &Work<'_>,
    ) -> Result<(), Halt> {
        for name in ["sqlite_stat1", "sqlite_stat4"] {
            let (old, new) = (schema::has(pair.0, name)?, schema::has(pair.1, name)?);
            let same = match (old, new) {
                (true, true) => same_rows(pair, &Table::read(pair.0, name)?, work)?,
                (old, new) => old == new,
            };
            if !same {
                self.notes.push(format!(
                    "{name} is not committed: statistics are made by ANALYZE"
                ));
            }
        }
        Ok(())
    }

    /// Finds the rows of `table` that are different; false if a key is not one.
    fn merge(
        &mut self,
        (base, view): (&Connection, &Connection),
        table: &Table,
        work: &Work<'_>,
    ) -> Result<bool, Halt> {
        let sql = in_key_order(table);
        let (mut old, mut new) = (base.prepare(&sql)?, view.prepare(&sql)?);
        let (mut old, mut new) = (old.query([])?, new.query([])?);
        let number = self.tables.len();
        let (first, mut count) = (self.rows.len(), 0);
        let (mut left, mut right) = (next(&mut old, table)?, next(&mut new, table)?);
        while left.is_some() || right.is_some() {
            let lost = |row: &Option<Row>| row.as_ref().is_some_and(|row| keyless(table, row));
            if lost(&left) || lost(&right) {
                self.rows.truncate(first);
                return Ok(false);
            }
            let order = match (&left, &right) {
                (Some(left), Some(right)) => by_key(table, left, right),
                (Some(_), None) => Ordering::Less,
                _ => Ordering::Greater,
            };
            let before = (order != Ordering::Greater).then(|| left.take()).flatten();
            let after = (order != Ordering::Less).then(|| right.take()).flatten();
            if order != Ordering::Greater {
                left = next(&mut old, table)?;
            }
            if order != Ordering::Less {
                right = next(&mut new, table)?;
            }
            if before != after {
                self.hold(RowChange {
                    table: number,
                    before,
                    after,
                });
            }
            pace(&mut count, work)?;
        }
        if self.rows.len() > first {
            self.tables.push(table.clone());
        }
        Ok(true)
    }

    fn hold(&mut self, change: RowChange) {
        let sides = [&change.before, &change.after];
        let weight = sides.into_iter().flatten().flatten().map(Cell::weight);
        self.weight += weight.sum::<u64>();
        self.overflowed |= self.weight > WEIGHT_MAX;
        if self.weight <= WEIGHT_MAX {
            self.rows.push(change);
        }
    }

    /// The difference for people.
    pub(super) fn changes(&self) -> Changes {
        let mut changes = Changes {
            notes: self.notes.clone(),
            ..Changes::default()
        };
        let mut entries = Vec::new();
        let mut sections: Vec<Section> = self
            .tables
            .iter()
            .map(|table| Section::new("table", shown_text(table.name.as_bytes()), "row"))
            .collect();
        for change in &self.rows {
            let action = action(change.before.is_some(), change.after.is_some());
            if let Some(section) = sections.get_mut(change.table) {
                section.count(action);
            }
            let row = change.after.as_ref().or(change.before.as_ref());
            if let (Some(table), Some(row)) = (self.table(change), row) {
                if entries.len() < LISTED_MAX {
                    entries.push(Change::new(table.place(row), action, "row", 0));
                } else {
                    changes.unlisted += 1;
                }
            }
        }
        self.add_counters(&mut entries, &mut sections);
        self.add_whole(&mut entries, &mut sections);
        if self.overflowed {
            changes
                .notes
                .push("too many rows changed to be compared one by one".to_owned());
        }
        if self.is_whole() {
            changes.notes.push(
                "committed as a whole: refused if anybody changes the database meanwhile"
                    .to_owned(),
            );
        }
        entries.sort();
        changes.entries = entries;
        changes.sections = sections;
        changes
    }

    fn add_counters(&self, entries: &mut Vec<Change>, sections: &mut Vec<Section>) {
        let mut section = Section::new("table", "sqlite_sequence", "row");
        for counter in &self.counters {
            let name = format!(
                "sqlite_sequence[name='{}']",
                shown_text(counter.table.as_bytes())
            );
            let action = action(counter.before.is_some(), true);
            entries.push(Change::new(name, action, "row", 0));
            section.count(action);
        }
        if !self.counters.is_empty() {
            sections.push(section);
        }
    }

    fn add_whole(&self, entries: &mut Vec<Change>, sections: &mut Vec<Section>) {
        let mut schema = Section::new("schema", "main", "object");
        for ((_, name, _), action) in &self.objects {
            let name = shown_text(name.as_bytes());
            entries.push(Change::new(name, *action, "schema", 0));
            schema.count(*action);
        }
        for mark in &self.marks {
            entries.push(Change::new(*mark, Action::Modified, "schema", 0));
            schema.count(Action::Modified);
        }
        if !(self.objects.is_empty() && self.marks.is_empty()) {
            sections.push(schema);
        }
        for table in &self.blurred {
            let name = shown_text(table.as_bytes());
            entries.push(Change::new(name.as_str(), Action::Modified, "table", 0));
            let mut section = Section::new("whole", name, "table");
            section.count(Action::Modified);
            sections.push(section);
        }
    }

    /// Adds everything to a digest, unambiguously.
    pub(super) fn digest(&self, hasher: &mut blake3::Hasher) {
        let text = |hasher: &mut blake3::Hasher, text: &str| {
            Cell::Text(text.as_bytes().to_vec()).digest(hasher);
        };
        for change in &self.rows {
            if let Some(table) = self.table(change) {
                text(hasher, &table.name);
            }
            for side in [&change.before, &change.after] {
                hasher.update(if side.is_some() { b"+" } else { b"-" });
                for cell in side.iter().flatten() {
                    cell.digest(hasher);
                }
            }
        }
        for counter in &self.counters {
            text(hasher, &counter.table);
            Cell::Int(counter.after).digest(hasher);
        }
    }
}

fn action(before: bool, after: bool) -> Action {
    match (before, after) {
        (false, _) => Action::Added,
        (true, true) => Action::Modified,
        (true, false) => Action::Removed,
    }
}

fn pace(count: &mut u64, work: &Work<'_>) -> Result<(), Halt> {
    *count += 1;
    if count.is_multiple_of(STRIDE) {
        work.step(*count, 0, "rows").map_err(Halt::Stopped)?;
    }
    Ok(())
}

/// Reads no index that could disagree with the table: the plan may have damaged it.
fn in_key_order(table: &Table) -> String {
    let keys: Vec<String> = table
        .key_names()
        .map(|name| format!("{} COLLATE BINARY", super::connect::quoted(name)))
        .collect();
    format!(
        "SELECT {} FROM {} NOT INDEXED ORDER BY {}",
        table.list(),
        table.target(),
        keys.join(", ")
    )
}

fn next(rows: &mut Rows<'_>, table: &Table) -> rusqlite::Result<Option<Row>> {
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let cells = (0..table.columns.len()).map(|at| row.get_ref(at).map(Cell::from));
    cells.collect::<rusqlite::Result<Row>>().map(Some)
}

fn keyless(table: &Table, row: &Row) -> bool {
    table.key_of(row).any(|cell| *cell == Cell::Null)
}

fn by_key(table: &Table, left: &Row, right: &Row) -> Ordering {
    let pairs = table.key_of(left).zip(table.key_of(right));
    pairs
        .map(|(left, right)| left.order(right))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// True if both hold the same rows in the same order with the same numbers.
fn same_rows(
    (one, other): (&Connection, &Connection),
    table: &Table,
    work: &Work<'_>,
) -> Result<bool, Halt> {
    let rowid = table
        .rowid
        .map_or(String::new(), |name| format!(", {name}"));
    let sql = format!(
        "SELECT {}{rowid} FROM {} NOT INDEXED",
        table.list(),
        table.target()
    );
    let (mut one, mut other) = (one.prepare(&sql)?, other.prepare(&sql)?);
    let width = one.column_count();
    let (mut one, mut other) = (one.query([])?, other.query([])?);
    let mut count = 0;
    loop {
        match (one.next()?, other.next()?) {
            (None, None) => return Ok(true),
            (Some(left), Some(right)) => {
                for at in 0..width {
                    if Cell::from(left.get_ref(at)?) != Cell::from(right.get_ref(at)?) {
                        return Ok(false);
                    }
                }
            }
            _ => return Ok(false),
        }
        pace(&mut count, work)?;
    }
}

/// The first thing in which two databases are different, ours and statistics aside.
pub(super) fn first_difference(
    one: &Connection,
    other: &Connection,
    work: &Work<'_>,
) -> Result<Option<String>, Halt> {
    let (old, new) = (Schema::read(one)?, Schema::read(other)?);
    let mut found = Difference::default();
    found.compare_schemas(&old, &new);
    if let Some((_, name, _)) = found.objects.keys().next() {
        return Ok(Some(name.clone()));
    }
    if let Some(mark) = found.marks.first() {
        return Ok(Some((*mark).to_owned()));
    }
    for name in &old.tables {
        if !same_rows((one, other), &Table::read(one, name)?, work)? {
            return Ok(Some(name.clone()));
        }
    }
    let same = schema::counters(one)? == schema::counters(other)?;
    Ok((!same).then(|| "sqlite_sequence".to_owned()))
}

/// Adds the whole content of `conn` to a digest.
pub(super) fn digest_all(
    conn: &Connection,
    hasher: &mut blake3::Hasher,
    work: &Work<'_>,
) -> Result<(), Halt> {
    let schema = Schema::read(conn)?;
    for ((kind, name, table), sql) in &schema.objects {
        for text in [kind, name, table, sql] {
            Cell::Text(text.as_bytes().to_vec()).digest(hasher);
        }
    }
    for mark in schema.marks {
        Cell::Int(mark).digest(hasher);
    }
    for (name, seq) in schema::counters(conn)? {
        Cell::Text(name.into_bytes()).digest(hasher);
        Cell::Int(seq).digest(hasher);
    }
    let mut count = 0;
    for name in &schema.tables {
        Cell::Text(name.as_bytes().to_vec()).digest(hasher);
        let table = Table::read(conn, name)?;
        let rowid = table
            .rowid
            .map_or(String::new(), |name| format!(", {name}"));
        let sql = format!(
            "SELECT {}{rowid} FROM {} NOT INDEXED",
            table.list(),
            table.target()
        );
        let mut statement = conn.prepare(&sql)?;
        let width = statement.column_count();
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            for at in 0..width {
                Cell::from(row.get_ref(at)?).digest(hasher);
            }
            pace(&mut count, work)?;
        }
    }
    Ok(())
}
