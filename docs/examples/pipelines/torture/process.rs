//! A server in a process of its own, that can be killed.

use crate::{Failure, load};
use planbox::JobId;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

/// The process, and what it says.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    lines: Receiver<String>,
}

impl Process {
    /// A server over the store in `home`, ready for requests.
    pub(super) fn serve(home: &Path) -> Result<Self, Failure> {
        let process = Self::start(
            Command::new(std::env::current_exe()?)
                .arg("--serve")
                .arg(home),
        )?;
        process.wait_for("ready", 1)?;
        Ok(process)
    }

    /// A load on a plain file.
    pub(super) fn plain(file: &Path, count: usize) -> Result<Self, Failure> {
        let count = count.to_string();
        let mut command = Command::new(std::env::current_exe()?);
        Self::start(command.arg("--plain").arg(file).arg(count))
    }

    fn start(command: &mut Command) -> Result<Self, Failure> {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let out = child.stdout.take().ok_or("no output")?;
        let (said, lines) = channel();
        // Ends with the process, whose output it reads.
        std::thread::spawn(move || {
            let lines = BufReader::new(out).lines().map_while(Result::ok);
            lines.for_each(|line| drop(said.send(line)));
        });
        Ok(Self { child, lines })
    }

    /// Sends a request. One that comes too late is sent again to the next server.
    pub(super) fn ask(&mut self, request: &str) {
        if let Some(input) = &mut self.child.stdin {
            drop(input.write_all(format!("{request}\n").as_bytes()));
        }
    }

    /// The process.
    pub(super) fn pid(&self) -> Result<rustix::process::Pid, Failure> {
        let pid = i32::try_from(self.child.id())?;
        Ok(rustix::process::Pid::from_raw(pid).ok_or("no process")?)
    }

    /// Waits until it has said so many lines that begin with `word`; gives back the last of them.
    pub(super) fn wait_for(&self, word: &str, count: usize) -> Result<String, Failure> {
        let mut left = count;
        loop {
            let line = self.lines.recv_timeout(load::LONG)?;
            if line.starts_with(word) {
                left -= 1;
                if left == 0 {
                    return Ok(line);
                }
            }
        }
    }

    /// Kills it, and says which jobs it had accepted.
    pub(super) fn kill(mut self) -> Result<Vec<JobId>, Failure> {
        self.child.kill()?;
        self.child.wait()?;
        self.accepted()
    }

    /// Stops it, and says which jobs it had accepted.
    pub(super) fn stop(mut self) -> Result<Vec<JobId>, Failure> {
        self.ask("stop");
        let status = self.child.wait()?;
        if !status.success() {
            return Err(format!("the server ended with {status}").into());
        }
        self.accepted()
    }

    fn accepted(&self) -> Result<Vec<JobId>, Failure> {
        let lines = self.lines.iter();
        let ids = lines.filter_map(|line| line.strip_prefix("accepted ").map(JobId::new));
        Ok(ids.collect::<Result<_, _>>()?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
