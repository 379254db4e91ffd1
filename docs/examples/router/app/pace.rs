//! An open load: what is asked when is laid down before it begins, and whoever is late does not push
//! the others back.

use super::PACE;
use planbox::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

/// The clock of one load.
#[derive(Debug)]
pub(crate) struct Pace {
    begun: Instant,
    over: Mutex<bool>,
    ended: Condvar,
}

impl Pace {
    /// A load that begins now.
    pub(crate) fn begin() -> Self {
        Self {
            begun: Instant::now(),
            over: Mutex::new(PACE, "pace", false),
            ended: Condvar::new(),
        }
    }

    /// Ends it for everybody who waits.
    pub(crate) fn end(&self) {
        *self.over.lock() = true;
        self.ended.notify_all();
    }

    /// Waits until `due` after the beginning, not at all if that is past; false if the load is over.
    pub(crate) fn wait_for(&self, due: Duration) -> bool {
        let mut over = self.over.lock();
        loop {
            let left = due.saturating_sub(self.begun.elapsed());
            if *over || left.is_zero() {
                return !*over;
            }
            self.ended.wait_for(&mut over, left);
        }
    }
}

/// The gaps between things that happened again and again.
#[derive(Debug, Default)]
pub(crate) struct Gaps(Vec<Duration>);

impl Gaps {
    /// The gaps between these moments, which are in order.
    pub(crate) fn between(moments: &[Instant]) -> Self {
        let pairs = moments.iter().zip(moments.iter().skip(1));
        let mut gaps: Vec<Duration> = pairs.map(|(one, next)| *next - *one).collect();
        gaps.sort_unstable();
        Self(gaps)
    }

    /// The gap that `percent` of them do not exceed; none if there are none.
    pub(crate) fn percentile(&self, percent: usize) -> Option<Duration> {
        let last = self.0.len().checked_sub(1)?;
        self.0.get(last * percent / 100).copied()
    }
}

/// Milliseconds with a tenth, for people.
pub(crate) fn shown(duration: Option<Duration>) -> String {
    duration.map_or_else(
        || "-".to_owned(),
        |duration| {
            let tenths = duration.as_micros() / 100;
            format!("{}.{}", tenths / 10, tenths % 10)
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use planbox::sync::thread;

    #[test]
    fn what_is_due_is_not_waited_for_and_the_end_wakes_who_waits() {
        let pace = Pace::begin();
        assert!(pace.wait_for(Duration::ZERO));
        let late = thread::scope(|scope| {
            let waits = scope.spawn(|| pace.wait_for(Duration::from_secs(3_600)));
            pace.end();
            waits.join().unwrap()
        });
        assert!(!late && !pace.wait_for(Duration::ZERO), "it is over");
    }

    #[test]
    fn gaps_are_told_in_the_order_of_their_length() {
        let begun = Instant::now();
        let moments = [0, 9, 10, 13].map(|millis| begun + Duration::from_millis(millis));
        let gaps = Gaps::between(&moments);
        let of = |percent| shown(gaps.percentile(percent));
        assert_eq!(
            (of(0), of(50), of(100)),
            ("1.0".into(), "3.0".into(), "9.0".into())
        );
        assert_eq!(shown(Gaps::between(&[begun]).percentile(50)), "-");
    }
}
