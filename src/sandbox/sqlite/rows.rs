//! Carrying a difference into the real database row by row, inside an open transaction, or back out
//! of it.

use super::cell::{Cell, Row, shown_text};
use super::connect::{quoted, said};
use super::difference::{CounterChange, Difference, RowChange};
use super::foreign::{self, Violation};
use super::schema::{Schema, Table, counters};
use crate::error::{Conflict, Fault, ParticipantError};
use crate::sandbox::Outcome;
use rusqlite::{Connection, ErrorCode, params_from_iter};
use std::collections::BTreeSet;
use std::path::Path;

/// Most conflicts that are told one by one.
const TOLD_MAX: usize = 1_000;

/// Longest text of one side of a conflict, in characters.
const SIDE_MAX: usize = 200;

/// Which way a difference is carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// From the snapshot to what the plan made of it.
    Forth,
    /// Back to the snapshot.
    Back,
}

impl Way {
    fn sides(self, change: &RowChange) -> (Option<&Row>, Option<&Row>) {
        let (before, after) = (change.before.as_ref(), change.after.as_ref());
        match self {
            Self::Forth => (before, after),
            Self::Back => (after, before),
        }
    }
}

/// A change that has to be made.
#[derive(Debug)]
struct Step<'a> {
    table: &'a Table,
    from: Option<&'a Row>,
    to: Option<&'a Row>,
    /// The number of the row in the real table, if it has one beside its columns.
    rowid: Option<i64>,
}

impl Step<'_> {
    fn place(&self) -> String {
        let row = self.to.or(self.from);
        row.map_or_else(String::new, |row| self.table.place(row))
    }
}

/// What a look at every touched row found.
#[derive(Debug, Default)]
pub(super) struct Findings<'a> {
    steps: Vec<Step<'a>>,
    /// Changes that somebody else has made already, by their number in the difference.
    pub(super) agreed: BTreeSet<usize>,
    /// Foreign changes in the way.
    pub(super) conflicts: Vec<Conflict>,
    /// The real database as it is now.
    schema: Schema,
}

/// The real database inside a write transaction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Live<'a> {
    /// The connection.
    pub(super) conn: &'a Connection,
    /// The file, for messages.
    pub(super) path: &'a Path,
}

