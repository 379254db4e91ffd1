//! The only door to time.
//!
//! Wall-clock time is only ever shown or stored for people; waiting is done on the monotonic clock,
//! so that a step of the wall clock expires nothing.

#![cfg_attr(
    not(test),
    expect(dead_code, reason = "a complete door; not every part has a user yet")
)]

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

#[expect(
    clippy::disallowed_methods,
    reason = "this is the door to the monotonic clock"
)]
fn now() -> Instant {
    Instant::now()
}

/// Milliseconds since the Unix epoch by the wall clock; 0 if the clock stands before it.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the door to the wall clock"
)]
#[must_use]
pub(crate) fn now_unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

/// A point in monotonic time; a duration too long for the clock never ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// The moment `wait` from now.
    #[must_use]
    pub(crate) fn after(wait: Duration) -> Self {
        Self(now().checked_add(wait))
    }

    /// True if the moment has come.
    ///
    /// Under a schedule explorer no time passes: a wait runs out when the explorer says so, and its
    /// deadline is over then. One that never comes is never over.
    #[must_use]
    pub(crate) fn is_over(&self) -> bool {
        if cfg!(any(shuttle, loom)) {
            return self.0.is_some();
        }
        self.remaining().is_zero()
    }

    /// How long it is until then: zero if it is over, [`Duration::MAX`] if it never comes. Under a
    /// schedule explorer it is some time or none at all, but never zero.
    #[must_use]
    pub(crate) fn remaining(&self) -> Duration {
        if cfg!(any(shuttle, loom)) {
            return self.0.map_or(Duration::MAX, |_| Duration::from_millis(1));
        }
        self.0
            .map_or(Duration::MAX, |at| at.saturating_duration_since(now()))
    }

    /// The moment itself, for a wait that takes one; `None` if it never comes.
    #[must_use]
    pub(crate) fn instant(&self) -> Option<Instant> {
        self.0
    }
}

/// Measures how long something takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts measuring.
    #[must_use]
    pub(crate) fn start() -> Self {
        Self(now())
    }

    /// The time since the start.
    #[must_use]
    pub(crate) fn elapsed(&self) -> Duration {
        now().saturating_duration_since(self.0)
    }
}

/// 32 lower-case hex digits, made for the first and only time on this machine.
///
/// Hashed from the process id, the wall clock, a counter and a random seed of the process, so that
/// two processes with one id in different name spaces do not meet either.
#[must_use]
pub(crate) fn fresh_token() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    let random = RandomState::new();
    let mut hasher = blake3::Hasher::new();
    hasher.update(&std::process::id().to_le_bytes());
    hasher.update(&now_unix_ms().to_le_bytes());
    hasher.update(&count.to_le_bytes());
    hasher.update(&random.hash_one(count).to_le_bytes());
    hasher.update(&random.hash_one(!count).to_le_bytes());
    hasher.finalize().to_hex().chars().take(32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_deadline_ends_once_and_never_overflows() {
        assert!(Deadline::after(Duration::ZERO).is_over());
        let far = Deadline::after(Duration::MAX);
        assert!(!far.is_over());
        assert_eq!((far.remaining(), far.instant()), (Duration::MAX, None));
        let near = Deadline::after(Duration::from_secs(60));
        assert!(near.instant().is_some() && near.remaining() > Duration::from_secs(50));
    }

    #[test]
    fn time_goes_forward() {
        let watch = Stopwatch::start();
        let first = watch.elapsed();
        assert!(watch.elapsed() >= first);
        assert!(now_unix_ms() > 1_600_000_000_000, "a clock set after 2020");
    }

    #[test]
    fn tokens_are_unique_and_fit_a_file_name() {
        let tokens: HashSet<_> = (0..1_000).map(|_| fresh_token()).collect();
        assert_eq!(tokens.len(), 1_000);
        assert!(tokens.iter().all(|token| {
            token.len() == 32
                && token
                    .bytes()
                    .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        }));
    }
}
