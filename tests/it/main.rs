//! One binary for all integration tests.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_types,
    reason = "a test stops where it cannot go on, tells what it swept, and needs no ranked latch"
)]

#[cfg(feature = "cli")]
mod cli;
mod commit;
mod crash;
mod jobs;
mod manager;
mod pipelines;
mod processes;
mod support;
mod tidy;
