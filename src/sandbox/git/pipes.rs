//! Attending to a running child: feeding it, reading it, stopping it.

use crate::error::{Fault, ParticipantError};
use crate::sandbox::{Outcome, Work};
use crate::sync::{channel, thread};
use std::io::{self, Read, Write as _};
use std::process::{Child, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Most bytes of an answer that is collected: 4 MiB.
pub(super) const COLLECT_MAX: usize = 4 * 1024 * 1024;

/// Most bytes of complaints that are kept: 16 KiB.
const COMPLAINT_MAX: usize = 16 * 1024;

/// Bytes read at a time.
const PIECE: usize = 64 * 1024;

/// How often a stoppable call looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(50);

/// How a child ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    pub(super) stderr: Vec<u8>,
}

/// Feeds `child` with `input`, hands what it writes to `each`, and waits for its end. It is killed
/// if `each` fails or `work` is told to stop; no child outlives this call.
pub(super) fn attend(
    mut child: Child,
    input: &[u8],
    work: Option<Work<'_>>,
    each: &mut (dyn FnMut(&[u8]) -> Outcome<()> + Send),
) -> Outcome<Ended> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (done, finished) = channel::bounded::<()>(1);
    let stop = &AtomicBool::new(false);
    thread::scope(|scope| {
        let complaints = scope.spawn(move || stderr.map(read_complaints).unwrap_or_default());
        scope.spawn(move || {
            // A child that reads no more has its reason, and says so by its exit status.
            drop(stdin.map(|mut stdin| stdin.write_all(input)));
        });
        let reading = scope.spawn(move || {
            let read = stdout.map_or(Ok(()), |stdout| read_pieces(stdout, stop, each));
            drop(done);
            read
        });
        let stopped = wait(&finished, work);
        if stopped.is_err() {
            stop.store(true, Ordering::Relaxed);
            kill(&child);
        }
        let read = join(reading.join());
        if read.is_err() {
            kill(&child);
        }
        let status = child
            .wait()
            .map_err(|error| ParticipantError::io("wait for git", "git", error))?;
        let stderr = complaints.join().unwrap_or_default();
        stopped?;
        read?;
        Ok(Ended { status, stderr })
    })
}

fn join(joined: Result<Outcome<()>, Box<dyn std::any::Any + Send>>) -> Outcome<()> {
    joined.unwrap_or_else(|_| {
        let why = "the reader of git's output panicked";
        Err(ParticipantError::new(Fault::Panicked, why))
    })
}

/// Kills the child with all that it started: every one is the leader of a process group. It may
/// have ended by itself; then there is nothing to kill.
fn kill(child: &Child) {
    let pid = i32::try_from(child.id()).ok();
    if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
        let signal = rustix::process::Signal::KILL;
        rustix::process::kill_process_group(pid, signal).unwrap_or(());
    }
}

/// Waits until the reader is finished or the caller asked to stop.
fn wait(finished: &channel::Receiver<()>, work: Option<Work<'_>>) -> Outcome<()> {
    let Some(work) = work else {
        // The sender is only ever dropped: that is the signal.
        return finished.recv().or(Ok(()));
    };
    loop {
        match finished.recv_timeout(LOOK) {
            Err(channel::RecvTimeoutError::Timeout) => work.stopped()?,
            Ok(()) | Err(channel::RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

fn read_pieces(
    mut from: impl Read,
    stop: &AtomicBool,
    each: &mut (dyn FnMut(&[u8]) -> Outcome<()> + Send),
) -> Outcome<()> {
    let mut piece = vec![0; PIECE];
    loop {
        if stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        match from.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) => each(piece.get(..count).unwrap_or_default())?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(ParticipantError::io("read from git", "git", error)),
        }
    }
}

/// The beginning of the complaints; the rest is read and forgotten, so that the child never waits.
fn read_complaints(mut from: impl Read) -> Vec<u8> {
    let mut kept = Vec::new();
    // What cannot be read is no complaint.
    drop(
        (&mut from)
            .take(COMPLAINT_MAX as u64)
            .read_to_end(&mut kept),
    );
    drop(io::copy(&mut from, &mut io::sink()));
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt as _;
    use std::process::{Command, Stdio};

    fn shell(script: &str) -> Child {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).spawn().unwrap()
    }

    #[test]
    fn more_than_fits_the_pipes_goes_both_ways() {
        let input = vec![b'x'; 3 * 1024 * 1024];
        let (mut count, child) = (0, shell("tee /dev/stderr"));
        let ended = attend(child, &input, None, &mut |piece| {
            count += piece.len();
            Ok(())
        });
        let ended = ended.unwrap();
        assert_eq!((count, ended.stderr.len()), (input.len(), COMPLAINT_MAX));
        assert!(ended.status.success());
    }

    #[test]
    fn a_child_that_reads_nothing_or_is_killed_ends_the_call() {
        let input = vec![b'x'; 1024 * 1024];
        let ended = attend(shell("exit 3"), &input, None, &mut |_| Ok(()));
        assert_eq!(ended.unwrap().status.code(), Some(3));
        let killed = attend(shell("kill -9 $$"), b"", None, &mut |_| Ok(()));
        assert_eq!(killed.unwrap().status.code(), None);
    }

    #[test]
    fn a_child_is_killed_when_nobody_wants_more_of_it() {
        let full = attend(shell("yes"), b"", None, &mut |_| {
            Err(ParticipantError::new(Fault::Refused, "enough"))
        });
        assert_eq!(full.unwrap_err().fault, Fault::Refused);
        let stop = AtomicBool::new(false);
        let listen = |_| ();
        let work = Work::new(&listen, &stop);
        let stopped = attend(shell("yes"), b"", Some(work), &mut |_| {
            stop.store(true, Ordering::Relaxed);
            Ok(())
        });
        assert_eq!(stopped.unwrap_err().fault, Fault::Interrupted);
    }
}
