//! Attending to a running child: feeding it, reading it, stopping it.

use crate::error::{Fault, ParticipantError};
use crate::sandbox::{Outcome, Work};
use crate::sync::{channel, thread};
use std::io::{self, Read, Write as _};
use std::process::{Child, ExitStatus};
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
    thread::scope(|scope| {
        let complaints = scope.spawn(move || stderr.map(read_complaints).unwrap_or_default());
        scope.spawn(move || {
            // A child that reads no more has its reason, and says so by its exit status.
            drop(stdin.map(|mut stdin| stdin.write_all(input)));
        });
        let reading = scope.spawn(move || {
            let read = stdout.map_or(Ok(()), |stdout| read_pieces(stdout, each));
            drop(done);
            read
        });
        let stopped = wait(&finished, work);
        if stopped.is_err() {
            // It may have ended by itself; then there is nothing to kill.
            drop(child.kill());
        }
        let read = join(reading.join());
        if read.is_err() {
            drop(child.kill());
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
    each: &mut (dyn FnMut(&[u8]) -> Outcome<()> + Send),
) -> Outcome<()> {
    let mut piece = vec![0; PIECE];
    loop {
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
