//! Named crash points: the instants at which a test kills the process.
//!
//! A debug build that finds `PLANBOX_CRASH_AT=NAME` or `PLANBOX_CRASH_AT=NAME:K` in its
//! environment kills itself with SIGKILL when [`point`] is passed with that name for the K-th time
//! (the first if K is absent). With `PLANBOX_CRASH_LOG=FILE` every name that is passed is appended
//! to FILE, one per line, so that a test can prove that it visited all of [`POINTS`]. In a release
//! build both do nothing and cost nothing.

/// Every crash point, in the order in which a commit, a rollback and a recovery pass them, and then
/// a job.
pub const POINTS: &[&str] = &[
    "open.enlisted",
    "open.viewed",
    "commit.locked",
    "commit.sealed",
    "seal.staged",
    "commit.validated",
    "commit.prepared",
    "commit.decided",
    "commit.marked",
    "apply.before",
    "apply.between",
    "apply.after",
    "commit.applied",
    "commit.recorded",
    "settle.synced",
    "settle.done",
    "settle.swept",
    "takeback.recorded",
    "takeback.between",
    "takeback.undone",
    "takeback.noted",
    "rollback.recorded",
    "rollback.between",
    "rollback.removed",
    "recover.begun",
    "recover.applied",
    "recover.undone",
    "recover.settled",
    "job.taken",
    "job.line",
    "job.put",
    "job.ended",
    "job.removed",
];

/// Passes the crash point `name`.
///
/// # Panics
/// In a debug build, if `name` is not listed in [`POINTS`]: an unlisted point would never be
/// tested.
#[cfg(debug_assertions)]
pub(crate) fn point(name: &'static str) {
    debug::pass(name);
}

/// Passes the crash point `name`: nothing, in a release build.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub(crate) fn point(_name: &'static str) {}

#[cfg(debug_assertions)]
mod debug {
    use std::io::Write as _;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Wish {
        at: Option<(String, u64)>,
        log: Option<std::path::PathBuf>,
    }

    static WISH: OnceLock<Wish> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);

    fn wish() -> &'static Wish {
        WISH.get_or_init(|| Wish {
            at: std::env::var("PLANBOX_CRASH_AT")
                .ok()
                .map(|text| match text.rsplit_once(':') {
                    Some((name, k)) => (name.to_owned(), k.parse().unwrap_or(1)),
                    None => (text, 1),
                }),
            log: std::env::var_os("PLANBOX_CRASH_LOG").map(Into::into),
        })
    }

    pub(super) fn pass(name: &'static str) {
        assert!(
            super::POINTS.contains(&name),
            "crash point {name:?} is not listed"
        );
        let wish = wish();
        if let Some(log) = &wish.log {
            let line = format!("{name}\n");
            let opened = std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(log);
            // A log that cannot be written shows up as a point that was never visited.
            drop(opened.and_then(|mut file| file.write_all(line.as_bytes())));
        }
        let Some((wanted, k)) = &wish.at else { return };
        if wanted == name && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == *k {
            let me = rustix::process::getpid();
            let killed = rustix::process::kill_process(me, rustix::process::Signal::KILL);
            assert!(killed.is_ok(), "a process can kill itself");
        }
    }
}
