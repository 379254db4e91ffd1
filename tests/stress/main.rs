//! The stress: 64 threads over 10,000 plans, mixed operations, faults and panics on the way; then fewer
//! over a store on disk and real directories; and what plans wait for each other.
//!
//! `cargo test --test stress -- --nocapture` runs for `PLANBOX_STRESS_SECONDS` (10 if unset) and until
//! there were 10,000 plans; hours are as good. `PLANBOX_STRESS_SEED` repeats the drawing of operations and
//! faults, though not the schedule. `-- waits` and `-- durable` run those parts alone. Afterwards every
//! cell and every directory is compared with the receipts: nothing lost, nothing twice, nothing in part;
//! the tables, the threads and the descriptors are back where they were. A second judge, which is not
//! ours, sees every lock of these runs (`oracle.rs`). The controls: the same runs without the plan lock,
//! for a short time, must not pass; one wrong thing of each kind is planted, and called by its name; and a
//! thread that stands still ends a process (`-- standstill`).
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
use std::sync::{Arc, Mutex};
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
    if only.as_deref() == Some("standstill") {
        return watchdog::stand_still();
    }
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
        control("without the plan lock", seed, MEMORY, None);
        watchdog::control();
    }
    if wants("durable") {
        let disk = Disk::new(DURABLE.slots);
        control(
            "on disk without the plan lock and its lease",
            seed,
            DURABLE,
            Some(disk),
        );
        run::planted(seed);
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

/// The same without what keeps callers apart: something must be noticed. What was, first of all, is
/// printed.
fn control(what: &str, seed: u64, shape: Shape, disk: Option<Disk>) {
    let first = Arc::new(Mutex::new(None::<String>));
    let heard = Arc::clone(&first);
    std::panic::set_hook(Box::new(move |panic| {
        let payload = panic.payload();
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
        let text = text.and_then(|text| text.lines().next());
        let text = text.unwrap_or("without a message").to_owned();
        heard.lock().unwrap().get_or_insert(text);
    }));
    let noticed = catch_unwind(AssertUnwindSafe(|| {
        let stress = Stress::new(Shape { plans: 0, ..shape }, seed, true, disk);
        stress.run(seed, Duration::from_secs(2));
        stress.end();
        stress.check();
    }));
    drop(std::panic::take_hook());
    assert!(
        noticed.is_err(),
        "the control {what} passed: the stress shows nothing, seed {seed}"
    );
    let text = first.lock().unwrap().take().unwrap();
    println!("| control {what} | noticed: {text} |");
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
