//! A SQLite database file as a participant.
//!
//! [`Sqlite`] says which one; the plan works in a private copy, at a real path that any tool may
//! open. What it changed there is found by comparing the copy with the snapshot it started from,
//! table by table and row by row, by the declared keys, exactly: storage class and bytes.
//!
//! # What is committed
//! Inserted, changed and deleted rows of tables with a declared key. Two plans that touch different
//! rows both land; a row that somebody else touched is a conflict that names table and key.
//! Everything else (a changed schema, a table without a key, the insides of a virtual table) is
//! committed as the whole database, and only if nobody changed it since the snapshot. Statistics of
//! `ANALYZE` are left out; AUTOINCREMENT counters only ever move on.
//!
//! # How
//! `prepare` takes SQLite's own write lock, checks every touched row, writes the difference and one
//! row into `planbox_marker`, and keeps the transaction open: `apply` is its `COMMIT`. After a crash
//! the marker tells whether that happened; if not, it is done again with the same checks.
//!
//! Triggers, views and functions that the plan left in its copy run nowhere: triggers are off, the
//! schema is not trusted, nothing is attached.
//!
//! # Where things are
//! In the [`Place`](super::Place): `base.db` (the snapshot), `view/` (the plan works there) and
//! `sealed.db`. In the real database: the table `planbox_marker`, between apply and discard.

mod cell;
mod connect;
mod copying;
mod difference;
mod foreign;
mod marker;
mod private;
mod real;
mod record;
mod resource;
mod rows;
mod schema;
mod whole;

#[cfg(test)]
mod tests;

pub use resource::{Sqlite, SqliteKind};
