//! Schedules: bodies of two or three threads, and what must hold in every one of them.
//!
//! With `--cfg shuttle` an explorer chooses the schedules: sampled in five ways, and exhaustively
//! where that ends. Without it the same bodies run on real threads that meet at a named place. Every
//! body has a control: a mechanism taken out or a fault planted, which must be found, and must be
//! found to be what it is. `docs/testing.md` has the commands.
//!
//! | variable | what it does |
//! |---|---|
//! | `PLANBOX_SCHEDULES` | schedules of each body and strategy (100; four times as many where no manager is made) |
//! | `PLANBOX_SEED` | the seed; one is drawn and printed if it is not set |
//! | `PLANBOX_BODY` | only bodies whose name holds this text |
//! | `PLANBOX_REPLAY` | one schedule, as a failure printed it, of the body `PLANBOX_BODY` |
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_types,
    reason = "a program that prints a table and stops at the first surprise"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "an explorer, or a body on real threads, runs on a thread of its own"
)]
#![cfg_attr(
    shuttle,
    expect(clippy::indexing_slicing, reason = "its tree of choices is a list")
)]

mod bodies;
mod case;
#[cfg(shuttle)]
mod exhaustive;
#[cfg(shuttle)]
mod explore;
#[cfg(not(shuttle))]
mod real;
mod run;
#[path = "../it/support/scripted.rs"]
#[expect(
    dead_code,
    reason = "shared with the integration tests, which need more"
)]
mod scripted;
mod world;

fn main() {
    std::process::exit(run::all(&bodies::all()));
}

/// One word for what a panic of the manager or of the explorer says.
fn kind_of(text: &str) -> &'static str {
    let words = [
        ("two bodies", "two bodies"),
        ("two holders", "two holders"),
        ("overtaken:", "overtaken"),
        ("deadlock", "deadlock"),
        ("lock order:", "order of locks"),
    ];
    let found = words.iter().find(|(sign, _)| text.contains(sign));
    found.map_or("panic", |(_, kind)| kind)
}
