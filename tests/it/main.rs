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
mod compile;
mod conformance;
mod crash;
mod git;
mod git_checkout;
mod jobs;
#[cfg(all(feature = "cli", debug_assertions))]
mod locks;
mod manager;
mod marker;
#[cfg(feature = "sqlite")]
mod mixed;
#[cfg(feature = "sqlite")]
mod model;
mod order;
#[cfg(feature = "sqlite")]
mod pipelines;
#[cfg(feature = "sqlite")]
mod power;
mod processes;
mod protocol;
#[cfg(feature = "sqlite")]
mod register;
#[cfg(feature = "sqlite")]
mod router;
#[cfg(feature = "sqlite")]
mod sqlite;
mod support;
mod tidy;
