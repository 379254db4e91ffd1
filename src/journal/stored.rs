//! Rows and records: what a record looks like in a table, and the checksum that guards it.
//!
//! The checksum is BLAKE3 over the name of the table and every value as it is stored, each with its
//! type and length; it is compared before a value is interpreted.

use super::record::{Decision, Entry, PlanRecord, SandboxRecord, Verdict};
use super::rules::PlanRow;
use crate::error::JournalError;
use crate::id::{Epoch, IdError, PlanId, ResourceKey, ResourceName};
use crate::state::PlanState;
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, ErrorCode, Row, params_from_iter};
use std::path::Path;

/// Why a row is not one of ours.
pub(super) struct Unreadable(String);

impl From<rusqlite::Error> for Unreadable {
    fn from(error: rusqlite::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<IdError> for Unreadable {
    fn from(error: IdError) -> Self {
        Self(error.to_string())
    }
}

/// A record that is one row of a table.
pub(super) trait Stored: Sized {
    /// The table.
    const TABLE: &'static str;
    /// Its columns without the checksum, which is always the last.
    const COLUMNS: &'static [&'static str];
    /// How many of the first columns are the key.
    const KEY: usize = 1;
    /// One value for each column.
    fn values(&self) -> Vec<Value>;
    /// The record in a row whose checksum was found right.
    fn read(row: &Row<'_>) -> Result<Self, Unreadable>;
}

/// A failure of SQLite while doing `action`, as one of ours.
pub(super) fn failed(file: &Path, action: &'static str, error: rusqlite::Error) -> JournalError {
    use rusqlite::Error as E;
    let corrupt = match &error {
        E::SqliteFailure(cause, _) => matches!(
            cause.code,
            ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt
        ),
        E::FromSqlConversionFailure(..)
        | E::IntegralValueOutOfRange(..)
        | E::InvalidColumnType(..)
        | E::Utf8Error(..) => true,
        _ => false,
    };
    if corrupt {
        return distrust(file, error.to_string());
    }
    JournalError::Store {
        path: file.to_owned(),
        action,
        source: Box::new(error),
    }
}

/// A record, or the whole file, that is not to be trusted.
pub(super) fn distrust(file: &Path, what: impl Into<String>) -> JournalError {
    JournalError::Corrupt {
        path: file.to_owned(),
        what: what.into(),
    }
}

struct Sum(blake3::Hasher);

impl Sum {
    fn of(table: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"planbox journal row 1\0");
        hasher.update(table.as_bytes());
        Self(hasher)
    }

    fn add(&mut self, value: ValueRef<'_>) {
        let number;
        let (kind, bytes): (u8, &[u8]) = match value {
            ValueRef::Null => (0, &[]),
            ValueRef::Integer(value) => {
                number = value.to_le_bytes();
                (1, &number)
            }
            ValueRef::Real(value) => {
                number = value.to_bits().to_le_bytes();
                (2, &number)
            }
            ValueRef::Text(bytes) => (3, bytes),
            ValueRef::Blob(bytes) => (4, bytes),
        };
        self.0.update(&[0, kind]);
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    fn end(self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}

/// Inserts the record, or replaces the one with its key.
pub(super) fn put<S: Stored>(
    conn: &Connection,
    file: &Path,
    record: &S,
) -> Result<(), JournalError> {
    let mut values = record.values();
    let mut sum = Sum::of(S::TABLE);
    for value in &values {
        sum.add(ValueRef::from(value));
    }
    values.push(Value::Blob(sum.end().to_vec()));
    let places = vec!["?"; values.len()].join(",");
    // Not REPLACE, which removes the row and makes it anew: every index would be written twice.
    let set = |name: &&str| format!("{name} = excluded.{name}");
    let sets: Vec<String> = S::COLUMNS.iter().skip(S::KEY).map(set).collect();
    let sql = format!(
        "INSERT INTO {} ({},checksum) VALUES ({places}) ON CONFLICT ({}) DO UPDATE SET {}, \
         checksum = excluded.checksum",
        S::TABLE,
        S::COLUMNS.join(","),
        S::COLUMNS.get(..S::KEY).unwrap_or_default().join(","),
        sets.join(", "),
    );
    let run = || conn.prepare_cached(&sql)?.execute(params_from_iter(values));
    run()
        .map(drop)
        .map_err(|error| failed(file, "write", error))
}

/// Every record for which `filter` (the rest of the query) holds, each with its own verdict.
///
/// # Errors
/// A failure of the query itself.
pub(super) fn scan<S: Stored>(
    conn: &Connection,
    file: &Path,
    filter: &str,
    keys: &[&str],
) -> Result<Vec<Result<S, JournalError>>, JournalError> {
    let sql = format!(
        "SELECT {},checksum FROM {} {filter}",
        S::COLUMNS.join(","),
        S::TABLE
    );
    let run = || {
        let mut statement = conn.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(keys))?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(trusted(row, file));
        }
        Ok(found)
    };
    run().map_err(|error| failed(file, "read", error))
}

/// Like [`scan`], but one record that cannot be trusted fails the call.
///
/// # Errors
/// [`JournalError::Corrupt`], naming the table and the key.
pub(super) fn all<S: Stored>(
    conn: &Connection,
    file: &Path,
    filter: &str,
    keys: &[&str],
) -> Result<Vec<S>, JournalError> {
    scan(conn, file, filter, keys)?.into_iter().collect()
}

/// The record with this key, if there is one.
///
/// # Errors
/// See [`all`].
pub(super) fn one<S: Stored>(
    conn: &Connection,
    file: &Path,
    keys: &[&str],
) -> Result<Option<S>, JournalError> {
    Ok(all(conn, file, &by_key::<S>(), keys)?.pop())
}

/// Removes the record with this key; true if there was one.
///
/// # Errors
/// A failure of the statement.
pub(super) fn remove<S: Stored>(
    conn: &Connection,
    file: &Path,
    keys: &[&str],
) -> Result<bool, JournalError> {
    let sql = format!("DELETE FROM {} {}", S::TABLE, by_key::<S>());
    let run = || conn.prepare_cached(&sql)?.execute(params_from_iter(keys));
    let removed = run().map_err(|error| failed(file, "remove", error))?;
    Ok(removed > 0)
}

fn by_key<S: Stored>() -> String {
    let terms: Vec<String> = S::COLUMNS
        .iter()
        .take(S::KEY)
        .map(|name| format!("{name} = ?"))
        .collect();
    format!("WHERE {}", terms.join(" AND "))
}

fn trusted<S: Stored>(row: &Row<'_>, file: &Path) -> Result<S, JournalError> {
    let check = || {
        let mut sum = Sum::of(S::TABLE);
        for column in 0..S::COLUMNS.len() {
            sum.add(row.get_ref(column)?);
        }
        let stored = row.get_ref(S::COLUMNS.len())?;
        if stored != ValueRef::Blob(&sum.end()) {
            return Err(Unreadable("the checksum does not match".to_owned()));
        }
        S::read(row)
    };
    check().map_err(|Unreadable(why)| {
        let key: Vec<String> = (0..S::KEY).map(|column| shown(row, column)).collect();
        distrust(file, format!("{} {}: {why}", S::TABLE, key.join(" ")))
    })
}

fn shown(row: &Row<'_>, column: usize) -> String {
    match row.get_ref(column) {
        Ok(ValueRef::Text(bytes)) => format!("{:?}", String::from_utf8_lossy(bytes)),
        Ok(ValueRef::Integer(value)) => value.to_string(),
        _ => "?".to_owned(),
    }
}

pub(super) fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

pub(super) fn number(value: u64) -> Value {
    Value::Integer(value.cast_signed())
}

pub(super) fn unsigned(row: &Row<'_>, column: usize) -> Result<u64, Unreadable> {
    Ok(row.get::<_, i64>(column)?.cast_unsigned())
}

pub(super) fn flag(row: &Row<'_>, column: usize) -> Result<bool, Unreadable> {
    match row.get::<_, i64>(column)? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(Unreadable(format!("{other} is neither 0 nor 1"))),
    }
}

