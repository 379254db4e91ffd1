//! One binary for all integration tests.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should stop"
)]

#[cfg(feature = "cli")]
mod cli;
mod commit;
mod crash;
mod processes;
mod support;
mod tidy;
