//! Signals: the first one asks everything to stop and is passed on to CMD.
//!
//! A decided plan is never interrupted, so a signal during a commit changes nothing about its
//! outcome. `SIGXFSZ` is left alone: ignoring it needs a system call that no safe dependency
//! offers; a store on a volume with a file size limit is killed there and recovers at the next open.

use rustix::fd::{AsFd as _, OwnedFd};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// What signals have to do with this process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signals {
    shared: Arc<Shared>,
    cancelled: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct Shared {
    received: AtomicUsize,
    /// True while something real may be changed: then the process does not end by itself.
    critical: AtomicBool,
    /// CMD, as a descriptor that can never mean another process.
    child: OnceLock<OwnedFd>,
}

impl Signals {
    /// Begins to listen. Without a handler a signal just kills, which is safe as well.
    pub(crate) fn listen() -> Self {
        let signals = Self::default();
        let handler = signals.clone();
        drop(ctrlc::set_handler(move || handler.received()));
        signals
    }

    /// The flag that stops long steps.
    pub(crate) fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.cancelled)
    }

    /// True if a signal came.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }

    /// Runs `f`, in which something real may change: signals only set the flag meanwhile.
    pub(crate) fn during<T>(&self, f: impl FnOnce() -> T) -> T {
        self.shared.critical.store(true, Ordering::SeqCst);
        let value = f();
        self.shared.critical.store(false, Ordering::SeqCst);
        value
    }

    /// From now on signals are passed on to the child `id`.
    pub(crate) fn forward_to(&self, id: u32) {
        let pid = i32::try_from(id).ok().and_then(Pid::from_raw);
        let Some(Ok(child)) = pid.map(|pid| pidfd_open(pid, PidfdFlags::empty())) else {
            return;
        };
        drop(self.shared.child.set(child));
        if self.is_cancelled() {
            self.pass_on(Signal::TERM);
        }
    }

    /// Stops everything as a signal would: somebody asked for it from elsewhere.
    pub(crate) fn stop(&self) {
        self.shared.received.fetch_add(1, Ordering::SeqCst);
        self.cancelled.store(true, Ordering::SeqCst);
        self.pass_on(Signal::TERM);
    }

    fn received(&self) {
        let before = self.shared.received.fetch_add(1, Ordering::SeqCst);
        self.cancelled.store(true, Ordering::SeqCst);
        let running = match before {
            // On a terminal, Ctrl-C has reached CMD already; it may want to end in its own way.
            0 if in_foreground() => self.is_child_running(),
            0 | 1 => self.pass_on(Signal::TERM),
            _ => self.pass_on(Signal::KILL),
        };
        if !running && before > 0 && !self.shared.critical.load(Ordering::SeqCst) {
            end_now();
        }
    }

    fn is_child_running(&self) -> bool {
        let child = self.shared.child.get();
        child.is_some_and(is_alive)
    }

    /// Sends `signal` to CMD; true if there was somebody to send it to.
    fn pass_on(&self, signal: Signal) -> bool {
        let child = self.shared.child.get();
        child.is_some_and(|child| pidfd_send_signal(child, signal).is_ok())
    }
}

/// True if the process behind `child` has not ended.
fn is_alive(child: &OwnedFd) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    matches!(waitid(WaitId::PidFd(child.as_fd()), options), Ok(None))
}

/// True if this process is in the foreground of its terminal: what is typed there reaches CMD too.
fn in_foreground() -> bool {
    std::fs::read_to_string("/proc/self/stat").is_ok_and(|stat| is_foreground(&stat))
}

/// Compares process group and foreground group of a line of `/proc/PID/stat`; the name of the
/// program, which may hold anything, ends at the last parenthesis.
fn is_foreground(stat: &str) -> bool {
    let Some((_, fields)) = stat.rsplit_once(") ") else {
        return false;
    };
    let mut fields = fields.split(' ').skip(2);
    let group = fields.next();
    let foreground = fields.nth(2);
    group.is_some() && group == foreground
}

/// Ends the process on a second signal, while nothing real can be in the middle of a change.
#[expect(
    clippy::exit,
    reason = "the main thread waits for something that may never come"
)]
fn end_now() {
    std::process::exit(130);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_foreground_is_read_from_the_kernels_line() {
        assert!(is_foreground("12 (a) b) S 1 77 70 34816 77 4194304 0"));
        assert!(!is_foreground("12 (sh) S 1 77 70 0 -1 4194304 0"));
        assert!(!is_foreground("nonsense"));
    }

    #[test]
    fn the_first_signal_asks_and_a_critical_part_is_never_ended() {
        let signals = Signals::default();
        signals.during(|| {
            signals.received();
            signals.received();
            assert!(signals.is_cancelled());
        });
    }
}
