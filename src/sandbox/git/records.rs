//! Cutting what git writes into records that end in NUL, as it comes.

use crate::sandbox::Outcome;

/// Longest record: a path of 4 KiB and what stands before it fit many times.
const RECORD_MAX: usize = 64 * 1024;

/// A cutter: give it pieces, it gives whole records.
#[derive(Debug, Default)]
pub(super) struct Records {
    rest: Vec<u8>,
}

impl Records {
    /// Takes the next piece and calls `each` with every record that is complete now.
    pub(super) fn cut(
        &mut self,
        piece: &[u8],
        each: &mut dyn FnMut(&[u8]) -> Outcome<()>,
    ) -> Outcome<()> {
        let mut pieces = piece.split(|byte| *byte == 0).peekable();
        while let Some(part) = pieces.next() {
            if self.rest.len() + part.len() > RECORD_MAX {
                use crate::error::{Fault, ParticipantError};
                let why = "git wrote a record longer than 64 KiB";
                return Err(ParticipantError::new(Fault::Refused, why));
            }
            self.rest.extend_from_slice(part);
            if pieces.peek().is_some() {
                let record = std::mem::take(&mut self.rest);
                each(&record)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_whole_however_they_are_cut() {
        let text = b"one\0two\0\0three\0";
        for size in 1..text.len() {
            let (mut records, mut found) = (Records::default(), Vec::new());
            for piece in text.chunks(size) {
                let mut each = |record: &[u8]| {
                    found.push(record.to_vec());
                    Ok(())
                };
                records.cut(piece, &mut each).unwrap();
            }
            assert_eq!(found, [&b"one"[..], b"two", b"", b"three"], "{size}");
        }
        let long = vec![b'a'; RECORD_MAX + 1];
        assert!(Records::default().cut(&long, &mut |_| Ok(())).is_err());
    }
}
