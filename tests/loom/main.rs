//! The slots of the lock table under loom: every schedule and every outcome that the orderings of
//! memory allow, reference counts included.
//!
//! The gate is the very file of the library (`src/lock/gate.rs`), over loom's atomics, latches and
//! conditions. The table is a model of `src/lock/table/mod.rs`: loom has no weak references, so here
//! are some, with the steps of those of the standard library; the shard of the map is one latch. What
//! the two sides do under that latch is written as it is there.
//!
//! Without `--cfg loom` there is nothing here to run.

#[cfg(not(loom))]
fn main() {}

#[cfg(loom)]
fn main() {
    checks::all();
}

#[cfg(loom)]
mod checks;
#[cfg(loom)]
mod clock;
#[cfg(loom)]
mod counted;
#[cfg(loom)]
mod lock;
#[cfg(loom)]
mod sync;
