//! The keyed locks in every schedule, and with every outcome that the orderings of memory allow.
//!
//! loom runs each body again and again, until no schedule is left: the code of `src/lock` as it ships,
//! over the latches, atomics and reference counts of `src/sync/loomed`. Every body has controls: a
//! fault is planted into the locks, and must be found, and must be found to be what it is. Each row
//! is a process of its own, because a found fault leaves loom in pieces. `docs/testing.md` has the
//! commands and the limits.
//!
//! | variable | what it does |
//! |---|---|
//! | `PLANBOX_BODY` | only bodies whose name holds this text |
//! | `PLANBOX_LOOM` | `full`: without a bound on preemptions, where there is one |
//! | `PLANBOX_LOOM_SECONDS` | how long a row may take (600) |
//!
//! Without `--cfg loom` there is nothing here to run: `.ci/loom` is the way.
#![expect(clippy::print_stdout, reason = "a program that prints a table")]
#![cfg_attr(
    loom,
    expect(
        clippy::unwrap_used,
        clippy::panic,
        clippy::exit,
        clippy::disallowed_types,
        reason = "it stops at the first surprise"
    )
)]

#[cfg(loom)]
mod bodies;
#[cfg(loom)]
mod run;

#[cfg(loom)]
fn main() {
    std::process::exit(run::main());
}

#[cfg(not(loom))]
fn main() {
    println!("loom: 0 ran; these bodies need --cfg loom: .ci/loom");
}
