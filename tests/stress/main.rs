//! The stress: 64 threads over 10,000 plans, mixed operations, faults and panics on the way; then fewer
//! over a store on disk and real directories; and what plans wait for each other.
//!
//! `cargo test --test stress -- --nocapture` runs for `PLANBOX_STRESS_SECONDS` (10 if unset) and until
//! there were 10,000 plans; hours are as good. `PLANBOX_STRESS_SEED` repeats the drawing of operations and
//! faults, though not the schedule. `-- waits` and `-- durable` run those parts alone. Afterwards every
//! cell and every directory is compared with the receipts: nothing lost, nothing twice, nothing in part;
//! the tables, the threads and the descriptors are back where they were. A second judge, which is not
//! ours, sees every lock of these runs (`oracle.rs`). The same run without the plan lock, for a short
//! time, must not pass: that is the control.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a program that prints a table and stops at the first surprise"
)]

mod inversions;
mod ledger;
mod oracle;
mod run;
mod waits;
mod watchdog;

use oracle::ORACLE;
use run::{Disk, Shape, Stress};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// The run in memory.
const MEMORY: Shape = Shape {
    threads: 64,
    slots: 10_000,
    busy: 32,
    plans: 10_000,
};

/// The run on disk.
const DURABLE: Shape = Shape {
    threads: 16,
    slots: 100,
    busy: 8,
    plans: 100,
};

/// The part of the time that the run on disk has.
const DURABLE_PART: u64 = 3;

fn main() {
    let seconds = number("PLANBOX_STRESS_SECONDS").unwrap_or(10);
    let seed = number("PLANBOX_STRESS_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let only = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    let wants = |part: &str| only.as_deref().is_none_or(|only| only == part);
    println!("stress: {seconds} s, seed {seed}");
    let before = (entries("fd"), entries("task"));
    if wants("memory") {
        stress(MEMORY, seed, Duration::from_secs(seconds), None);
    }
    if wants("durable") {
        let time = Duration::from_secs(seconds.div_ceil(DURABLE_PART));
        stress(DURABLE, seed, time, Some(Disk::new(DURABLE.slots)));
    }
    let after = (entries("fd"), entries("task"));
    println!("| descriptors, threads | {before:?} -> {after:?} |");
    assert_eq!(before, after, "descriptors and threads are back");
    if wants("memory") {
        ORACLE.judge();
        inversions::controls();
        control(seed);
    }
    if wants("waits") {
        waits::all();
    }
    println!("stress: passed, seed {seed}");
}

fn stress(shape: Shape, seed: u64, time: Duration, disk: Option<Disk>) {
    let place = disk.as_ref().map_or("in memory", |_| "on disk");
    let Shape { threads, slots, .. } = shape;
    println!("| {place} | {threads} threads, {slots} slots |");
    ORACLE.look();
    let stress = Stress::new(shape, seed, false, disk);
    stress.run(seed, time);
    stress.end();
    stress.check();
    stress.print();
}

/// The same without the plan lock: something must be noticed.
fn control(seed: u64) {
    std::panic::set_hook(Box::new(|_| ()));
    let noticed = catch_unwind(AssertUnwindSafe(|| {
        let shape = Shape { plans: 0, ..MEMORY };
        let stress = Stress::new(shape, seed, true, None);
        stress.run(seed, Duration::from_secs(2));
        stress.end();
        stress.check();
    }));
    drop(std::panic::take_hook());
    let Err(noticed) = noticed else {
        panic!("the control passed: the stress shows nothing, seed {seed}");
    };
    let text = noticed
        .downcast_ref::<String>()
        .map_or("a manager's own assertion", String::as_str);
    println!("| control without the plan lock | noticed: {text} |");
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is no number")),
    )
}

/// How many entries `/proc/self/WHAT` has.
fn entries(what: &str) -> usize {
    std::fs::read_dir(format!("/proc/self/{what}"))
        .unwrap()
        .count()
}