pub(super) fn word<T>(
    row: &Row<'_>,
    column: usize,
    parse: fn(&str) -> Option<T>,
) -> Result<T, Unreadable> {
    let text: String = row.get(column)?;
    parse(&text).ok_or_else(|| Unreadable(format!("{text:?} is not a word that is known here")))
}

fn plan_id(row: &Row<'_>, column: usize) -> Result<PlanId, Unreadable> {
    Ok(PlanId::new(row.get::<_, String>(column)?)?)
}

/// A counter of the store.
pub(super) struct CounterRow {
    pub(super) key: String,
    pub(super) value: u64,
}

impl Stored for CounterRow {
    const TABLE: &'static str = "meta";
    const COLUMNS: &'static [&'static str] = &["key", "value"];

    fn values(&self) -> Vec<Value> {
        vec![text(&self.key), number(self.value)]
    }

    fn read(row: &Row<'_>) -> Result<Self, Unreadable> {
        Ok(Self {
            key: row.get(0)?,
            value: unsigned(row, 1)?,
        })
    }
}

impl Stored for PlanRow {
    const TABLE: &'static str = "plans";
    const COLUMNS: &'static [&'static str] = &[
        "plan",
        "state",
        "epoch",
        "generation",
        "revision",
        "opened_unix_ms",
        "changed_unix_ms",
        "operation",
        "sandboxes",
        "decided",
        "received",
    ];

    fn values(&self) -> Vec<Value> {
        let record = &self.record;
        let operation = record.operation.as_deref();
        vec![
            text(record.plan.as_str()),
            text(record.state.as_str()),
            number(record.epoch.0),
            number(record.generation),
            number(record.revision),
            number(record.opened_unix_ms),
            number(record.changed_unix_ms),
            operation.map_or(Value::Null, text),
            number(self.sandboxes),
            number(self.decided.into()),
            number(self.received.into()),
        ]
    }

    fn read(row: &Row<'_>) -> Result<Self, Unreadable> {
        let record = PlanRecord {
            plan: plan_id(row, 0)?,
            state: word(row, 1, PlanState::parse)?,
            epoch: Epoch(unsigned(row, 2)?),
            generation: unsigned(row, 3)?,
            revision: unsigned(row, 4)?,
            opened_unix_ms: unsigned(row, 5)?,
            changed_unix_ms: unsigned(row, 6)?,
            operation: row.get(7)?,
        };
        Ok(Self {
            record,
            sandboxes: unsigned(row, 8)?,
            decided: flag(row, 9)?,
            received: flag(row, 10)?,
        })
    }
}

