//! What CMD writes, passed on as it comes and filed line by line in the log of its job.

use planbox::job::{LOG_LINE_MAX_BYTES, PATCH_LINES_MAX};
use planbox::sync::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use planbox::sync::thread;
use planbox::{JobHandle, JobPatch};
use std::io::{self, Read, Write};
use std::process::Child;
use std::time::Duration;

/// How long nothing may arrive after CMD ended until the rest is given up. A process that CMD left
/// behind may hold its output open for ever.
const SILENCE: Duration = Duration::from_secs(1);

/// Most pieces that are passed on after CMD ended: far more than fits into its pipes.
const PIECES_MAX: usize = 1_000;

/// Pieces of output that wait to be filed, of 8 KiB at the most. The output goes on when the log
/// cannot keep up.
const WAITING_MAX: usize = 4_096;

/// The lines in one piece of output.
type Lines = Vec<String>;

/// The threads that pass on what CMD writes.
#[derive(Debug)]
pub(crate) struct Teed {
    /// Told of each piece; ends with the last thread that passes on.
    pieces: Receiver<()>,
    /// Nothing is ever sent: it ends with the thread that files.
    filed: Receiver<()>,
}

/// Where the pieces go.
#[derive(Clone)]
struct Ends {
    lines: Sender<Lines>,
    piece: Sender<()>,
}

impl Teed {
    /// Passes the piped output of `child` on: all of it to standard error if `to_stderr`.
    pub(crate) fn begin(child: &mut Child, job: &JobHandle, to_stderr: bool) -> Self {
        let (lines, waiting) = bounded(WAITING_MAX);
        let (piece, pieces) = bounded(1);
        let (done, filed) = bounded(0);
        let job = job.clone();
        // Without a thread nothing is filed, or passed on: then CMD is told so when it writes.
        drop(thread::spawn("log", move || {
            file(&job, &waiting);
            drop(done);
        }));
        let ends = Ends { lines, piece };
        if let Some(out) = child.stdout.take() {
            if to_stderr {
                pass("stdout", out, io::stderr, ends.clone());
            } else {
                pass("stdout", out, io::stdout, ends.clone());
            }
        }
        if let Some(err) = child.stderr.take() {
            pass("stderr", err, io::stderr, ends);
        }
        Self { pieces, filed }
    }

    /// Waits until everything has arrived and is filed.
    pub(crate) fn end(self) {
        for _ in 0..PIECES_MAX {
            match self.pieces.recv_timeout(SILENCE) {
                Ok(()) => (),
                Err(RecvTimeoutError::Timeout) => return,
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let _ended_or_late = self.filed.recv_timeout(SILENCE * 10);
    }
}

fn pass<W: Write>(
    name: &str,
    from: impl Read + Send + 'static,
    to: impl FnOnce() -> W + Send + 'static,
    ends: Ends,
) {
    let run = move || {
        let mut lost = 0;
        copy(from, to(), |mut lines| {
            if lost > 0 {
                lines.insert(0, format!("({lost} lines are not in the log)"));
            }
            match ends.lines.try_send(lines) {
                Ok(()) => lost = 0,
                Err(refused) => lost += refused.into_inner().len() - usize::from(lost > 0),
            }
            // One waiting word is enough.
            let _told_or_full = ends.piece.try_send(());
        });
    };
    drop(thread::spawn(name, run));
}

/// Files the lines as they come, in one step all that wait. The log is for those who watch: CMD goes
/// on if it fails.
fn file(job: &JobHandle, waiting: &Receiver<Lines>) {
    for mut lines in waiting {
        while lines.len() < PATCH_LINES_MAX
            && let Ok(more) = waiting.try_recv()
        {
            lines.extend(more);
        }
        if let [line] = &*lines {
            drop(job.append_log(line, None));
            continue;
        }
        for some in lines.chunks(PATCH_LINES_MAX) {
            let patch = some.iter().fold(JobPatch::new(), JobPatch::log);
            drop(job.update(patch));
        }
    }
}

/// Copies bytes as they come, and tells the lines of each piece, the last one also without its end.
fn copy(mut from: impl Read, mut to: impl Write, mut tell: impl FnMut(Lines)) {
    let mut line = Vec::new();
    let mut buffer = [0; 8_192];
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        let bytes = buffer.get(..read).unwrap_or_default();
        // Who reads our output may be gone; the log is kept all the same.
        drop(to.write_all(bytes).and_then(|()| to.flush()));
        let mut lines = Lines::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(piece);
            if line.ends_with(b"\n") || line.len() >= LOG_LINE_MAX_BYTES {
                lines.push(text(&line));
                line.clear();
            }
        }
        tell(lines);
    }
    if !line.is_empty() {
        tell(vec![text(&line)]);
    }
}

fn text(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    text.trim_end_matches(['\n', '\r']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_passed_on_as_they_are_and_lines_are_told_even_without_an_end() {
        let (mut out, mut lines) = (Vec::new(), Vec::new());
        let long = "y".repeat(LOG_LINE_MAX_BYTES + 10_000);
        let input = format!("one\r\n\ntwo\u{e4}\n{long}\nend");
        let mut bytes = input.into_bytes();
        bytes.extend([0xff, b'!']);
        copy(&*bytes, &mut out, |some| lines.extend(some));
        assert_eq!(out, bytes);
        assert_eq!(lines[..3], ["one", "", "two\u{e4}"]);
        assert_eq!(lines.last().unwrap(), "end\u{fffd}!");
        let cut: usize = lines[3..lines.len() - 1].iter().map(String::len).sum();
        assert_eq!(cut, long.len());
    }
}
