//! One plan over four kinds: a directory, a git branch that is checked out, a SQLite database and a
//! value commit together, or not at all.

mod crash;
mod failing;
mod world;