/// A sandbox under its plan.
pub(super) struct SandboxRow {
    pub(super) plan: PlanId,
    pub(super) record: SandboxRecord,
}

impl Stored for SandboxRow {
    const TABLE: &'static str = "sandboxes";
    const COLUMNS: &'static [&'static str] = &[
        "plan", "name", "kind", "key", "token", "record", "volatile", "owner",
    ];
    const KEY: usize = 2;

    fn values(&self) -> Vec<Value> {
        let record = &self.record;
        vec![
            text(self.plan.as_str()),
            text(record.name.as_str()),
            text(&record.kind),
            text(record.key.as_str()),
            text(&record.token),
            text(&record.record),
            number(record.volatile.into()),
            text(&record.owner),
        ]
    }

    fn read(row: &Row<'_>) -> Result<Self, Unreadable> {
        let record = SandboxRecord {
            name: ResourceName::new(row.get::<_, String>(1)?)?,
            kind: row.get(2)?,
            key: word(row, 3, |text| {
                let (kind, identity) = text.split_once(':')?;
                Some(ResourceKey::new(kind, identity))
            })?,
            token: row.get(4)?,
            record: row.get(5)?,
            volatile: flag(row, 6)?,
            owner: row.get(7)?,
        };
        Ok(Self {
            plan: plan_id(row, 0)?,
            record,
        })
    }
}

impl Stored for Decision {
    const TABLE: &'static str = "decisions";
    const COLUMNS: &'static [&'static str] = &[
        "plan",
        "epoch",
        "verdict",
        "boot",
        "sealed",
        "participants",
        "receipt",
        "at_unix_ms",
    ];

    fn values(&self) -> Vec<Value> {
        let participants = serde_json::json!(self.participants).to_string();
        vec![
            text(self.plan.as_str()),
            number(self.epoch.0),
            text(self.verdict.as_str()),
            text(&self.boot),
            number(self.sealed.into()),
            Value::Text(participants),
            text(&self.receipt),
            number(self.at_unix_ms),
        ]
    }

    fn read(row: &Row<'_>) -> Result<Self, Unreadable> {
        let participants: String = row.get(5)?;
        Ok(Self {
            plan: plan_id(row, 0)?,
            epoch: Epoch(unsigned(row, 1)?),
            verdict: word(row, 2, Verdict::parse)?,
            boot: row.get(3)?,
            sealed: flag(row, 4)?,
            participants: serde_json::from_str(&participants)
                .map_err(|error| Unreadable(error.to_string()))?,
            receipt: row.get(6)?,
            at_unix_ms: unsigned(row, 7)?,
        })
    }
}

/// A receipt under its plan.
pub(super) struct ReceiptRow {
    pub(super) plan: PlanId,
    pub(super) receipt: String,
}

impl Stored for ReceiptRow {
    const TABLE: &'static str = "receipts";
    const COLUMNS: &'static [&'static str] = &["plan", "receipt"];

    fn values(&self) -> Vec<Value> {
        vec![text(self.plan.as_str()), text(&self.receipt)]
    }

    fn read(row: &Row<'_>) -> Result<Self, Unreadable> {
        Ok(Self {
            plan: plan_id(row, 0)?,
            receipt: row.get(1)?,
        })
    }
}

impl Stored for Entry {
    const TABLE: &'static str = "log";
    const COLUMNS: &'static [&'static str] =
        &["seq", "plan", "at_unix_ms", "epoch", "event", "detail"];

    fn values(&self) -> Vec<Value> {
        vec![
            number(self.seq),
            text(self.plan.as_str()),
            number(self.at_unix_ms),
            number(self.epoch.0),
            text(&self.event),
            text(&self.detail),
        ]
    }

    fn read(row: &Row<'_>) -> Result<Self, Unreadable> {
        Ok(Self {
            seq: unsigned(row, 0)?,
            plan: plan_id(row, 1)?,
            at_unix_ms: unsigned(row, 2)?,
            epoch: Epoch(unsigned(row, 3)?),
            event: row.get(4)?,
            detail: row.get(5)?,
        })
    }
}
