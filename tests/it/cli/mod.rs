//! The command line, driven as a program by its contract: arguments, streams, exit status, JSON.
#![expect(
    clippy::disallowed_methods,
    reason = "a test stands for other programs at work"
)]

mod commands;
mod examples;
mod exits;
mod input;
mod jobs;
mod kinds;
mod kinds_nasty;
mod kinds_refused;
mod processes;

use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

/// A user with a home, a store and some real directories.
pub(super) struct Home {
    dir: tempfile::TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) code: Option<i32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Home {
    pub(super) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// A real directory with these files.
    pub(super) fn real(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(&path).unwrap();
        for (file, text) in files {
            std::fs::write(path.join(file), text).unwrap();
        }
        path
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_planbox"));
        for (name, _) in std::env::vars_os() {
            let name_text = name.to_string_lossy();
            if name_text.starts_with("PLANBOX_") && !name_text.starts_with("PLANBOX_LOCK_") {
                command.env_remove(name);
            }
        }
        // A group of its own: not in the foreground of whatever terminal runs the tests.
        command
            .env("PLANBOX_STORE", self.store())
            .env("HOME", self.dir.path())
            .process_group(0);
        command
            .args(arguments)
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs planbox to its end.
    pub(super) fn run(&self, arguments: &[&str]) -> Ended {
        ended(&self.command(arguments).output().unwrap())
    }

    /// Runs planbox, which must succeed.
    pub(super) fn ok(&self, arguments: &[&str]) -> Ended {
        let ended = self.run(arguments);
        assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
        ended
    }

    /// Runs planbox with `--json`, which must end with `code` and print one object.
    pub(super) fn json(&self, code: i32, arguments: &[&str]) -> Value {
        let mut all = vec!["--json"];
        all.extend(arguments);
        let ended = self.run(&all);
        assert_eq!(ended.code, Some(code), "{arguments:?}: {ended:?}");
        ended.json()
    }

    /// Opens `plan` over the directory `real`; returns where it works.
    pub(super) fn open(&self, plan: &str, real: &Path) -> PathBuf {
        self.ok(&["open", plan, "--dir", real.to_str().unwrap()]);
        self.view(plan, "dir")
    }

    pub(super) fn view(&self, plan: &str, name: &str) -> PathBuf {
        PathBuf::from(self.ok(&["path", plan, name]).stdout.trim_end_matches('\n'))
    }

    /// Starts `planbox run ARGUMENTS -- CMD`, where CMD says that it is there and then waits.
    pub(super) fn start_waiting(&self, arguments: &[&str]) -> Waiting {
        let mut all = vec!["run"];
        all.extend(arguments);
        all.extend([
            "--",
            "sh",
            "-c",
            "echo changed >made; echo ready; read line; exit 0",
        ]);
        let mut command = self.command(&all);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Waiting {
            child,
            stdin,
            stdout,
        }
    }
}

/// A `planbox run` whose CMD waits for a line.
pub(super) struct Waiting {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Waiting {
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Lets CMD end and waits for planbox.
    pub(super) fn finish(mut self) -> Ended {
        self.stdin.write_all(b"go\n").unwrap();
        self.ended()
    }

    /// Waits for planbox, which ends although CMD was not told to.
    pub(super) fn ended(mut self) -> Ended {
        let mut stdout = String::new();
        self.stdout.read_to_string(&mut stdout).unwrap();
        drop(self.stdin);
        let mut ended = ended(&self.child.wait_with_output().unwrap());
        ended.stdout = stdout;
        ended
    }
}

impl Ended {
    /// The one object on standard output.
    pub(super) fn json(&self) -> Value {
        assert_eq!(self.stdout.lines().count(), 1, "one object: {self:?}");
        let value: Value = serde_json::from_str(&self.stdout).unwrap();
        for field in ["outcome", "plan", "resources"] {
            assert!(value.get(field).is_some(), "{field} is missing in {value}");
        }
        value
    }
}

pub(super) fn ended(output: &Output) -> Ended {
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout.clone()).unwrap(),
        stderr: String::from_utf8(output.stderr.clone()).unwrap(),
    }
}

pub(super) fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// `NAME=PATH`, or any other two parts of an argument.
pub(super) fn joined(parts: &[&OsStr]) -> OsString {
    parts.iter().copied().collect()
}

/// Makes a named pipe.
pub(super) fn make_pipe(path: &Path) {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
}
