//! A thread that stops the run if another one does not go on: a deadlock must not look like patience.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

/// How often it looks.
const LOOK: Duration = Duration::from_secs(5);

/// A thread that began nothing new in so many looks is stuck.
const LOOKS: u32 = 36;

#[derive(Debug)]
pub(crate) struct Watchdog {
    /// By thread: how many operations it began.
    beats: Vec<AtomicU64>,
    /// Ends when the other side is dropped.
    end: Mutex<(Option<mpsc::Sender<()>>, mpsc::Receiver<()>)>,
}

impl Watchdog {
    pub(crate) fn new(threads: u64) -> Self {
        let (over, end) = mpsc::channel();
        Self {
            beats: (0..threads).map(|_| AtomicU64::new(0)).collect(),
            end: Mutex::new((Some(over), end)),
        }
    }

    /// What ends the watch when it is dropped.
    pub(crate) fn over(&self) -> Option<mpsc::Sender<()>> {
        self.end.lock().unwrap().0.take()
    }

    pub(crate) fn beat(&self, thread: u64) {
        let place = usize::try_from(thread).unwrap();
        self.beats[place].fetch_add(1, Ordering::Relaxed);
    }

    /// Watches until the run is over.
    pub(crate) fn watch(&self) {
        let read = || self.beats.iter().map(|beat| beat.load(Ordering::Relaxed));
        let mut seen: Vec<(u64, u32)> = read().map(|beats| (beats, 0)).collect();
        let end = self.end.lock().unwrap();
        while end.1.recv_timeout(LOOK) == Err(mpsc::RecvTimeoutError::Timeout) {
            for (thread, (old, now)) in seen.iter_mut().zip(read()).enumerate() {
                *old = if old.0 == now {
                    (now, old.1 + 1)
                } else {
                    (now, 0)
                };
                if old.1 >= LOOKS {
                    println!("stress: thread {thread} stands still: a deadlock");
                    // The threads that stand still would not end with a panic of this one.
                    std::process::abort();
                }
            }
        }
    }
}
