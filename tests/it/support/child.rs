//! Child processes: this test binary runs itself, with one test chosen and a task in the
//! environment.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

/// The variable that carries the task of a child.
const TASK: &str = "PLANBOX_TEST_TASK";

/// The task of this process and the directory it works in, if it is a child.
pub(crate) fn task() -> Option<(String, std::path::PathBuf)> {
    let text = std::env::var(TASK).ok()?;
    let (task, home) = text.split_once('@')?;
    Some((task.to_owned(), home.into()))
}

/// Has the test `entry` of this binary run `task` in `home`, in a process of its own.
pub(crate) fn command(entry: &str, task: &str, home: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([entry, "--exact", "--nocapture", "--test-threads=1"])
        .env(TASK, format!("{task}@{}", home.display()))
        .env_remove("PLANBOX_CRASH_AT")
        .env_remove("PLANBOX_CRASH_LOG")
        .stdin(Stdio::null());
    command
}

/// Runs `command` to its end, silently.
pub(crate) fn run(command: &mut Command) -> ExitStatus {
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap()
}

/// True if the process was killed.
pub(crate) fn was_killed(status: ExitStatus) -> bool {
    status.signal() == Some(9)
}

/// Starts `command` and waits until it prints a line that holds `sign`.
pub(crate) fn start_until(command: &mut Command, sign: &str) -> Child {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let out = child.stdout.take().unwrap();
    let mut lines = BufReader::new(out).lines();
    assert!(
        lines.any(|line| line.is_ok_and(|line| line.contains(sign))),
        "the child ended without saying {sign:?}"
    );
    child
}
