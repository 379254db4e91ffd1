//! The analysis of lock orders: what a run was seen to do, against what was declared.
//!
//! A debug build that runs with `PLANBOX_LOCK_EDGES=FILE` appends to FILE what its
//! [witness](super::witness) sees, as JSON lines. A [`Dump`] is the union of such files, from any
//! number of processes; [`Dump::check`] says what is wrong in it, and [`Dump::draw`] makes a picture
//! of it. `planbox locks` is this module as a command.
//!
//! ```
//! use planbox::sync::analysis::{Dump, Finding};
//!
//! let mut dump = Dump::default();
//! dump.read(r#"{"planbox-locks":{"version":1,"pid":7,"program":"executor"}}
//! {"rank":{"name":"a","kind":"host-outer","protects":"","across_io":true,"several":false,"then":["b"]}}
//! {"rank":{"name":"b","kind":"host-outer","protects":"","across_io":true,"several":false,"then":[]}}
//! {"edge":{"held":{"rank":"b","lock":"b","at":"x.rs:2"},"taken":{"rank":"a","lock":"a","at":"x.rs:3"}}}"#)?;
//! assert!(matches!(dump.check()[..], [Finding::Undeclared { .. }]));
//! # Ok::<(), planbox::sync::analysis::DumpError>(())
//! ```
//!
//! # The format
//! One JSON object with one field on each line; the field says what it is. `docs/lock-analysis.md`
//! shows each with its fields. Every process begins with a `planbox-locks` line, which has the
//! version; then come, in any order, `rank` (what was declared), `edge` (a lock taken while another
//! was held) and `hold` (a lock held across I/O).

mod check;
mod draw;
mod dump;
mod svg;
#[cfg(test)]
mod tests;

pub use check::{Finding, cycles};
pub use draw::Format;
pub use dump::{Declared, Dump, DumpError, Hold, Keys, Nesting, Site, VERSION};

#[cfg(debug_assertions)]
pub(super) use dump::{Line, Process};
