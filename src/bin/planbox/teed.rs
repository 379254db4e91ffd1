//! What CMD writes, passed on as it comes and filed line by line in the log of its job.

use planbox::JobHandle;
use planbox::job::LOG_LINE_MAX_BYTES;
use planbox::sync::channel::{Receiver, Sender, bounded};
use planbox::sync::thread;
use std::io::{self, Read, Write};
use std::process::Child;
use std::time::Duration;

/// How long what was written before CMD ended may take to arrive. A process that CMD left behind may
/// hold its output open for ever.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The threads that pass on what CMD writes.
#[derive(Debug)]
pub(crate) struct Teed {
    ended: Receiver<()>,
}

impl Teed {
    /// Passes the piped output of `child` on: all of it to standard error if `to_stderr`.
    pub(crate) fn begin(child: &mut Child, job: &JobHandle, to_stderr: bool) -> Self {
        let (done, ended) = bounded(0);
        if let Some(out) = child.stdout.take() {
            if to_stderr {
                pass("stdout", out, io::stderr, (job, &done));
            } else {
                pass("stdout", out, io::stdout, (job, &done));
            }
        }
        if let Some(err) = child.stderr.take() {
            pass("stderr", err, io::stderr, (job, &done));
        }
        Self { ended }
    }

    /// Waits until everything has arrived.
    pub(crate) fn end(self) {
        // Nothing is ever sent: the channel ends with its last thread.
        let _ended_or_late = self.ended.recv_timeout(LAST_WORDS);
    }
}

fn pass<W: Write>(
    name: &str,
    from: impl Read + Send + 'static,
    to: impl FnOnce() -> W + Send + 'static,
    (job, done): (&JobHandle, &Sender<()>),
) {
    let (job, done) = (job.clone(), done.clone());
    let run = move || {
        copy(from, to(), |line| {
            // The log is for those who watch; CMD goes on without it.
            drop(job.append_log(line, None));
        });
        drop(done);
    };
    // Without a thread nobody reads, and CMD is told so when it writes.
    drop(thread::spawn(name, run));
}

/// Copies bytes as they come, and tells every line, the last one also without its end.
fn copy(mut from: impl Read, mut to: impl Write, mut tell: impl FnMut(&str)) {
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
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(piece);
            if line.ends_with(b"\n") || line.len() >= LOG_LINE_MAX_BYTES {
                tell(&text(&line));
                line.clear();
            }
        }
    }
    if !line.is_empty() {
        tell(&text(&line));
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
        copy(&*bytes, &mut out, |line| lines.push(line.to_owned()));
        assert_eq!(out, bytes);
        assert_eq!(lines[..3], ["one", "", "two\u{e4}"]);
        assert_eq!(lines.last().unwrap(), "end\u{fffd}!");
        let cut: usize = lines[3..lines.len() - 1].iter().map(String::len).sum();
        assert_eq!(cut, long.len());
    }
}
