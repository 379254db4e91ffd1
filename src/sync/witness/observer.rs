//! A second judge: told of every acquisition, so that a test can put it to a tool that is not ours.

use super::Rank;
use std::fmt;
use std::sync::OnceLock;

/// One lock, as an [`Observer`] hears of it.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct Instance<'a> {
    /// Its rank.
    pub rank: Rank,
    /// Its name.
    pub name: &'static str,
    /// Which of its name it is, if it has a key.
    pub key: Option<&'a dyn fmt::Display>,
    /// Which of its name it is, if it is a latch: where it lies. 0 for one that has no place.
    pub place: usize,
}

impl fmt::Debug for Instance<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.rank, self.name)?;
        match self.key {
            Some(key) => write!(f, " of {key}"),
            None => write!(f, " at {:#x}", self.place),
        }
    }
}

/// Who is told. It must not take a lock that the witness watches.
#[doc(hidden)]
pub trait Observer: Sync {
    /// This thread is about to take a lock, or is lent one. `number` is this holding, on this thread.
    /// It is told before the witness judges, so that it hears of what is refused as well.
    fn taken(&self, number: u64, lock: Instance<'_>);

    /// This thread has let go what it was told of as `number`, or was not given it.
    fn released(&self, number: u64);
}

static OBSERVER: OnceLock<&'static dyn Observer> = OnceLock::new();

/// Has `observer` told of every acquisition of this process from now on. The first one stays.
#[doc(hidden)]
pub fn observe(observer: &'static dyn Observer) {
    OBSERVER.get_or_init(|| observer);
}

pub(super) fn observer() -> Option<&'static dyn Observer> {
    OBSERVER.get().copied()
}