impl Live<'_> {
    fn failed(&self, action: &str) -> impl Fn(rusqlite::Error) -> ParticipantError {
        let (path, action) = (self.path.to_owned(), action.to_owned());
        move |error| said(&path, &action, error)
    }

    /// Compares every row that `difference` touches with what is there now, whole row by whole
    /// row. Changes with a number in `skipped` are left alone.
    pub(super) fn examine<'a>(
        &self,
        difference: &'a Difference,
        base: &Schema,
        way: Way,
        skipped: &BTreeSet<usize>,
    ) -> Outcome<Findings<'a>> {
        let now = Schema::read(self.conn).map_err(self.failed("read the schema"))?;
        let mut found = Findings::default();
        let mut strange = BTreeSet::new();
        for (number, table) in difference.tables.iter().enumerate() {
            if base.of(&table.name) != now.of(&table.name) {
                strange.insert(number);
                found.conflicts.push(schema_conflict(table, base, &now));
            }
        }
        for (number, change) in difference.rows.iter().enumerate() {
            let Some(table) = difference.table(change) else {
                continue;
            };
            if strange.contains(&change.table) || skipped.contains(&number) {
                continue;
            }
            let (from, to) = way.sides(change);
            let row = self.look(table, change)?;
            let (rowid, theirs) = row.map_or((None, None), |(rowid, row)| (rowid, Some(row)));
            if theirs.as_ref() == to {
                found.agreed.insert(number);
            } else if theirs.as_ref() == from {
                found.steps.push(Step {
                    table,
                    from,
                    to,
                    rowid,
                });
            } else if found.conflicts.len() < TOLD_MAX {
                found
                    .conflicts
                    .push(conflict(table, (from, theirs.as_ref(), to)));
            }
        }
        found.schema = now;
        Ok(found)
    }

    /// The row with the key of `change`.
    fn look(&self, table: &Table, change: &RowChange) -> Outcome<Option<(Option<i64>, Row)>> {
        let row = change.after.as_ref().or(change.before.as_ref());
        let Some(row) = row else {
            return Ok(None);
        };
        self.find(table, row)
            .map_err(self.failed(&format!("read {}", table.place(row))))
    }

    fn find(&self, table: &Table, row: &Row) -> rusqlite::Result<Option<(Option<i64>, Row)>> {
        let number = table
            .rowid
            .map_or(String::new(), |name| format!(", {name}"));
        let sql = format!(
            "SELECT {}{number} FROM {} WHERE {}",
            table.list(),
            table.target(),
            by_key(table)
        );
        let mut statement = self.conn.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(table.key_of(row)))?;
        let Some(found) = rows.next()? else {
            return Ok(None);
        };
        let width = table.columns.len();
        let cells = (0..width).map(|at| found.get_ref(at).map(Cell::from));
        let cells = cells.collect::<rusqlite::Result<Row>>()?;
        let rowid = table.rowid.map(|_| found.get(width)).transpose()?;
        Ok(Some((rowid, cells)))
    }

    /// Makes the changes that were found to be possible. A foreign key that is violated afterwards
    /// and was not before is a conflict, unless `lenient`.
    ///
    /// # Errors
    /// [`Fault::Conflict`] for a violated key, [`Fault::Refused`] for a violated check; the
    /// transaction is to be rolled back then.
    pub(super) fn carry_out(
        &self,
        found: &Findings<'_>,
        counters: &[CounterChange],
        lenient: bool,
    ) -> Outcome<()> {
        let touched: BTreeSet<&str> = found
            .steps
            .iter()
            .map(|step| step.table.name.as_str())
            .collect();
        let concerned = foreign::concerned(self.conn, &found.schema, &touched)
            .map_err(self.failed("look for foreign keys"))?;
        let before = foreign::violations(self.conn, &concerned);
        for step in &found.steps {
            self.delete(step)
                .map_err(|error| self.explain(step, error))?;
        }
        // Rows that keep their number come first: a new row could be given it.
        for kept in [true, false] {
            for step in found
                .steps
                .iter()
                .filter(|step| step.rowid.is_some() == kept)
            {
                self.insert(step)
                    .map_err(|error| self.explain(step, error))?;
            }
        }
        for step in &found.steps {
            self.verify(step)?;
        }
        for counter in counters {
            self.advance(&counter.table, counter.after)
                .map_err(self.failed("move a counter on"))?;
        }
        let after = foreign::violations(self.conn, &concerned);
        let fresh = foreign::fresh(&before, &after);
        if fresh.is_empty() || lenient {
            return Ok(());
        }
        let told = fresh.into_iter().take(TOLD_MAX).map(Violation::conflict);
        Err(ParticipantError::conflict(told.collect()))
    }

    fn delete(&self, step: &Step<'_>) -> rusqlite::Result<()> {
        let Some(from) = step.from else {
            return Ok(());
        };
        let target = step.table.target();
        let gone = match (step.table.rowid, step.rowid) {
            (Some(name), Some(rowid)) => self
                .conn
                .prepare_cached(&format!("DELETE FROM {target} WHERE {name} = ?"))?
                .execute([rowid])?,
            _ => self
                .conn
                .prepare_cached(&format!(
                    "DELETE FROM {target} WHERE {}",
                    by_key(step.table)
                ))?
                .execute(params_from_iter(step.table.key_of(from)))?,
        };
        if gone == 1 {
            return Ok(());
        }
        Err(rusqlite::Error::StatementChangedRows(gone))
    }

    /// `OR ABORT`: the table itself may say that a new row replaces the rows in its way.
    fn insert(&self, step: &Step<'_>) -> rusqlite::Result<()> {
        let Some(to) = step.to else {
            return Ok(());
        };
        let (mut names, mut holes) = (step.table.list(), vec!["?"; to.len()]);
        let number = step.table.rowid.zip(step.rowid);
        if let Some((name, _)) = number {
            names = format!("{names}, {name}");
            holes.push("?");
        }
        let sql = format!(
            "INSERT OR ABORT INTO {} ({names}) VALUES ({})",
            step.table.target(),
            holes.join(", ")
        );
        let number = number.map(|(_, rowid)| Cell::Int(rowid));
        self.conn
            .prepare_cached(&sql)?
            .execute(params_from_iter(to.iter().chain(number.as_ref())))
            .map(drop)
    }

    /// Reads the row again: what was committed must be what was sealed, to the bit.
    fn verify(&self, step: &Step<'_>) -> Outcome<()> {
        let Some(row) = step.to.or(step.from) else {
            return Ok(());
        };
        let now = self
            .find(step.table, row)
            .map_err(self.failed("read a row again"))?;
        if now.as_ref().map(|(_, row)| row) == step.to {
            return Ok(());
        }
        let why = format!("the database does not keep {} as it is", step.place());
        Err(ParticipantError::new(Fault::Unsupported, why).at(self.path))
    }

    fn advance(&self, table: &str, to: i64) -> rusqlite::Result<()> {
        let now = counters(self.conn)?.get(table).copied();
        let sql = match now {
            None => "INSERT INTO main.sqlite_sequence (name, seq) VALUES (?2, ?1)",
            Some(now) if now < to => "UPDATE main.sqlite_sequence SET seq = ?1 WHERE name = ?2",
            Some(_) => return Ok(()),
        };
        self.conn.execute(sql, (to, table)).map(drop)
    }

    fn explain(&self, step: &Step<'_>, error: rusqlite::Error) -> ParticipantError {
        let action = format!("write {}", step.place());
        let Some(cause) = error.sqlite_error() else {
            return said(self.path, &action, error);
        };
        if cause.code != ErrorCode::ConstraintViolation {
            return said(self.path, &action, error);
        }
        let unique = [
            rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE,
            rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY,
            rusqlite::ffi::SQLITE_CONSTRAINT_ROWID,
        ];
        let text = shown_text(error.to_string().as_bytes());
        if !unique.contains(&cause.extended_code) {
            let why = format!("{action}: {text}");
            return ParticipantError::new(Fault::Refused, why).at(self.path);
        }
        let sides = [step.from, step.to];
        let shown = differing(sides);
        ParticipantError::conflict(vec![Conflict::new(
            step.place(),
            describe(step.table, step.from, &shown),
            format!("in the way of another row ({text})"),
            describe(step.table, step.to, &shown),
        )])
    }
}

