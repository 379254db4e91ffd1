//! Foreign keys: rows that point at nothing since we wrote.

use super::cell::{Cell, shown_text};
use super::connect::quoted;
use super::schema::{Schema, Table};
use crate::error::Conflict;
use rusqlite::{Connection, OptionalExtension as _};
use std::collections::BTreeSet;

/// A row that points at nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Violation {
    table: String,
    /// The number of the row; none in a table without numbers.
    rowid: Option<i64>,
    parent: String,
    /// Which of the table's foreign keys.
    number: i64,
    /// The row, for people.
    place: String,
}

impl Violation {
    /// The conflict that it makes.
    pub(super) fn conflict(self) -> Conflict {
        let parent = shown_text(self.parent.as_bytes());
        Conflict::new(
            self.place,
            format!("a row in {parent} behind every foreign key"),
            format!("no such row in {parent}"),
            "a row that points there, or nothing to point at".to_owned(),
        )
    }
}

/// Those of the tables of `schema` in which a change of the `touched` ones can violate a key: they
/// themselves, and what points at them.
pub(super) fn concerned(
    conn: &Connection,
    schema: &Schema,
    touched: &BTreeSet<&str>,
) -> rusqlite::Result<Vec<String>> {
    let mut found = Vec::new();
    for name in &schema.tables {
        if concerns(conn, name, touched)? {
            found.push(name.clone());
        }
    }
    Ok(found)
}

/// All violations in `tables`.
pub(super) fn violations(conn: &Connection, tables: &[String]) -> Vec<Violation> {
    let mut found = Vec::new();
    for name in tables {
        let sql = format!("PRAGMA main.foreign_key_check({})", quoted(name));
        let check = || -> rusqlite::Result<Vec<(Option<i64>, String, i64)>> {
            let mut statement = conn.prepare(&sql)?;
            let rows =
                statement.query_map([], |row| Ok((row.get(1)?, row.get(2)?, row.get(3)?)))?;
            rows.collect()
        };
        // A key that points at no unique columns cannot be checked by anybody.
        let Ok(rows) = check() else { continue };
        for (rowid, parent, number) in rows {
            found.push(Violation {
                place: place(conn, name, rowid),
                table: name.clone(),
                rowid,
                parent,
                number,
            });
        }
    }
    found.sort();
    found
}

/// True if `table` has a foreign key, and is touched itself or points at what is.
fn concerns(conn: &Connection, table: &str, touched: &BTreeSet<&str>) -> rusqlite::Result<bool> {
    let mut parents: Vec<String> = Vec::new();
    conn.pragma(None, "foreign_key_list", table, |row| {
        parents.push(row.get("table")?);
        Ok(())
    })?;
    let is_touched = |name: &String| touched.iter().any(|one| one.eq_ignore_ascii_case(name));
    let own = touched.contains(table) && !parents.is_empty();
    Ok(own || parents.iter().any(is_touched))
}

/// `child[id=3]`, as far as that can be told.
fn place(conn: &Connection, name: &str, rowid: Option<i64>) -> String {
    let look = || {
        let table = Table::read(conn, name).ok()?;
        let alias = table.rowid.or_else(|| {
            let column = table.key_names().next();
            column.map(|_| "rowid")
        })?;
        let sql = format!(
            "SELECT {} FROM {} WHERE {alias} = ?",
            table.list(),
            table.target()
        );
        let width = table.columns.len();
        let row = conn.query_row(&sql, [rowid?], |row| {
            (0..width)
                .map(|at| row.get_ref(at).map(Cell::from))
                .collect()
        });
        row.optional().ok()?.map(|row| table.place(&row))
    };
    look().unwrap_or_else(|| shown_text(name.as_bytes()))
}

/// What is in `after` and not in `before`, each as often as it is more.
pub(super) fn fresh(before: &[Violation], after: &[Violation]) -> Vec<Violation> {
    let mut left = before.to_vec();
    let mut found = Vec::new();
    for one in after {
        match left.iter().position(|other| other == one) {
            Some(at) => drop(left.swap_remove(at)),
            None => found.push(one.clone()),
        }
    }
    found
}
