//! What a database consists of: objects, tables, columns, keys.
//!
//! Asked by `PRAGMA` statements and from `sqlite_schema` only: a database may hold a table that is
//! called like a table-valued pragma, and would be read in its place. No module of a virtual table
//! is ever loaded for it.

use super::cell::{Cell, Row, place};
use super::connect::quoted;
use super::marker;
use rusqlite::Connection;
use std::collections::{BTreeMap, BTreeSet};

/// Key and rowid of every row are compared in these collations, and in no other.
const COLLATIONS: [&str; 3] = ["BINARY", "NOCASE", "RTRIM"];

/// An object of the schema: kind, name and the name of its table.
pub(super) type ObjectName = (String, String, String);

/// The schema, without our own table, without statistics, and without what SQLite makes by itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Schema {
    /// The text that made each object.
    pub(super) objects: BTreeMap<ObjectName, String>,
    /// Tables with rows of their own, in the order of their names.
    pub(super) tables: BTreeSet<String>,
    /// Virtual tables.
    virtuals: BTreeSet<String>,
    /// `user_version` and `application_id`.
    pub(super) marks: [i64; 2],
    /// How texts are stored.
    encoding: String,
}

impl Schema {
    /// Reads the schema of `conn`.
    pub(super) fn read(conn: &Connection) -> rusqlite::Result<Self> {
        let mut schema = Self {
            marks: [
                conn.pragma_query_value(None, "user_version", |row| row.get(0))?,
                conn.pragma_query_value(None, "application_id", |row| row.get(0))?,
            ],
            encoding: conn.pragma_query_value(None, "encoding", |row| row.get(0))?,
            ..Self::default()
        };
        let mut statement = conn.prepare(
            "SELECT type, name, tbl_name, ifnull(sql, ''), ifnull(rootpage, 0) \
             FROM main.sqlite_schema",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let object: ObjectName = (row.get(0)?, row.get(1)?, row.get(2)?);
            if object.2 == marker::TABLE || object.2.starts_with("sqlite_") {
                continue;
            }
            if object.0 == "table" {
                let tables = if row.get::<_, i64>(4)? == 0 {
                    &mut schema.virtuals
                } else {
                    &mut schema.tables
                };
                tables.insert(object.1.clone());
            }
            schema.objects.insert(object, row.get(3)?);
        }
        Ok(schema)
    }

    /// What belongs to `table`: its own text, its indexes, its triggers.
    pub(super) fn of(&self, table: &str) -> Vec<(&ObjectName, &String)> {
        self.objects
            .iter()
            .filter(|(object, _)| object.2 == table)
            .collect()
    }

    /// Why no difference by rows can be made of anything here.
    pub(super) fn is_opaque(&self) -> bool {
        self.encoding != "UTF-8"
    }

    /// True for a table that holds the insides of a virtual one.
    pub(super) fn is_shadow(&self, table: &str) -> bool {
        self.virtuals.iter().any(|owner| {
            table
                .strip_prefix(owner.as_str())
                .is_some_and(|rest| rest.starts_with('_'))
        })
    }
}

/// A table whose rows can be told apart by a declared key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    /// Its name.
    pub(super) name: String,
    /// Its columns without generated ones.
    pub(super) columns: Vec<String>,
    /// Which columns are the key, in the order of the key. Empty if there is none.
    pub(super) key: Vec<usize>,
    /// The name of the number of a row, if that is not a column.
    pub(super) rowid: Option<&'static str>,
}

impl Table {
    /// Describes the table `name`, whose text is in the schema.
    pub(super) fn read(conn: &Connection, name: &str) -> rusqlite::Result<Self> {
        let mut table = Self {
            name: name.to_owned(),
            columns: Vec::new(),
            key: Vec::new(),
            rowid: None,
        };
        let mut key: Vec<(i64, usize)> = Vec::new();
        let mut taken = BTreeSet::new();
        conn.pragma(None, "table_xinfo", name, |row| {
            let column: String = row.get("name")?;
            let (order, hidden): (i64, i64) = (row.get("pk")?, row.get("hidden")?);
            taken.insert(column.to_ascii_lowercase());
            if hidden == 0 {
                if order > 0 {
                    key.push((order, table.columns.len()));
                }
                table.columns.push(column);
            }
            Ok(())
        })?;
        key.sort_unstable();
        table.key = key.into_iter().map(|(_, column)| column).collect();
        let free = ["rowid", "_rowid_", "oid"]
            .into_iter()
            .find(|name| !taken.contains(*name));
        let target = quoted(name);
        let numbered = |alias: &&str| {
            let sql = format!("SELECT {alias} FROM main.{target} LIMIT 0");
            conn.prepare(&sql).is_ok()
        };
        table.rowid = free.filter(numbered);
        let (by_index, known) = indexes(conn, name)?;
        if !table.key.is_empty() && !by_index {
            // The key is the number of the row itself.
            table.rowid = None;
        } else if !known || (free.is_none() && by_index) {
            table.key.clear();
        }
        Ok(table)
    }

    /// The columns as SQL.
    pub(super) fn list(&self) -> String {
        let quoted: Vec<String> = self.columns.iter().map(|name| quoted(name)).collect();
        quoted.join(", ")
    }

    /// The table as SQL.
    pub(super) fn target(&self) -> String {
        format!("main.{}", quoted(&self.name))
    }

    /// The names of the key columns.
    pub(super) fn key_names(&self) -> impl Iterator<Item = &str> {
        self.key
            .iter()
            .filter_map(|at| self.columns.get(*at).map(String::as_str))
    }

    /// The key of `row`.
    pub(super) fn key_of<'a>(&self, row: &'a Row) -> impl Iterator<Item = &'a Cell> {
        self.key.iter().filter_map(move |at| row.get(*at))
    }

    /// `users[id=3]`.
    pub(super) fn place(&self, row: &Row) -> String {
        place(&self.name, self.key_names().zip(self.key_of(row)))
    }
}

/// Whether an index keeps the key of a table, and whether we know the collations of all its indexes.
fn indexes(conn: &Connection, table: &str) -> rusqlite::Result<(bool, bool)> {
    let mut names: Vec<String> = Vec::new();
    let mut by_index = false;
    conn.pragma(None, "index_list", table, |row| {
        by_index |= row.get::<_, String>("origin")? == "pk";
        names.push(row.get("name")?);
        Ok(())
    })?;
    let mut known = true;
    for name in &names {
        conn.pragma(None, "index_xinfo", name.as_str(), |row| {
            let collation: Option<String> = row.get("coll")?;
            known &= collation.is_none_or(|name| {
                COLLATIONS
                    .iter()
                    .any(|ours| ours.eq_ignore_ascii_case(&name))
            });
            Ok(())
        })?;
    }
    Ok((by_index, known))
}

/// The counters of AUTOINCREMENT, by table.
pub(super) fn counters(conn: &Connection) -> rusqlite::Result<BTreeMap<String, i64>> {
    let sql = "SELECT name, max(seq) FROM main.sqlite_sequence \
               WHERE typeof(seq) = 'integer' AND typeof(name) = 'text' GROUP BY name";
    if !has(conn, "sqlite_sequence")? {
        return Ok(BTreeMap::new());
    }
    let mut statement = conn.prepare(sql)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

/// True if there is a table `name`.
pub(super) fn has(conn: &Connection, name: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT count(*) FROM main.sqlite_schema WHERE type = 'table' AND name = ?";
    conn.query_row(sql, [name], |row| Ok(row.get::<_, i64>(0)? > 0))
}