/// The condition that finds a row by its key: first by the index, then exactly.
fn by_key(table: &Table) -> String {
    let parts: Vec<String> = table
        .key_names()
        .enumerate()
        .map(|(at, name)| {
            let (name, at) = (quoted(name), at + 1);
            format!("{name} = ?{at} AND {name} COLLATE BINARY = ?{at}")
        })
        .collect();
    parts.join(" AND ")
}

/// The columns in which any two sides are different.
fn differing<const N: usize>(sides: [Option<&Row>; N]) -> BTreeSet<usize> {
    let mut rows = sides.into_iter().flatten();
    let Some(first) = rows.next() else {
        return BTreeSet::new();
    };
    rows.flat_map(|row| (0..row.len()).filter(|at| row.get(*at) != first.get(*at)))
        .collect()
}

fn describe(table: &Table, row: Option<&Row>, columns: &BTreeSet<usize>) -> String {
    let Some(row) = row else {
        return "no row".to_owned();
    };
    let named = table.columns.iter().zip(row).enumerate();
    let texts: Vec<String> = named
        .filter(|(at, _)| columns.is_empty() || columns.contains(at))
        .map(|(_, (name, cell))| format!("{}={cell}", shown_text(name.as_bytes())))
        .collect();
    let text = texts.join(", ");
    match text.char_indices().nth(SIDE_MAX) {
        Some((cut, _)) => format!("{}...", text.get(..cut).unwrap_or_default()),
        None => text,
    }
}

fn conflict(
    table: &Table,
    (base, theirs, ours): (Option<&Row>, Option<&Row>, Option<&Row>),
) -> Conflict {
    let columns = differing([base, theirs, ours]);
    let place = theirs.or(ours).or(base).map(|row| table.place(row));
    Conflict::new(
        place.unwrap_or_default(),
        describe(table, base, &columns),
        describe(table, theirs, &columns),
        describe(table, ours, &columns),
    )
}

fn schema_conflict(table: &Table, base: &Schema, now: &Schema) -> Conflict {
    let texts = |schema: &Schema| {
        let of = schema.of(&table.name);
        let texts: Vec<&str> = of.iter().map(|(_, sql)| sql.as_str()).collect();
        if texts.is_empty() {
            return "no table".to_owned();
        }
        let text: String = texts.join("; ").chars().take(SIDE_MAX).collect();
        text.escape_debug().to_string()
    };
    Conflict::new(
        shown_text(table.name.as_bytes()),
        texts(base),
        texts(now),
        "rows for the table as it was".to_owned(),
    )
}
