//! One run of a test binary as one mutant.

use super::rewrite::SWITCH;
use rustix::process::{Pid, Signal, kill_process_group};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

/// Memory that a run may use, in kilobytes: a mutant that takes more and more of it shall not end
/// the machine.
const MEMORY_KB: u64 = 8 * 1024 * 1024;

/// What came out of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All tests passed.
    Missed,
    /// This test failed, or the process ended before one could say so.
    Caught(String),
    /// The time was over.
    Hung,
}

/// Tests that are to notice.
#[derive(Debug)]
pub(crate) struct Tests<'a> {
    pub(crate) binary: PathBuf,
    pub(crate) filters: &'a [&'a str],
    /// At the same time, in one process.
    pub(crate) threads: usize,
    /// Programs are started: a hang has to come twice, since it may be the machine's.
    pub(crate) doubts: bool,
    pub(crate) copy: &'a Path,
}

enum Sign {
    Ended(bool),
    Failed(String),
}

impl Tests<'_> {
    /// Runs them with the switch at `number`, at most for `limit`; ends with the first that fails.
    pub(crate) fn run(&self, number: &str, limit: Duration) -> Verdict {
        let first = self.once(number, limit);
        if self.doubts && first == Verdict::Hung {
            return self.once(number, limit);
        }
        first
    }

    fn once(&self, number: &str, limit: Duration) -> Verdict {
        let home = tempfile::tempdir().unwrap();
        let mut child = self.command(number, home.path()).spawn().unwrap();
        let group = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (sender, signs) = channel();
        let failed = sender.clone();
        std::thread::spawn(move || read(out, &failed));
        let waiting = std::thread::spawn(move || {
            let passed = child.wait().is_ok_and(|status| status.success());
            drop(sender.send(Sign::Ended(passed)));
        });
        let verdict = match signs.recv_timeout(limit) {
            Ok(Sign::Ended(true)) => Verdict::Missed,
            Ok(Sign::Ended(false)) => Verdict::Caught("the end of the process".to_owned()),
            Ok(Sign::Failed(test)) => Verdict::Caught(test),
            Err(_) => Verdict::Hung,
        };
        // Also what the tests left behind; if nothing is left, that is an error which is none.
        kill_process_group(group, Signal::KILL).ok();
        waiting.join().unwrap();
        verdict
    }

    /// How many tests pass without any mutant, and how long that takes. One that fails is an error.
    pub(crate) fn control(&self) -> (usize, Duration) {
        let home = tempfile::tempdir().unwrap();
        let started = Instant::now();
        let output = self.command("0", home.path()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let passed = text
            .lines()
            .filter(|line| line.ends_with(" ... ok"))
            .count();
        assert!(
            output.status.success() && passed > 0,
            "the tests fail without any mutant: {text}"
        );
        (passed, started.elapsed())
    }

    fn command(&self, number: &str, home: &Path) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", "ulimit -v \"$0\" && exec \"$@\""])
            .arg(MEMORY_KB.to_string())
            .arg(&self.binary)
            .args(self.filters)
            .arg(format!("--test-threads={}", self.threads))
            .current_dir(self.copy)
            .env(SWITCH, number)
            .env("TMPDIR", home)
            .env("CARGO_MANIFEST_DIR", self.copy)
            .env("RUST_BACKTRACE", "0")
            .env_remove("PLANBOX_LOCK_EDGES")
            .env_remove("PLANBOX_SEED")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        command
    }
}

/// Says that a test failed, as soon as it did.
fn read(out: impl BufRead, sender: &Sender<Sign>) {
    for line in out.lines().map_while(Result::ok) {
        let test = line.strip_prefix("test ");
        if let Some(test) = test.and_then(|rest| rest.strip_suffix(" ... FAILED")) {
            // Nobody may listen any more.
            drop(sender.send(Sign::Failed(test.to_owned())));
        }
    }
}
