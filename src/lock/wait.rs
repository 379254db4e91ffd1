//! How long to wait for a lock.

use crate::clock::{Deadline, Stopwatch};
use crate::sync::{thread, witness};
use std::io;
use std::time::Duration;

/// How long to wait for a lock that somebody else holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockWait {
    /// Until it is free.
    Block,
    /// Not at all.
    Try,
    /// So long, and no longer.
    For(Duration),
}

impl LockWait {
    /// When the wait is over, if that is known.
    pub(super) fn deadline(self) -> Option<Deadline> {
        match self {
            Self::Block | Self::Try => None,
            Self::For(longest) => Some(Deadline::after(longest)),
        }
    }
}

const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// How a polled wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Polled {
    /// The lock was taken.
    Taken,
    /// It was not, and the caller did not want to wait.
    Busy,
    /// It was not in time: after so many milliseconds.
    TimedOut(u64),
}

/// Calls `attempt` until it says true, with pauses of 1 to 20 ms, for as long as `wait` says.
///
/// Locks between processes are polled, never waited for in the kernel: a wait can then end in time,
/// and no thread hangs where nothing can reach it. The last attempt is made after the deadline, so
/// that a lock that was released in time is not missed.
pub(crate) fn poll(
    wait: LockWait,
    mut attempt: impl FnMut() -> io::Result<bool>,
) -> io::Result<Polled> {
    witness::about_to_block("a lock between processes");
    if attempt()? {
        return Ok(Polled::Taken);
    }
    if wait == LockWait::Try {
        return Ok(Polled::Busy);
    }
    let watch = Stopwatch::start();
    let deadline = wait.deadline();
    let mut pause = SHORTEST_PAUSE;
    loop {
        if deadline.is_some_and(|deadline| deadline.is_over()) {
            return Ok(Polled::TimedOut(millis(watch.elapsed())));
        }
        let left = deadline.map_or(pause, |deadline| deadline.remaining());
        thread::sleep(pause.min(left));
        pause = (pause * 2).min(LONGEST_PAUSE);
        if attempt()? {
            return Ok(Polled::Taken);
        }
    }
}

/// Whole milliseconds of `time`.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[cfg(not(any(shuttle, loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_polled_wait_asks_less_and_less_often() {
        let mut attempts = 0;
        let wait = LockWait::For(Duration::from_millis(60));
        let polled = poll(wait, || {
            attempts += 1;
            Ok(false)
        });
        assert!(matches!(polled, Ok(Polled::TimedOut(60..))), "{polled:?}");
        // At 0, 1, 3, 7, 15, 31, 51 and 60 ms; later if the machine is busy, never earlier.
        assert!(attempts <= 8, "{attempts} attempts");
    }
}
