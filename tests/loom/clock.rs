//! No time passes.

use std::time::Duration;

pub(crate) fn now_unix_ms() -> u64 {
    1
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline;

impl Deadline {
    #[expect(clippy::unused_self, reason = "the same calls as in the library")]
    pub(crate) fn is_over(self) -> bool {
        true
    }

    #[expect(clippy::unused_self, reason = "the same calls as in the library")]
    pub(crate) fn remaining(self) -> Duration {
        Duration::ZERO
    }
}

#[derive(Debug)]
pub(crate) struct Stopwatch;

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self
    }

    #[expect(clippy::unused_self, reason = "the same calls as in the library")]
    pub(crate) fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}
