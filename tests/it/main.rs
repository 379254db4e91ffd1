//! One binary for all integration tests.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should stop"
)]

mod commit;
mod support;
mod tidy;
