//! A thread that stops the run if another one does not go on: a deadlock must not look like patience.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

/// How often it looks.
const LOOK: Duration = Duration::from_secs(5);

/// A thread that began nothing new in so many looks is stuck.
const LOOKS: u32 = 36;

/// How often the one of the control looks: its thread that goes on begins much more in that time.
const SHORT_LOOK: Duration = Duration::from_millis(100);

/// How long the control is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug)]
pub(crate) struct Watchdog {
    look: Duration,
    /// By thread: how many operations it began.
    beats: Vec<AtomicU64>,
    /// Ends when the other side is dropped.
    end: Mutex<(Option<mpsc::Sender<()>>, mpsc::Receiver<()>)>,
}

impl Watchdog {
    /// One that lets a thread be for three minutes.
    pub(crate) fn patient(threads: u64) -> Self {
        Self::new(threads, LOOK)
    }

    fn new(threads: u64, look: Duration) -> Self {
        let (over, end) = mpsc::channel();
        Self {
            look,
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
        while end.1.recv_timeout(self.look) == Err(mpsc::RecvTimeoutError::Timeout) {
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

/// What the child of the control does: one thread goes on, the other one waits for ever.
pub(crate) fn stand_still() {
    let watchdog = Watchdog::new(2, SHORT_LOOK);
    let (_never, wait) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            loop {
                watchdog.beat(0);
                std::thread::yield_now();
            }
        });
        scope.spawn(move || wait.recv());
        watchdog.watch();
    });
}

/// The control: a thread that stands still ends its process, and is named.
pub(crate) fn control() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .arg("standstill")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if begin.elapsed() > PATIENCE {
            child.kill().unwrap();
            break None;
        }
        std::thread::park_timeout(SHORT_LOOK);
    };
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let aborted = status.and_then(|status| status.signal()) == Some(6);
    let named = said.contains("thread 1 stands still: a deadlock");
    assert!(
        aborted && named,
        "a thread that stands still: {status:?}, {said}"
    );
    println!("| control: a thread that stands still | aborted, and thread 1 is named |");
}
